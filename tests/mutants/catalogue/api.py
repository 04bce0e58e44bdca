"""Mutants of the API."""

from __future__ import annotations

from tests.mutants.catalogue import serving
from tests.mutants.mutant import Mutant, in_api
from tests.mutants.patching import Edit, Wrap

_EXECUTION = "system.api.execution:Execution"
_LISTING = "system.api.listing"
_RUNS = "system.api.store_runs"
_TRANSITIONS = "system.api.transitions:Transitions"
_WORKFLOWS = "system.api.store_workflows"

API: tuple[Mutant, ...] = (
    in_api(
        "taken-names-accepted",
        "A second active definition of one name is accepted, and takes the place of the first.",
        "API-05",
        Wrap(f"{_WORKFLOWS}:create", serving.creating_over),
        also=("API-34",),
    ),
    in_api(
        "accepted-before-durable",
        "202 is answered half a second before the run is in the database.",
        "API-14",
        Wrap(f"{_EXECUTION}._insert", serving.inserting_later),
        Wrap(f"{_EXECUTION}._insert_keyed", serving.inserting_later),
        Wrap("system.api.execution:Backlog.send", serving.sending_what_is_there),
        also=("API-15", "MSG-11"),
    ),
    in_api(
        "request-before-the-row",
        "An execution request is published before its run's row is committed.",
        "MSG-11",
        Wrap(f"{_EXECUTION}._insert", serving.publishing_first),
        also=("API-11", "API-14"),
    ),
    Mutant(
        "put-changes-running-runs",
        "PUT moves runs that have begun to the new version.",
        "API-07",
        ("api", "consumer"),
        (
            Wrap(f"{_WORKFLOWS}:replace", serving.moving_runs_to_the_new_version),
            Edit(
                "system.consumer.executor:Executor.__init__",
                "self._most_cached_runs = most_cached_runs",
                "self._most_cached_runs = 0",
            ),
        ),
    ),
    Mutant(
        "retry-takes-the-current-version",
        "A retried run goes on with the newest version of its definition.",
        "API-07",
        ("api",),
        (Wrap(f"{_TRANSITIONS}._plan", serving.planning_by_the_current_version),),
        also=("RES-12",),
    ),
    in_api(
        "put-keeps-the-version",
        "PUT changes the definition and leaves its version number.",
        "API-06",
        Edit(f"{_WORKFLOWS}:replace", "version=_D.version + 1,", ""),
        also=("API-08", "MSG-10"),
    ),
    in_api(
        "deleted-names-stay-taken",
        "The name of a deleted definition is not free.",
        "API-09",
        Edit(f"{_WORKFLOWS}:delete", '.values(status="deleted",', '.values(status="inactive",'),
    ),
    in_api(
        "invalid-definitions-stored",
        "A definition that no executor can execute is created.",
        "API-10",
        Edit("system.api.workflows:_definition", "        load_definition(data)", "        pass"),
        also=("DEF-08", "DEF-09", "DEF-10", "REF-19", "CND-07"),
    ),
    in_api(
        "pages-overlap",
        "Each page of runs but the first begins with the last run of the page before.",
        "API-16",
        Edit(
            _LISTING + ":runs",
            "first = (listing.page - 1) * listing.page_size",
            "first = (listing.page - 1) * listing.page_size - (listing.page > 1)",
        ),
    ),
    in_api(
        "pages-shift",
        "Runs that are added while pages are read shift the pages.",
        "API-38",
        Edit(_LISTING + ":runs", "as_of = listing.as_of\n", "as_of = None\n"),
    ),
    in_api(
        "created-before-is-inclusive",
        "created_before keeps runs that were created at that very moment.",
        "API-18",
        Edit(
            _LISTING + ":_conditions",
            "_R.created_at < listing.created_before",
            "_R.created_at <= listing.created_before",
        ),
    ),
    in_api(
        "status-filter-ignored",
        "The filter by status has no effect.",
        "API-18",
        Edit(_LISTING + ":_conditions", "if listing.status is not None:", "if False:"),
    ),
    in_api(
        "oldest-runs-first",
        "Runs are listed oldest first.",
        "API-19",
        Edit(
            "system.api.runs:_listing",
            'query.one_of("sort_order", ("asc", "desc"), "desc") == "desc"',
            'query.one_of("sort_order", ("asc", "desc"), "asc") == "desc"',
        ),
    ),
    in_api(
        "order-of-runs-ignored",
        "Runs are listed by created_at, whatever sort_by says.",
        "API-19",
        Edit("system.api.runs:_listing", 'query.one_of("sort_by", listing.SORTS, "created_at")', '"created_at"'),
    ),
    in_api(
        "log-backwards",
        "The log of a run has the latest event first.",
        "API-25",
        Edit("system.api.run_logs:events", "return sorted(found, ", "return sorted(found, reverse=True, "),
    ),
    in_api(
        "deleted-workflows-listed",
        "Deleted definitions are listed among the others.",
        "API-04",
        Edit(f"{_WORKFLOWS}:page", 'else [_D.status != "deleted"]', "else []"),
        also=("API-09",),
    ),
    in_api(
        "cancel-of-the-ended-accepted",
        "Cancelling a run that has ended answers 202.",
        "API-22",
        Edit(f"{_TRANSITIONS}._not_cancelled", 'if row["status"] != "CANCELLED":', "if False:"),
    ),
    in_api(
        "cancel-overwrites-the-end",
        "Cancelling a COMPLETED run makes it CANCELLED.",
        "API-22",
        Edit(f"{_RUNS}:cancel", '("PENDING", "RUNNING"),', '("PENDING", "RUNNING", "COMPLETED"),'),
        also=("TBL-03", "CAN-06"),
    ),
    in_api(
        "cancel-again-counts",
        "Cancelling a CANCELLED run again changes who cancelled it.",
        "CAN-06",
        Edit(f"{_RUNS}:cancel", '("PENDING", "RUNNING"),', '("PENDING", "RUNNING", "CANCELLED"),'),
        also=("API-22",),
    ),
    in_api(
        "cancel-tells-the-executor-only",
        "Cancelling publishes the request and leaves the row to the executor.",
        "MSG-11",
        Wrap(f"{_RUNS}:cancel", serving.cancelling_nothing),
        also=("API-21", "CAN-01"),
    ),
    in_api(
        "completed-runs-retried",
        "A COMPLETED run can be retried.",
        "API-24",
        Edit(
            f"{_TRANSITIONS}._retry",
            'before["status"] not in ("FAILED", "CANCELLED")',
            'before["status"] not in ("FAILED", "CANCELLED", "COMPLETED")',
        ),
        Edit(f"{_RUNS}:retry", '("FAILED", "CANCELLED"),', '("FAILED", "CANCELLED", "COMPLETED"),'),
        also=("TBL-03",),
    ),
    in_api(
        "retry-keeps-the-end",
        "A retry leaves completed_at and error_message of the end that it undoes.",
        "RES-13",
        Edit(f"{_RUNS}:retry", '"completed_at": None,', ""),
        Edit(f"{_RUNS}:retry", '"error_message": None,', ""),
    ),
    in_api(
        "retry-from-anywhere",
        "A retry takes any text for resume_from_step.",
        "RES-07",
        Edit(
            f"{_TRANSITIONS}._retry", "        _check_step(connection, run_id, plan, resume_from_step)", "        pass"
        ),
    ),
    in_api(
        "retry-forgets-the-step",
        "A retry does not hand resume_from_step on.",
        "RES-06",
        Edit(f"{_TRANSITIONS}._retry", "now,\n        resume_from_step,", "now,\n        None,"),
        Edit(
            f"{_TRANSITIONS}._retry",
            "store_runs.retry(connection, run_id, resume_from_step, now)",
            "store_runs.retry(connection, run_id, None, now)",
        ),
    ),
    in_api(
        "version-as-a-number",
        "The plan's version is a number.",
        "MSG-10",
        Edit("system.api.messages:plan_document", '"version": str(version),', '"version": version,'),
        also=("MSG-05",),
    ),
    in_api(
        "secrets-shown",
        "An agent's record is answered with its auth_config.",
        "API-28",
        Edit(
            "system.api.answers:agent_document",
            'document["auth_type"] = row["auth_type"] or "none"',
            'document["auth_type"] = row["auth_type"] or "none"\n    document["auth_config"] = row["auth_config"]',
        ),
    ),
    in_api(
        "idempotency-key-ignored",
        "Executes with one Idempotency-Key start a run each.",
        "API-36",
        Edit("system.api.workflows:_add_execute", "if key is None:", "if True:"),
    ),
    in_api(
        "steps-newest-first",
        "The steps of a run are listed from the last to the first.",
        "API-20",
        Edit(
            _LISTING + ":steps",
            "_S.started_at.asc().nulls_last(), _S.id",
            "_S.started_at.desc().nulls_last(), _S.id.desc()",
        ),
    ),
    in_api(
        "page-sizes-clamped",
        "A page_size above 100 is taken for 100.",
        "API-17",
        Edit(
            "system.api.parameters:Query.page",
            'self.whole("page_size", 20, 1, 100)',
            'min(100, self.whole("page_size", 20, 1, 10**9))',
        ),
    ),
    in_api(
        "input-left-out",
        "An execution request carries {} as input_data.",
        "MSG-05",
        Edit(
            "system.api.messages:execution_request",
            '"input_data": orjson.Fragment(input_data),',
            '"input": orjson.Fragment(input_data),',
        ),
        also=("API-11", "CMP-01"),
    ),
)

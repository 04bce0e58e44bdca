"""Mutants of a run's life: completion, failure, cancellation, resume."""

from __future__ import annotations

from tests.mutants.catalogue import replacements
from tests.mutants.mutant import Mutant, in_consumer
from tests.mutants.patching import Edit, Sql, Wrap

_DECIDE = "system.engine.decide"
_FOLDING = "system.consumer.folding:Folding"
_PROGRESS = "system.engine.progress:Progress"
_STORE = "system.consumer.store"
FENCE = "AND r.revision = x.seen_revision AND r.status IS NOT DISTINCT FROM x.seen_status"

COMPLETION: tuple[Mutant, ...] = (
    in_consumer(
        "no-mapping-is-the-input",
        "A step without input_mapping gets the whole input of the run.",
        "CMP-05",
        Edit(
            f"{_PROGRESS}._begin_anew",
            "input_data = resolve(step.input_mapping, self.place(parent, iteration))",
            "input_data = resolve(step.input_mapping, self.place(parent, iteration)) or self._before.input_data",
        ),
    ),
    in_consumer(
        "null-output-becomes-an-object",
        "A SUCCESS without output completes its step with {}.",
        "CMP-14",
        Edit("system.consumer.folding:_result", "True, result.output_data)", "True, result.output_data or {})"),
        also=("CMP-07",),
    ),
    in_consumer(
        "output-without-empty-fields",
        "Fields of an output that are null are dropped.",
        "CMP-07",
        Edit(
            "system.consumer.folding:_result",
            "True, result.output_data)",
            "True, result.output_data and {k: v for k, v in result.output_data.items() if v is not None})",
        ),
        also=("REF-10",),
    ),
    in_consumer(
        "last-step-left-out",
        "A run is COMPLETED when its last step begins to matter: it is never asked for.",
        "CMP-02",
        Edit(
            f"{_PROGRESS}._go_on",
            "    if following is None:",
            "    if following is None or (\n"
            "        record.parent is None\n"
            "        and self.definition.steps[following].next_step is None\n"
            "    ):",
        ),
        also=("CMP-03",),
    ),
    in_consumer(
        "completed-at-missing",
        "A run that is COMPLETED has no completed_at.",
        "CMP-11",
        Edit(
            f"{_STORE}:_run_row",
            'if state.status in ("COMPLETED", "FAILED") else None',
            'if state.status == "FAILED" else None',
        ),
        also=("CMP-10",),
    ),
    in_consumer(
        "cancelled-is-completed-at",
        "A run that the executor cancels gets completed_at instead of cancelled_at.",
        "CMP-11",
        Edit(
            f"{_STORE}:_run_row",
            'if state.status in ("COMPLETED", "FAILED") else None',
            'if state.status != "RUNNING" else None',
        ),
        Edit(
            f"{_STORE}:_run_row",
            '"cancelled_at": change.ended_at if state.status == "CANCELLED" else None,',
            '"cancelled_at": None,',
        ),
        also=("CAN-04",),
    ),
    in_consumer(
        "steps-end-before-they-start",
        "completed_at of a step is a second before its started_at.",
        "CMP-10",
        Edit(
            f"{_PROGRESS}._end",
            "completed_at=self.now",
            'completed_at=record.started_at - __import__("datetime").timedelta(seconds=1)',
        ),
    ),
    in_consumer(
        "new-row-without-workflow-id",
        "The row that the executor writes for a run without one has no workflow_id.",
        "CMP-13",
        Edit(f"{_FOLDING}.give_new_row", '_text_or_none(plan.get("workflow_id"))', "None"),
    ),
    in_consumer(
        "retried-by-the-executor-too",
        "A task that failed is sent once more by the executor, under a new id, although the bridge has retried it.",
        "CMP-08",
        Edit(
            f"{_DECIDE}:_result_received",
            "    else:\n        progress.fail(",
            "    elif progress.steps[path].attempt < 1000:\n"
            "        from system.engine.decisions import PublishTask\n"
            "        from system.engine.state import task_id\n"
            "        record = progress.steps[path]\n"
            "        attempt = record.attempt + 1000\n"
            "        again = task_id(progress.run_id, path, attempt)\n"
            "        progress.steps[path] = replace(record, attempt=attempt, task_id=again)\n"
            "        del progress.in_flight[event.task_id]\n"
            "        progress.in_flight[again] = path\n"
            "        kind = progress.definition.steps[record.step_id].kind\n"
            "        progress.decisions.append(\n"
            "            PublishTask(again, record.step_id, path, kind.agent_name, record.input_data)\n"
            "        )\n"
            "    else:\n        progress.fail(",
        ),
        also=("FAI-01", "FAI-02"),
    ),
)

FAILURE: tuple[Mutant, ...] = (
    in_consumer(
        "error-message-lost",
        "What the agent said of its failure is replaced by a general remark.",
        "FAI-02",
        Edit(
            f"{_DECIDE}:_result_received",
            'event.error_message or "the agent gave no reason"',
            '"the agent gave no reason"',
        ),
    ),
    in_consumer(
        "failed-step-unnamed",
        "The error_message of a run does not say which step failed.",
        "FAI-03",
        Edit(
            f"{_PROGRESS}.drain",
            'self.change_run("FAILED", record.failure)',
            'self.change_run("FAILED", record.error_message)',
        ),
    ),
    in_consumer(
        "failures-without-a-message",
        "A FAILURE without a message leaves a step without one.",
        "FAI-07",
        Edit(
            f"{_DECIDE}:_result_received",
            'event.error_message or "the agent gave no reason"',
            'event.error_message or ""',
        ),
        also=("FAI-08",),
    ),
    in_consumer(
        "goes-on-behind-a-failure",
        "The step behind one that failed is dispatched all the same.",
        "FAI-04",
        Edit(
            f"{_PROGRESS}.drain",
            '    elif record.status == "COMPLETED":\n',
            '    elif record.status == "COMPLETED" or self.definition.steps[record.step_id].next_step is not None:\n',
        ),
        also=("CMP-03", "FAI-01"),
    ),
    in_consumer(
        "invalid-plans-dropped",
        "A run whose plan is not valid stays PENDING for ever.",
        "FAI-06",
        Edit(
            f"{_FOLDING}._request",
            'self._feed([PlanRejected(f"the workflow plan is not valid: {messages.storable_text(str(error))}")])',
            'log.error("a plan is not valid: %s", error)',
        ),
        also=("DEL-11", "CMP-01"),
    ),
    in_consumer(
        "failed-steps-keep-output",
        "The row of a FAILED step holds what came with the failure.",
        "FAI-08",
        Edit(
            f"{_PROGRESS}.fail",
            'self._end(path, "FAILED", None, error)',
            'self._end(path, "FAILED", {"partial": error}, error)',
        ),
    ),
    in_consumer(
        "one-failure-fails-all",
        "When a run fails, every RUNNING run of the same workflow is set FAILED as well.",
        "ISO-05",
        Wrap("system.consumer.executor:Executor._keep", replacements.failing_all_runs_of_the_workflow),
    ),
)

CANCELLATION: tuple[Mutant, ...] = (
    in_consumer(
        "completed-over-cancelled",
        "A run that was cancelled while RUNNING goes on, and COMPLETED is written over CANCELLED.",
        "CAN-01",
        Wrap("system.consumer.loop:ConsumerLoop._execute", replacements.deaf_to_cancellations),
        Sql(f"{_STORE}:_WRITE", FENCE, "AND r.status IN (x.seen_status, 'CANCELLED')"),
        also=("CAN-02", "TBL-03"),
    ),
    in_consumer(
        "cancellation-messages-ignored",
        "A cancellation request has no effect unless somebody else has set the row.",
        "CAN-04",
        Wrap("system.consumer.loop:ConsumerLoop._execute", replacements.deaf_to_cancellations),
        also=("CAN-05",),
    ),
    in_consumer(
        "cancelled-while-pending-revived",
        "A run that was cancelled while PENDING is started by its execution request.",
        "CAN-07",
        Edit(
            f"{_DECIDE}:_execution_requested",
            'if progress.status != "PENDING":',
            'if progress.status not in ("PENDING", "CANCELLED"):',
        ),
        Edit(
            f"{_FOLDING}._request",
            'if self._change.state.status != "PENDING":',
            'if self._change.state.status not in ("PENDING", "CANCELLED"):',
        ),
        Edit(
            "system.engine.transitions:check_run",
            "if new not in RUN_TRANSITIONS[old]:",
            'if new not in RUN_TRANSITIONS[old] and old != "CANCELLED":',
        ),
        also=("TBL-03",),
    ),
    in_consumer(
        "cancellation-known-to-one-process",
        "Only the process that read a cancellation knows of it: a RUNNING run's row is not asked, and written over.",
        "CAN-10",
        Sql(
            f"{_STORE}:_LOAD_RUNS",
            "r.run_id, r.workflow_name, r.status, r.revision",
            "r.run_id, r.workflow_name, CASE WHEN r.status = 'CANCELLED' AND r.started_at IS NOT NULL"
            " THEN 'RUNNING' ELSE r.status END AS status, r.revision",
        ),
        Sql(f"{_STORE}:_WRITE", FENCE, "AND r.revision = x.seen_revision AND r.status IN (x.seen_status, 'CANCELLED')"),
        Wrap("system.consumer.loop:ConsumerLoop._execute", replacements.remembering_cancellations_in_memory),
        also=("CAN-01", "GRP-06"),
    ),
    in_consumer(
        "task-after-cancellation",
        "A result that comes after the cancellation still has the next step dispatched.",
        "CAN-02",
        Wrap("system.consumer.executor:Executor._fold", replacements.dispatching_behind_late_results),
    ),
    in_consumer(
        "late-result-applied",
        "A result that comes after the cancellation completes its step.",
        "CAN-03",
        Wrap(
            "system.consumer.loop:ConsumerLoop._execute",
            replacements.applying_results_to(("CANCELLED",), ("CANCELLED",)),
        ),
    ),
    in_consumer(
        "early-cancellation-forgotten",
        "A cancellation request for a run that is not known yet is dropped.",
        "CAN-05",
        Sql(
            f"{_STORE}:_SAVE_EARLY_CANCELLATION",
            "VALUES (:run_id, :cancelled_by, :reason, :received_at)",
            "SELECT :run_id, :cancelled_by, :reason, :received_at WHERE false",
        ),
    ),
    in_consumer(
        "old-cancellation-cancels-the-retry",
        "A copy of a cancellation from before a retry cancels the retried run.",
        "CAN-11",
        Edit(f"{_DECIDE}:_cancellation_requested", "elif progress.is_retried and", "elif False and"),
    ),
    in_consumer(
        "second-cancellation-counts",
        "A second cancellation changes cancelled_at and cancelled_by.",
        "CAN-06",
        Wrap("system.consumer.loop:ConsumerLoop._execute", replacements.noting_every_cancellation),
    ),
    in_consumer(
        "cancelled-steps-stay-open",
        "The steps of a run that is cancelled stay RUNNING.",
        "CAN-08",
        Edit(f"{_DECIDE}:_cancellation_requested", '    _end_open_steps(progress, "CANCELLED", None)\n', ""),
    ),
)

RESUME: tuple[Mutant, ...] = (
    in_consumer(
        "resume-from-the-start",
        "A retry begins the run anew, completed steps and all.",
        "RES-02",
        Edit(f"{_DECIDE}:_supersede", "first_again = len(definition.chain)", "first_again = 0"),
        also=("RES-03", "RES-04"),
    ),
    in_consumer(
        "composites-resumed-from-the-start",
        "A retry runs a composite step that did not complete from its start, completed children and all.",
        "RES-02",
        Edit(
            f"{_DECIDE}:_supersede",
            'elif record.status == "COMPLETED" or record.parent in within_completed:',
            'elif (record.status == "COMPLETED" and record.parent is None) or record.parent in within_completed:',
        ),
        also=("RES-04",),
    ),
    in_consumer(
        "nested-failures-stand",
        "A retry does not run a step inside a composite again that failed.",
        "RES-04",
        Edit(
            f"{_DECIDE}:_supersede",
            'elif record.status != "CANCELLED" or record.task_id is None:',
            "elif record.parent is None or record.task_id is None:",
        ),
        also=("RES-01",),
    ),
    in_consumer(
        "resume-from-step-ignored",
        "A retry with resume_from_step goes on from the last completed step instead.",
        "RES-06",
        Edit(
            f"{_FOLDING}._request", "resume = self._held.resume_from_step or request.resume_from_step", "resume = None"
        ),
    ),
    in_consumer(
        "same-attempt-after-a-retry",
        "A failed step that a retry runs again is asked for under its old task_id.",
        "RES-08",
        Edit(
            f"{_PROGRESS}._begin_anew", "attempt = self.generation + 1 if known is None", "attempt = 1 if known is None"
        ),
        also=("MSG-13",),
    ),
    in_consumer(
        "new-attempt-for-what-was-in-flight",
        "A step that was in flight when its run was cancelled is asked for under a new task_id after the retry.",
        "RES-09",
        Edit(
            f"{_PROGRESS}._begin_anew",
            "attempt = self.generation + 1 if known is None else known.attempt",
            "attempt = self.generation + 1",
        ),
        also=("RES-10", "MSG-14"),
    ),
    in_consumer(
        "plan-of-the-last-request",
        "A retried run works with the plan and input of the newest request instead of those stored with it.",
        "RES-12",
        Edit(f"{_FOLDING}._definition", "if self._change.state.definition is not None:", "if False:"),
        Edit(
            f"{_FOLDING}._request",
            "input_data=request.input_data if state.input_data is None else state.input_data",
            "input_data=request.input_data",
        ),
    ),
    in_consumer(
        "runs-of-the-dead-are-strangers",
        "A process knows only the runs that it began itself: those of a dead one never go on.",
        "RES-14",
        Wrap("system.consumer.executor:Executor._load", replacements.without_runs_of_others),
        Wrap("system.consumer.executor:Executor._keep", replacements.noting_own_runs),
        also=("GRP-04", "RES-16", "GRP-08", "GRP-06"),
    ),
    in_consumer(
        "completed-steps-again-after-a-death",
        "A process that takes a run up after a death dispatches its completed steps again, under new ids.",
        "RES-15",
        Wrap("system.consumer.executor:Executor._load", replacements.dispatching_on_take_over("COMPLETED")),
        Wrap("system.consumer.executor:Executor._keep", replacements.noting_own_runs),
        also=("RES-14",),
    ),
    in_consumer(
        "random-ids-after-a-death",
        "A process that takes a run up after a death sends what is in flight again under random ids.",
        "RES-09",
        Wrap("system.consumer.executor:Executor._load", replacements.dispatching_on_take_over("RUNNING")),
        Wrap("system.consumer.executor:Executor._keep", replacements.noting_own_runs),
        also=("MSG-14", "RES-14"),
    ),
)

RUNS = COMPLETION + FAILURE + CANCELLATION + RESUME

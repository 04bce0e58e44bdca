"""Mutants of what the consumer does with messages, rows and processes: delivery, isolation, groups, observability."""

from __future__ import annotations

from tests.mutants.catalogue import replacements, transport
from tests.mutants.catalogue.runs import FENCE
from tests.mutants.mutant import Mutant, in_consumer
from tests.mutants.patching import Edit, Sql, Wrap

_DECIDE = "system.engine.decide"
_EXECUTE = "system.consumer.loop:ConsumerLoop._execute"
_FOLDING = "system.consumer.folding:Folding"
_LOOP = "system.consumer.loop"
_MESSAGES = "system.consumer.messages"
_STORE = "system.consumer.store"
_WRITE = "system.consumer.executor:Executor._write"

DELIVERY: tuple[Mutant, ...] = (
    in_consumer(
        "offset-committed-before-the-rows",
        "Offsets are committed when messages are read, before their effect is in rows.",
        "RES-14",
        Wrap(f"{_LOOP}:ConsumerLoop._take", transport.committing_first),
        also=("GRP-04", "GRP-08", "CMP-01"),
    ),
    in_consumer(
        "first-of-a-batch-only",
        "Of the execution requests that are read together only the first is worked in.",
        "CMP-01",
        Edit(
            "system.adapters.kafka:KafkaSubscription.poll",
            "self._consumer.consume(limit - 1, 0)",
            "self._consumer.consume(limit - 1, 0.2)",
        ),
        Wrap(f"{_LOOP}:ConsumerLoop._take", transport.keeping_the_first_request),
        also=("ISO-01", "GRP-01"),
    ),
    in_consumer(
        "copy-of-a-request-starts-again",
        "A copy of an execution request of a RUNNING run has its first step asked for once more.",
        "DEL-01",
        Wrap("system.consumer.executor:Executor._fold", replacements.starting_again_on_a_copy),
        also=("CMP-08",),
    ),
    in_consumer(
        "last-result-counts",
        "A second result for a task overwrites the output of the first.",
        "DEL-03",
        Wrap(_EXECUTE, replacements.applying_results_to(("COMPLETED", "FAILED"), ("RUNNING", "COMPLETED", "FAILED"))),
        also=("DEL-04", "DEL-02"),
    ),
    in_consumer(
        "results-after-the-end-applied",
        "A result that comes after its run has ended is written into its step.",
        "DEL-04",
        Wrap(_EXECUTE, replacements.applying_results_to(("RUNNING", "FAILED", "COMPLETED"), ("FAILED", "COMPLETED"))),
    ),
    in_consumer(
        "late-results-of-a-branch-applied",
        "A result that comes after the time-out of its branch completes its step.",
        "FJN-11",
        Wrap(_EXECUTE, replacements.applying_results_to(("FAILED",), ("RUNNING", "COMPLETED"))),
    ),
    in_consumer(
        "result-by-task-id-alone",
        "A result is applied to the run that has a step with its task_id, whatever its run_id.",
        "ISO-04",
        Wrap(_EXECUTE, replacements.finding_runs_by_task_alone),
    ),
    in_consumer(
        "poison-blocks-its-partition",
        "A message that is not valid is read again and again, and nothing behind it.",
        "DEL-09",
        Wrap(f"{_LOOP}:ConsumerLoop._take", transport.going_back_to_what_is_invalid),
        also=("DEL-10",),
    ),
    in_consumer(
        "poison-kills",
        "A JSON object that is not of the schema ends the process.",
        "DEL-10",
        Edit(
            f"{_MESSAGES}:_invalid",
            "    problems = schema_problems(data, schema_name)\n",
            '    raise SystemExit("a message is not valid")\n    problems = schema_problems(data, schema_name)\n',
        ),
        also=("DEL-11",),
    ),
    in_consumer(
        "poison-vanishes",
        "A message that is not valid is dropped without a dead letter.",
        "DEL-12",
        Edit(
            f"{_LOOP}:ConsumerLoop._set_aside",
            "    batch.open += 1\n    self._send_letter(dead_letter(message, reason, self._clock.now()), batch)",
            "    return",
        ),
    ),
    in_consumer(
        "hindered-messages-set-aside",
        "A valid message is set aside after the database has refused its work five times, for whatever reason.",
        "DEL-14",
        Edit(f"{_LOOP}:ConsumerLoop._attempt", "doubts += blame is Blame.UNKNOWN", "doubts += blame is not Blame.WORK"),
    ),
    in_consumer(
        "unknown-fields-refused",
        "A message with a field beyond its schema is set aside.",
        "MSG-06",
        Wrap(f"{_MESSAGES}:_object", transport.refusing_unknown_fields),
    ),
    in_consumer(
        "keyless-results-ignored",
        "A result without a key is set aside.",
        "MSG-03",
        Edit(
            f"{_LOOP}:_result_item",
            "    result = read_agent_result(message.value)\n",
            '    if not message.key:\n        raise InvalidMessage("a result needs a key")\n'
            "    result = read_agent_result(message.value)\n",
        ),
    ),
    in_consumer(
        "run-ids-folded",
        "run_ids are compared without regard to case.",
        "MSG-17",
        Edit(f"{_LOOP}:_execution_item", "Item(request.run_id,", "Item(request.run_id.lower(),"),
        Edit(f"{_LOOP}:_result_item", "Item(result.run_id,", "Item(result.run_id.lower(),"),
        Edit(f"{_LOOP}:_cancellation_item", "Item(request.run_id,", "Item(request.run_id.lower(),"),
    ),
    in_consumer(
        "absent-is-not-null",
        "A result without the nullable field error_message is set aside.",
        "MSG-09",
        Edit(
            f"{_MESSAGES}:read_agent_result",
            "and isinstance(error, str | None)",
            'and isinstance(error, str | None)\n        and "error_message" in data',
        ),
    ),
    in_consumer(
        "messages-without-the-run-as-key",
        "Tasks and updates of all runs have one key.",
        "MSG-02",
        Edit(f"{_FOLDING}.__init__", "self._key = held.state.run_id.encode()", 'self._key = b"run"'),
    ),
    in_consumer(
        "naive-timestamps",
        "The timestamps of tasks have no offset.",
        "MSG-07",
        Edit(
            f"{_MESSAGES}:task_message",
            '"timestamp": now.isoformat(),',
            '"timestamp": now.replace(tzinfo=None).isoformat(),',
        ),
        also=("MSG-05",),
    ),
    in_consumer(
        "correlation-id-per-task",
        "Each task of a run has a correlation_id of its own.",
        "MSG-15",
        Edit(f"{_MESSAGES}:task_message", '"correlation_id": run_id,', '"correlation_id": task.task_id,'),
    ),
    in_consumer(
        "task-ids-repeat-between-runs",
        "The task_id of a step is the same in every run.",
        "MSG-13",
        Edit("system.engine.state:task_id", 'f"{run_id}\\n{path}\\n{attempt}"', 'f"{path}\\n{attempt}"'),
        also=("ISO-01",),
    ),
)

GROUPS_AND_ISOLATION: tuple[Mutant, ...] = (
    Mutant(
        "fencing-removed",
        "A process that was paused or overtaken writes over what others have done since.",
        "GRP-05",
        ("consumer",),
        (Sql(f"{_STORE}:_WRITE", FENCE, ""),),
        also=("CAN-01", "CAN-09", "GRP-06", "OBS-05"),
        processes=2,
    ),
    in_consumer(
        "input-of-another-run",
        "All runs of a workflow see the input of the first one.",
        "ISO-01",
        Edit(
            "system.engine.progress:Progress.place",
            "self._before.input_data,",
            "_inputs.setdefault(self.definition.workflow_id or self.definition.name, self._before.input_data),",
        ),
        transport.Name("system.engine.progress", "_inputs", dict),
    ),
    in_consumer(
        "one-run-at-a-time",
        "A run is taken up only when no other run is RUNNING.",
        "ISO-06",
        Wrap(f"{_LOOP}:ConsumerLoop._take", transport.waiting_while_a_run_is_running),
        also=("ISO-01",),
    ),
    in_consumer(
        "outputs-found-by-step-id",
        "References are resolved in whatever run has a step of that id, the newest first.",
        "ISO-03",
        Edit(
            "system.engine.scope:Place.output_of",
            "    return record.output_data",
            "    return _outputs.setdefault(step_id, record.output_data)",
        ),
        transport.Name("system.engine.scope", "_outputs", dict),
        also=("ISO-01",),
    ),
    in_consumer(
        "time-outs-die-with-their-process",
        "The time-outs of branches are kept in memory only.",
        "FJN-13",
        Wrap(f"{_STORE}:ConsumerStore._write_rare", transport.keeping_timers_in_memory),
        Wrap(f"{_STORE}:ConsumerStore.due_timers", transport.timers_from_memory),
    ),
    Mutant(
        "outbox-never-swept",
        "What a process accepted and had not sent when it died is never sent.",
        "API-14",
        ("api", "consumer"),
        (
            Edit(
                "system.outbox:Outbox.sweep",
                "    with self._engine.begin() as connection:",
                "    return []\n    with self._engine.begin() as connection:",
            ),
        ),
        also=("DEL-13", "RES-14"),
    ),
)

OBSERVABILITY: tuple[Mutant, ...] = (
    in_consumer(
        "tasks-before-the-rows",
        "Tasks are published before the rows that they follow from are committed.",
        "CMP-09",
        Wrap(_WRITE, transport.sending_first("tasks")),
        also=("DEL-07", "OBS-04"),
    ),
    in_consumer(
        "updates-before-the-rows",
        "Updates are published before the rows that they tell of are committed.",
        "OBS-04",
        Wrap(_WRITE, transport.sending_first("updates")),
        also=("OBS-02",),
    ),
    in_consumer(
        "failures-not-told",
        "No update tells of a step that FAILED.",
        "OBS-01",
        Edit(
            f"{_FOLDING}._carry_out",
            "        self._update(messages.step_update(state.run_id, name, decision, self._now))",
            '        if record.status != "FAILED":\n'
            "            self._update(messages.step_update(state.run_id, name, decision, self._now))",
        ),
        also=("OBS-02",),
    ),
    in_consumer(
        "updates-backwards",
        "The updates of a batch are published from the last to the first.",
        "OBS-03",
        Edit(
            _WRITE,
            "messages = [message for one in folded for message in one.updates]",
            "messages = [message for one in folded for message in reversed(one.updates)]",
        ),
    ),
    in_consumer(
        "rows-stay-running",
        "The row of a step stays RUNNING when the step has ended.",
        "OBS-02",
        Sql(
            f"{_STORE}:_WRITE", "status = excluded.status, output_data", "status = step_executions.status, output_data"
        ),
        also=("CMP-02", "FAI-08"),
    ),
    in_consumer(
        "updates-of-late-results",
        "A result that comes after the end of its run is told of as a transition.",
        "OBS-07",
        Wrap("system.consumer.executor:Executor._fold", transport.telling_of_late_results),
    ),
    in_consumer(
        "rows-without-agent",
        "The rows of steps do not say which agent was asked.",
        "TBL-04",
        Edit("system.consumer.rows:row_of", "kind.agent_name if isinstance(kind, AgentStep) else None", "None"),
    ),
    in_consumer(
        "one-row-for-all-iterations",
        "All iterations of a loop have one row.",
        "TBL-04",
        Edit(
            "system.consumer.rows:row_of",
            '"path": record.path,',
            '"path": __import__("re").sub(r"\\[\\d+\\]", "[0]", record.path),',
        ),
        Edit(
            f"{_STORE}:ConsumerStore._write_changes",
            "\n        for record in change.steps.values()\n",
            '\n        for record in {\n            __import__("re").sub(r"\\[\\d+\\]", "[0]", key[0]): record for key, record in change.steps.items()\n        }.values()\n',
        ),
        also=("LOP-01",),
    ),
    in_consumer(
        "start-untold",
        "The rows of runs and steps are written when a step ends; that it began is told to nobody.",
        "OBS-01",
        Edit(
            f"{_FOLDING}._carry_out",
            "        self._update(messages.step_update(state.run_id, name, decision, self._now))",
            '        if record.status != "RUNNING":\n'
            "            self._update(messages.step_update(state.run_id, name, decision, self._now))",
        ),
        also=("OBS-03",),
    ),
)

CONSUMER = DELIVERY + GROUPS_AND_ISOLATION + OBSERVABILITY

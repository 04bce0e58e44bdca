"""The acts of a timeline, done. Each gives what came of it, for the history."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from harness.history import Event
from harness.runner.acts_disk import fill
from harness.runner.acts_faults import cut, exhaust, fault, join, persistently
from harness.runner.acts_rest import current_plan, posted, refused, rest
from harness.runner.conditions import message_filter
from harness.runner.errors import Broken, NotSupported, SetUpBroke
from harness.runner.tasks import tasks_of_step
from harness.runner.world import World, aliases_of, new_run_id
from harness.scenario.model import Act

_MOST_MESSAGES = 100_000
_AT_ONCE = 8


def do(act: Act, world: World) -> Any:
    """Do an act (not `all` and `wait`, which wait themselves); its arguments are filled in first.

    Raises:
        Broken: the subject's answer is not what the act is for.
        NotSupported: it cannot be done to this subject.
        SetUpBroke: the harness could not do it.
    """
    if act.word in ("kill", "stop", "start", "restart", "pause", "resume"):
        arguments = world.filled(act.arguments)
        getattr(world.bench.processes, act.word)(world.writer, arguments["role"], arguments.get("number"))
        return "done"
    if act.word in ("add", "remove"):
        getattr(world.bench.processes, act.word)(world.writer, world.filled(act.arguments["role"]))
        return "done"
    if act.word == "rest":
        # Its matchers see what is bound, and bind themselves: they are not filled in here.
        return rest(act, world)
    if act.word == "duplicate":
        return _duplicate(act.arguments, world)
    return _ACTS[act.word](world.filled(act.arguments), world)


def _execute(arguments: Mapping[str, Any], world: World) -> Any:
    name = arguments["workflow"]
    via = world.bench.way_of(arguments.get("via"))
    one = _execute_over_rest if via == "rest" else _execute_in_place
    aliases = aliases_of(arguments)
    if len(aliases) == 1:
        return one(aliases[0], name, arguments, via, world)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        outcomes = list(pool.map(lambda alias: one(alias, name, arguments, via, world), aliases))
    return dict(zip(aliases, outcomes, strict=True))


def _execute_over_rest(alias: str, name: str, arguments: Mapping[str, Any], via: str, world: World) -> Any:
    definition_id = world.values["workflows"][name].get("id")
    if definition_id is None:
        raise SetUpBroke(f"the workflow '{name}' was not created over REST, so that it cannot be executed")
    # Repeated under one key where the API may be down, as a careful client does.
    key = arguments.get("key", f"{alias}-{world.unique}" if world.bench.armed_faults is not None else None)
    headers = {"Idempotency-Key": key} if key is not None else {}
    answer = persistently(
        world,
        lambda: world.bench.rest.ask(
            world.scope,
            "POST",
            f"/workflows/{definition_id}/execute",
            {"input_data": arguments["input"]},
            headers=headers,
        ),
    )
    run_id = answer.body.get("run_id") if isinstance(answer.body, Mapping) else None
    if answer.status != 202 or not isinstance(run_id, str):
        raise Broken([refused(world, f"the execution of '{name}'", answer, "202 with a run_id")])
    world.add_run(alias, run_id, name, current_plan(world, name), arguments["input"], via)
    return {"run_id": run_id}


def _execute_in_place(alias: str, name: str, arguments: Mapping[str, Any], via: str, world: World) -> Any:
    plan = world.values["workflows"][name]["plan"]
    run_id = world.run_id(alias) if alias in world.values else new_run_id()
    if via == "kafka":
        world.bench.tables.insert_run(run_id, plan, arguments["input"])
    world.add_run(alias, run_id, name, plan, arguments["input"], via)
    _request(world, run_id, plan, arguments["input"], arguments.get("key", run_id), None)
    return {"run_id": run_id}


def _request(world: World, run_id: str, plan: Any, input_data: Any, key: str | None, resume: str | None) -> None:
    value = {
        "run_id": run_id,
        "workflow_plan": plan,
        "input_data": input_data,
        "timestamp": _now(),
        "message_type": "execution_request",
    }
    if resume is not None:
        value["resume_from_step"] = resume
    world.bench.publisher.publish(world.scope, "requests", key, value)


def _cancel(arguments: Mapping[str, Any], world: World) -> Any:
    run_id = world.run_id(arguments["run"])
    via = world.bench.way_of(arguments.get("via"))
    if via == "rest":
        return posted(world, run_id, "cancel", {"reason": arguments.get("reason")}, by=arguments.get("by"))
    by = arguments.get("by", "plumbline")
    if via == "kafka" and not world.bench.tables.cancel_run(run_id, by):
        return "refused: the run has ended, or has no row"
    value = {
        "run_id": run_id,
        "cancelled_by": by,
        "reason": arguments.get("reason"),
        "timestamp": _now(),
        "message_type": "cancellation_request",
    }
    # A run that is cancelled before it is made is watched from now on.
    world.bench.observer.scopes.add_run(world.scope, run_id, arguments["run"])
    world.bench.publisher.publish(world.scope, "cancellations", run_id, value)
    return "published"


def _retry(arguments: Mapping[str, Any], world: World) -> Any:
    run_id = world.run_id(arguments["run"])
    via = world.bench.way_of(arguments.get("via"))
    resume = arguments.get("from")
    if via == "rest":
        return posted(world, run_id, "retry", {} if resume is None else {"resume_from_step": resume})
    if not world.bench.binding.can_write_runs:
        raise NotSupported("a retry sets the run's row, and the subject's rows are its own: name binding.writes")
    if via == "kafka" and not world.bench.tables.retry_run(run_id):
        return "refused: the run is neither FAILED nor CANCELLED"
    made = world.view.run(run_id)
    given = next(event["input"] for event in world.writer.history().of("run", run_id))
    _request(world, run_id, made.plan, given, run_id, resume)
    return "published"


def _hold(arguments: Mapping[str, Any], world: World) -> Any:
    world.bench.agents.hold(world.agent_name(arguments["agent"]))
    world.scripts[arguments["agent"]].is_held = True
    return "held"


def _release(arguments: Mapping[str, Any], world: World) -> Any:
    world.scripts[arguments["agent"]].is_held = False
    world.bench.agents.release(world.agent_name(arguments["agent"]))
    return "released"


def _answer(arguments: Mapping[str, Any], world: World) -> Any:
    run_id = world.run_id(arguments["run"])
    run = world.view.run(run_id)

    def task_asked() -> Mapping[str, Any] | None:
        asked = tasks_of_step(run, arguments["step"])
        nth = arguments.get("nth", len(asked))
        return run.tasks[asked[nth - 1]]["value"] if 1 <= nth <= len(asked) else None

    task = world.await_in_view(task_asked, f"a task of step {arguments['step']} of {arguments['run']}")
    value = {
        "run_id": run_id,
        "task_id": arguments.get("task_id", task["task_id"]),
        "status": "SUCCESS" if "output" in arguments else "FAILURE",
        "output_data": arguments.get("output"),
        "correlation_id": task.get("correlation_id", run_id),
        "error_message": arguments.get("error"),
        "timestamp": _now(),
    }
    for _ in range(arguments["times"]):
        world.bench.publisher.publish(world.scope, "results", arguments.get("key", run_id), value)
    return {"task_id": value["task_id"]}


def _publish(arguments: Mapping[str, Any], world: World) -> Any:
    topic = arguments["topic"]
    if "value" in arguments:
        value = arguments["value"]
        if isinstance(value, Mapping):
            if isinstance(value.get("run_id"), str):
                world.bench.observer.scopes.add_run(world.scope, value["run_id"], None)
            value = world.bench.binding.to_subject(topic, value)
        raw: bytes | None = json.dumps(value).encode()
    else:
        raw = arguments["raw"].encode("utf-8", "surrogatepass") if arguments["raw"] is not None else None
        raw = world.bench.binding.raw_to_subject(topic, raw)
    for _ in range(arguments["times"]):
        world.bench.publisher.publish_raw(world.scope, topic, arguments.get("key"), raw, arguments.get("headers", {}))
    return "published"


def _duplicate(arguments: Mapping[str, Any], world: World) -> Any:
    topic, times = world.filled(arguments["topic"]), world.filled(arguments["times"])
    fits = message_filter({"where": arguments["where"]} if "where" in arguments else {}, dict(world.values))

    def wanted() -> list[Event] | None:
        return [event for event in world.view.messages[topic] if fits(event)] or None

    chosen = world.await_in_view(wanted, f"a message on {topic} that can be sent again")
    if len(chosen) * times > _MOST_MESSAGES:
        raise SetUpBroke(f"{len(chosen)} messages {times} times are more than {_MOST_MESSAGES}")
    for _ in range(times):
        for event in chosen:
            value = event["value"]
            if value is not None:
                raw = json.dumps(world.bench.binding.to_subject(topic, value)).encode()
            else:
                raw = event["raw"].encode("utf-8", "surrogatepass")
            world.bench.publisher.publish_raw(world.scope, topic, event["key"], raw, event["headers"])
    return {"messages": len(chosen) * times}


def _redeliver(arguments: Mapping[str, Any], world: World) -> Any:
    topics = world.bench.binding.all_topics()
    wanted = arguments.get("topic")
    offsets = {
        part: offset
        for part, offset in world.offsets.items()
        if part.topic in topics and wanted in (None, topics[part.topic])
    }
    world.bench.processes.redeliver(world.writer, arguments["group"], offsets)
    return "set back to the beginning of the scenario"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_ACTS: Mapping[str, Callable[[Mapping[str, Any], World], Any]] = {
    "execute": _execute,
    "cancel": _cancel,
    "retry": _retry,
    "hold": _hold,
    "release": _release,
    "answer": _answer,
    "publish": _publish,
    "redeliver": _redeliver,
    "fault": fault,
    "cut": cut,
    "join": join,
    "exhaust": exhaust,
    "fill": fill,
}

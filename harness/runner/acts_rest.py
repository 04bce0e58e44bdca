"""Acts over REST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.observer import Answer
from harness.runner.acts_faults import persistently
from harness.runner.conditions import judge_answer
from harness.runner.errors import Broken, NotSupported, SetUpBroke
from harness.runner.world import World
from harness.scenario.model import Act
from harness.verdict import Finding

_MOST_RAW = 50_000_000


def current_plan(world: World, name: str) -> Any:
    """The plan of the version that is executed now: a scenario may have made another by a PUT."""
    entry = world.values["workflows"][name]
    if not any(act.word == "rest" and act.arguments.get("method") == "PUT" for act in world.all_acts()):
        return entry["plan"]
    answer = world.bench.rest.ask(world.scope, "GET", f"/workflows/{entry['id']}")
    if answer.status != 200 or not isinstance(answer.body, Mapping):
        return entry["plan"]
    version = str(answer.body.get("version"))
    return {
        **entry["plan"],
        "workflow_id": f"wf-{answer.body.get('name')}-{version}",
        "version": version,
        "start_step": answer.body.get("start_step"),
        "steps": answer.body.get("steps"),
    }


def posted(world: World, run_id: str, what: str, body: Mapping[str, Any], by: str | None = None) -> Any:
    """A cancellation or a retry over REST. A refusal is an answer as well; an error of the server's is none."""
    headers = {"X-User": by} if by is not None else {}
    answer = persistently(
        world,
        lambda: world.bench.rest.ask(world.scope, "POST", f"/runs/{run_id}/{what}", body, headers=headers, run=run_id),
    )
    if answer.status is None or answer.status >= 500:
        raise Broken([refused(world, f"POST /runs/{run_id}/{what}", answer, "an answer below 500")])
    return {"status": answer.status}


def rest(act: Act, world: World) -> Any:
    """Any request, its answer held to the act's matchers. Raises :class:`Broken` when they do not match."""
    asked = {
        word: world.filled(act.arguments[word])
        for word in ("method", "path", "body", "raw", "headers")
        if word in act.arguments
    }
    if not world.bench.has_api:
        raise NotSupported("the subject has no API, and the scenario speaks to it over REST")
    answer = world.bench.rest.ask(
        world.scope,
        asked["method"],
        asked["path"],
        asked.get("body"),
        raw=_raw(asked["raw"]) if "raw" in asked else None,
        headers=asked.get("headers"),
    )
    _own_run(asked, answer, world)
    with world.view.changed:
        judgement = judge_answer(f"{asked['method']} {asked['path']}", act.arguments, answer, world.values)
    if ("status" in act.arguments or "answer" in act.arguments) and not judgement.holds:
        raise Broken([finding(world, "answer", judgement.found)])
    return {"status": answer.status}


def _raw(written: Any) -> str:
    """The text of a raw body. Raises :class:`SetUpBroke` for one that would be too long."""
    if isinstance(written, str):
        return written
    repeated, times = str(written["repeat"]), int(written["times"])
    if len(repeated) * times > _MOST_RAW:
        raise SetUpBroke(f"a raw body of {len(repeated) * times} characters is asked for; at most {_MOST_RAW} are sent")
    return f"{written.get('before', '')}{repeated * times}{written.get('after', '')}"


def _own_run(asked: Mapping[str, Any], answer: Answer, world: World) -> None:
    """A run that was made by such a request is the scenario's."""
    path: str = asked["path"]
    if asked["method"] != "POST" or not path.endswith("/execute") or not isinstance(answer.body, Mapping):
        return
    run_id = answer.body.get("run_id")
    if answer.status != 202 or not isinstance(run_id, str) or run_id in world.view.runs:
        return
    for name, entry in world.values["workflows"].items():
        if entry.get("id") is not None and entry["id"] in path:
            given = asked.get("body") or {}
            world.bench.observer.scopes.add_run(
                world.scope,
                run_id,
                None,
                workflow=name,
                plan=current_plan(world, name),
                input=given.get("input_data", {}) if isinstance(given, Mapping) else {},
                via="rest",
            )
            return
    world.bench.observer.scopes.add_run(world.scope, run_id, None)


def refused(world: World, what: str, answer: Answer, expected: str) -> Finding:
    """The finding for an answer that the scenario cannot go on with."""
    told = "got no answer" if answer.status is None else f"was answered with {answer.status}"
    return finding(world, "request refused", f"{what} {told}, expected {expected}: {answer.body!s:.300}")


def finding(world: World, anomaly: str, explanation: str) -> Finding:
    """A finding at the present end of the history."""
    last = world.writer.history().events[-1].seq
    return Finding("runner", world.scenario.clauses[0], anomaly, explanation, (last,))

"""The world of one execution of a scenario: unique names, its agents and workflows on the subject, its runs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from harness.history import HistoryWriter
from harness.observer import Scope
from harness.runner.auth import auth_headers
from harness.runner.errors import Broken, NotSupported, SetUpBroke
from harness.runner.scripts import ScenarioScript
from harness.runner.view import View
from harness.scenario import templates
from harness.scenario.model import Act, Agent, Scenario
from harness.verdict import Finding

if TYPE_CHECKING:
    from harness.runner.bench import Bench

_FAST_RETRIES = {"max_retries": 3, "initial_delay_ms": 20, "max_delay_ms": 100, "backoff_multiplier": 2}
"""What an agent's record says where the scenario does not: quick, so that a scenario is not spent waiting."""

_TIMEOUT_MS = 60_000
_TERMINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
_CATCH_UP_SECONDS = 10.0
_T = TypeVar("_T")
_VERSION = "1"


class World:
    """`values` is what templates name; safe to use from the threads of one scenario."""

    def __init__(self, scenario: Scenario, bench: Bench, writer: HistoryWriter, drawn: Mapping[str, Any]) -> None:
        self.scenario = scenario
        self.bench = bench
        self.writer = writer
        self.view = View()
        self.unique = uuid.uuid4().hex[:10]
        self.scripts: dict[str, ScenarioScript] = {}
        self.definition_ids: dict[str, str] = {}
        self.offsets: Mapping[Any, int] = {}
        self.made: list[str] = []
        """The runs that acts have made."""

        self.may_wait_for_ever = True
        """Whether something keeps runs from ending, so that nobody has waited for them to the last."""

        self.values: dict[str, Any] = {**drawn, "unique": self.unique}
        self.values["agents"] = {
            name: {"name": self.agent_name(name), "url": bench.agents.url(self.agent_name(name))}
            for name in scenario.agents
        }
        definitions = {
            name: self._definition(name, templates.fill(definition, self.values))
            for name, definition in scenario.workflows.items()
        }
        self.values["workflows"] = {
            name: {"name": definition["name"], "id": None, "definition": definition, "plan": _plan(definition)}
            for name, definition in definitions.items()
        }
        for alias in self._known_aliases(scenario.timeline):
            self.values[alias] = {"id": new_run_id()}
        writer.listen(self.view.hear)
        self.scope: Scope = bench.observer.open(writer)

    def agent_name(self, name: str) -> str:
        """What an agent of the scenario is called in the world."""
        return f"{name}-{self.unique}"

    def filled(self, value: Any) -> Any:
        """A value of the scenario with its templates filled. Raises :class:`SetUpBroke` for a name without a value."""
        with self.view.changed:
            known = {**self.values, "now": datetime.now(UTC).isoformat(timespec="milliseconds")}
            try:
                return templates.fill(value, known)
            except templates.UnknownName as unknown:
                raise SetUpBroke(f"the scenario names '{unknown.name}', which has no value at this point") from unknown

    def set_up(self) -> None:
        """Play the agents, register them, and create the workflows that are executed over REST."""
        for agent in self.scenario.agents.values():
            self._play(agent)
        if self.bench.has_api:
            for name in self._wanted_definitions():
                self._create(name)

    def close(self) -> None:
        """Let go of the world; its agents answer nobody any more."""
        self.bench.observer.close(self.scope)
        for name in self.scenario.agents:
            self.bench.agents.forget(self.agent_name(name))
            self.bench.forget_agent(self.agent_name(name))

    def run_id(self, alias: str) -> str:
        """The run of a name. Raises :class:`SetUpBroke` when it has not been made."""
        of_run = self.values.get(alias)
        if not isinstance(of_run, Mapping) or "id" not in of_run:
            raise SetUpBroke(f"the run '{alias}' has not been made at this point of the scenario")
        return str(of_run["id"])

    def add_run(self, alias: str, run_id: str, workflow: str, plan: Any, input_data: Any, via: str) -> None:
        """Note a run that is made now."""
        with self.view.changed:
            self.values[alias] = {"id": run_id}
        self.made.append(run_id)
        self.bench.observer.scopes.add_run(
            self.scope, run_id, alias, workflow=workflow, plan=plan, input=input_data, via=via
        )

    def has_ended(self, run_id: str) -> bool:
        """Whether the run's row was last seen in a terminal status."""
        row = self.view.run(run_id).row
        return row is not None and row.get("status") in _TERMINAL

    def await_in_view(self, find: Callable[[], _T | None], what: str) -> _T:
        """The first thing that is found in the view, up to the scenario's deadline.

        Raises:
            Broken: it did not come; `what` names it.
        """
        self.bench.observer.catch_up_with_kafka(_CATCH_UP_SECONDS)
        deadline = time.monotonic() + self.scenario.deadline_seconds
        with self.view.changed:
            while (found := find()) is None:
                if not self.view.changed.wait(min(1.0, deadline - time.monotonic())) and time.monotonic() > deadline:
                    explanation = f"{what} did not come within {self.scenario.deadline_seconds:g} s"
                    raise Broken([Finding("timeline", self.scenario.clauses[0], "condition never met", explanation)])
            return found

    def all_acts(self) -> Iterator[Act]:
        """Every act of the scenario."""
        return acts_of(self.scenario.timeline)

    def _play(self, agent: Agent) -> None:
        name = self.agent_name(agent.name)
        entries = templates.fill([dict(entry) for entry in agent.script], self.values)
        script = self.scripts[agent.name] = ScenarioScript.of(agent, entries)
        self.bench.observer.scopes.add_agent(self.scope, name, agent.name)
        auth = templates.fill(dict(agent.auth), self.values) if agent.auth else None
        self.bench.agents.play(name, script, demands=demanded_headers(auth))
        record = {
            "name": name,
            "url": agent.url if agent.url is not None else self.bench.agents.url(name),
            "timeout_ms": agent.timeout_ms or _TIMEOUT_MS,
            "retry_config": {**_FAST_RETRIES, **(agent.retry_config or {})},
            "status": agent.status,
        }
        record = {**templates.fill(record, self.values), **_auth(auth)}
        self.writer.add("harness", "agent", agent=agent.name, registered=agent.registered, record=record)
        if agent.registered:
            self.bench.register_agent(self.scope, record)

    def _create(self, name: str) -> None:
        definition = self.values["workflows"][name]["definition"]
        answer = self.bench.rest.ask(self.scope, "POST", "/workflows", definition)
        if answer.status != 201 or not isinstance(answer.body, dict) or "id" not in answer.body:
            raise Broken([
                Finding(
                    "runner",
                    self.scenario.clauses[0],
                    "definition refused",
                    f"POST /workflows with the workflow '{name}' was answered with {answer.status}, expected 201 with its "
                    f"id: {answer.body!s:.300}",
                    (self.writer.history().events[-1].seq,),
                )
            ])  # fmt: skip
        with self.view.changed:
            self.values["workflows"][name]["id"] = answer.body["id"]

    def _wanted_definitions(self) -> list[str]:
        """The workflows that are executed over REST, or whose id the scenario names."""
        wanted: dict[str, None] = {}
        for act in acts_of(self.scenario.timeline):
            if act.word == "execute" and act.arguments.get("via") in (None, "rest"):
                wanted[str(act.arguments.get("workflow"))] = None
        said = [act.arguments for act in acts_of(self.scenario.timeline) if act.word != "wait"]
        said += [expectation.what for expectation in self.scenario.expectations]
        for _, used in templates.names(said):
            parts = used.split(".")
            if len(parts) == 3 and parts[0] == "workflows" and parts[2] == "id":
                wanted[parts[1]] = None
        return [name for name in wanted if name in self.scenario.workflows]

    def _definition(self, name: str, written: Mapping[str, Any]) -> dict[str, Any]:
        """The definition with the names of the world."""
        definition = {"name": f"{name}-{self.unique}", **written}
        steps = definition.get("steps")
        if isinstance(steps, Mapping):
            definition["steps"] = {step_id: self._step(step) for step_id, step in steps.items()}
        return definition

    def _step(self, step: Any) -> Any:
        if isinstance(step, Mapping) and step.get("agent_name") in self.scenario.agents:
            return {**step, "agent_name": self.agent_name(step["agent_name"])}
        return step

    def _known_aliases(self, timeline: tuple[Act, ...]) -> Iterator[str]:
        """The runs whose ids the harness chooses, since they are not made over REST."""
        for act in acts_of(timeline):
            if act.word == "execute" and self.bench.way_of(act.arguments.get("via")) != "rest":
                yield from aliases_of(act.arguments)


def acts_of(timeline: tuple[Act, ...]) -> Iterator[Act]:
    """Every act, those within `all` among them."""
    for act in timeline:
        if act.word == "all":
            yield from acts_of(act.arguments["acts"])
        else:
            yield act


def aliases_of(arguments: Mapping[str, Any]) -> list[str]:
    """The names of the runs that an `execute` makes."""
    count = arguments.get("count")
    if count is None:
        return [arguments["as"]]
    if not isinstance(count, int):
        raise NotSupported(f"the count of runs must be known before the scenario begins, found {count!r}")
    return [f"{arguments['as']}-{number}" for number in range(1, count + 1)]


def new_run_id() -> str:
    """An id that no other run has."""
    return f"run-{uuid.uuid4()}"


def _plan(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of a definition's first version."""
    name = definition["name"]
    rest = {key: value for key, value in definition.items() if key not in ("name", "description")}
    return {"workflow_id": f"wf-{name}-{_VERSION}", "name": name, "version": _VERSION, **rest}


def demanded_headers(auth: Mapping[str, Any] | None) -> dict[str, str]:
    """The headers that a call must bear for an agent with this `auth` (AGT-18)."""
    if not auth:
        return {}
    ((kind, config),) = auth.items()
    return auth_headers(kind, config)


def _auth(auth: Mapping[str, Any] | None) -> dict[str, Any]:
    if not auth:
        return {}
    ((kind, config),) = auth.items()
    return {"auth_type": kind, "auth_config": dict(config)}

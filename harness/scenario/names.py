"""The names that can be used at a place of a scenario: runs that were made, values that were bound, things of the world."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.scenario.acts import executes_of
from harness.scenario.matcher_mistakes import bound_names

RESERVED: Final = frozenset({"workflows", "agents", "unique", "now"})
"""Names of the world, which nothing else can have."""

OF_WORKFLOW: Final = ("name", "id", "definition", "plan")
OF_AGENT: Final = ("name", "url")
OF_RUN: Final = ("id",)


@dataclass(frozen=True)
class Run:
    """A run that an `execute` makes; `workflow` is None where nobody knows yet which, `count` None for a single one."""

    workflow: str | None
    count: Any = None


class Names:
    """What is known so far, reading a scenario from its top."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data
        self.runs: dict[str, Run] = {}
        self.bound: set[str] = set()
        self.ever_bound = frozenset(_bound_in(data))
        self.made_by_harness = dict(_made_by_harness(data))

    def copy(self) -> Names:
        """The same names, to go on separately."""
        other = object.__new__(Names)
        other.__dict__.update(self.__dict__)
        other.runs, other.bound = dict(self.runs), set(self.bound)
        return other

    def joined(self, others: Iterable[Names]) -> Names:
        """These names and those of the others."""
        joined = self.copy()
        for other in others:
            joined.runs.update(other.runs)
            joined.bound |= other.bound
        return joined

    def bind_all(self) -> None:
        """From here on, everything that a matcher anywhere binds may have its value."""
        self.bound |= self.ever_bound

    def is_taken(self, name: str) -> bool:
        """Whether a matcher cannot bind this name, since it means something else."""
        taken = (RESERVED, self.runs, self._data.get("parameters", {}), self._data.get("draws", {}))
        return any(name in names for names in taken)

    def run(self, name: str) -> Run | None:
        """The run of this name, also one of several: `r-2`."""
        if name in self.runs:
            return self.runs[name]
        match = re.fullmatch(r"(.+)-([1-9][0-9]*)", name)
        several = self.runs.get(match[1]) if match else None
        if match is None or several is None or several.count is None:
            return None
        known = several.count if isinstance(several.count, int) else None
        return several if known is None or int(match[2]) <= known else None

    def run_names(self) -> list[str]:
        """The names that a run can be called by."""
        return [*self.runs, *(f"{name}-1" for name, run in self.runs.items() if run.count is not None)]

    def static(self) -> Iterator[str]:
        """Names that have a value before the timeline begins."""
        yield from self._data.get("draws", {})
        yield "unique"

    def is_static(self, name: str) -> bool:
        """Whether the name has a value before the timeline begins; a draw that is an object can be gone into."""
        return name in set(self.static()) or name.partition(".")[0] in self._data.get("draws", {})

    def all(self) -> Iterator[str]:
        """Every name that can be used."""
        yield from self.static()
        yield "now"
        yield from sorted(self.bound)
        yield from (f"{run}.{what}" for run in self.run_names() for what in OF_RUN)
        yield from (f"workflows.{name}.{what}" for name in self._data.get("workflows", {}) for what in OF_WORKFLOW)
        yield from (f"agents.{name}.{what}" for name in self._data.get("agents", {}) for what in OF_AGENT)

    def is_known(self, name: str) -> bool:
        """Whether the name can be used here; what was bound or drawn can be gone into."""
        first, _, rest = name.partition(".")
        if self.is_static(name) or first in self.bound or name in set(self.all()):
            return True
        run = self.run(first) or self.made_by_harness.get(first)
        several = run is not None and run.count is not None and first in self.runs
        return run is not None and rest in OF_RUN and not several

    def steps_of(self, run: Run) -> list[str] | None:
        """The ids of the steps that the run's workflow has, or None when they are not known."""
        definition = self._data.get("workflows", {}).get(run.workflow)
        steps = definition.get("steps") if isinstance(definition, Mapping) else None
        if not isinstance(steps, Mapping) or any("{{" in name for name in steps):
            return None
        return list(steps)

    def branches_of(self, run: Run) -> list[str] | None:
        """The names of all branches in the run's workflow, or None when they are not known."""
        if self.steps_of(run) is None:
            return None
        steps = self._data["workflows"][run.workflow]["steps"].values()
        configs = [step.get("fork_join_config") for step in steps if isinstance(step, Mapping)]
        return [
            name
            for config in configs
            if isinstance(config, Mapping) and isinstance(config.get("branches"), Mapping)
            for name in config["branches"]
        ]


def _made_by_harness(data: Mapping[str, Any]) -> Iterator[tuple[str, Run]]:
    """Runs that are not made over REST: the harness chooses their ids, and knows them before."""
    for arguments in executes_of(data["timeline"]):
        if arguments.get("via") in ("kafka", "message"):
            workflow = arguments.get("workflow")
            if workflow is None and len(data.get("workflows", {})) == 1:
                (workflow,) = data["workflows"]
            count = arguments.get("count")
            if count is None:
                yield arguments["as"], Run(workflow)
            elif isinstance(count, int):
                yield from ((f"{arguments['as']}-{number}", Run(workflow)) for number in range(1, count + 1))


def _bound_in(data: Mapping[str, Any]) -> Iterator[str]:
    for part in (data["timeline"], data.get("expect", {})):
        yield from (name for _, name in bound_names(part))

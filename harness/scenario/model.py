"""A scenario in memory: what its file says, with includes merged, one variant chosen and parameters filled in.

Draws and bound values are still open: they are filled in while it runs (see `harness.scenario.templates`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Mode = Literal["eventually", "finally", "always", "never"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file; line and column from 1."""

    path: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Agent:
    """A scripted agent: `script` holds its entries as in the file (docs/harness.md), `per` what an entry counts.

    `registered` is false for one of which the subject is to have no record; `status` and `url` (None: the scripted agent's
    own) are those of its record.
    """

    name: str
    script: tuple[Mapping[str, Any], ...]
    per: Literal["agent", "task"] = "agent"
    timeout_ms: int | None = None
    retry_config: Mapping[str, Any] | None = None
    auth: Mapping[str, Any] | None = None
    registered: bool = True
    status: Literal["active", "inactive"] = "active"
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """One entry of the timeline: `when` (a condition, or None), then `word` with its arguments in the long form.

    Defaults are filled in where docs/scenario-format.md gives them. The arguments of `wait` are its condition; those of
    `all` are `{"acts": (Act, ...)}`.
    """

    word: str
    arguments: Mapping[str, Any]
    when: Mapping[str, Any] | None
    place: Place


@dataclass(frozen=True, slots=True)
class Expectation:
    """One entry of `expect`; `what` is a condition as in the file."""

    mode: Mode
    what: Mapping[str, Any]
    place: Place


@dataclass(frozen=True, slots=True)
class Needs:
    """What a subject must claim for the scenario to say anything about it."""

    roles: frozenset[str]
    step_types: frozenset[str]
    extensions: frozenset[str]
    own_roles: frozenset[str] = field(default=frozenset(), compare=False)
    """Those of the roles that nobody can play in the subject's place: named by the file, or touched by an act."""

    speaks_rest: bool = field(default=True, compare=False)
    """Whether an API that is there would be spoken to."""


@dataclass(frozen=True)
class Scenario:
    """One scenario. `id` is `<area>/<name>` or `<area>/<name>[<variant>]`; workflows are definitions without a name."""

    id: str
    path: Path
    guarantee: str
    clauses: tuple[str, ...]
    needs: Needs
    alone: bool
    deadline_seconds: float
    workflows: Mapping[str, Mapping[str, Any]]
    agents: Mapping[str, Agent]
    timeline: tuple[Act, ...]
    expectations: tuple[Expectation, ...]
    draws: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    examples: int = 1
    parameters: Mapping[str, Any] = field(default_factory=dict)

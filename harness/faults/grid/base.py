"""The workflow that a grid is made of: a scenario file without faults, and the trials that are made of it."""

from __future__ import annotations

import copy
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from harness.faults.points import MAY_FAIL_THE_RUN, Fault
from harness.scenario import Scenario, load

READY_MADE: Final = Path(__file__).parents[1] / "workflows"
_SECTIONS: Final = ("workflows", "agents", "timeline", "expect")
_WIDTH: Final = 140
_NOT_TAKEN: Final = ("include", "variants", "draws", "examples")


class UnusableWorkflow(ValueError):
    """A file that no grid can be made of; says why."""


@dataclass(frozen=True)
class Base:
    """A scenario file as data, and what it is called."""

    name: str
    data: Mapping[str, Any]

    @classmethod
    def find(cls, word: str) -> Base:
        """A ready-made workflow by its name, or a scenario file by its path.

        Raises:
            UnusableWorkflow: there is no such thing, or it has parts that a grid cannot deal with.
            MistakesFound: the file is no scenario.
        """
        path = READY_MADE / f"{word}.yaml"
        if not path.exists():
            path = Path(word)
        if not path.is_file():
            known = ", ".join(ready_made())
            raise UnusableWorkflow(f"expected one of {known}, or a scenario file, found {word!r}")
        load(path)
        data = YAML(typ="safe").load(path)
        if found := [name for name in _NOT_TAKEN if name in data]:
            raise UnusableWorkflow(f"{path}: expected a scenario without {', '.join(found)}; write it out")
        if any("fault" in entry for entry in data["timeline"]):
            raise UnusableWorkflow(f"{path}: expected a scenario without faults: they are what the grid adds")
        return cls(path.stem, data)

    def trial(self, fault: Fault | None) -> dict[str, Any]:
        """The scenario with a fault armed before its first act."""
        data: dict[str, Any] = copy.deepcopy(dict(self.data))
        data["alone"] = True
        if fault is None:
            return data
        data["timeline"] = [{"fault": fault.written()}, *data["timeline"]]
        data["guarantee"] = (
            f"{str(data['guarantee']).partition(', whatever')[0].rstrip('.')}, whatever happens: {fault}."
        )
        if any(one.do in MAY_FAIL_THE_RUN for one in fault.all()):
            data["expect"] = {"eventually": [_ended(one) for one in data["expect"]["eventually"]]}
        return data


def ready_made() -> list[str]:
    """The names of the workflows that come along."""
    return sorted(path.stem for path in READY_MADE.glob("*.yaml"))


def write(data: Mapping[str, Any], path: Path) -> Scenario:
    """Write a scenario as a file and read it from there. Raises MistakesFound, OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(data), encoding="utf-8")
    (scenario,) = load(path)
    return scenario


def text(data: Mapping[str, Any]) -> str:
    """A scenario as a person would write it: what is short stands on one line."""
    yaml = YAML()
    yaml.width = 100_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.ignore_aliases = lambda _: True
    stream = io.StringIO()
    yaml.dump(_styled(data, 0), stream)
    return stream.getvalue()


def file_name(words: str) -> str:
    """Words as the name of a file."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", words).strip("_")


def _styled(value: Any, depth: int, place: str = "") -> Any:
    """The value in ruamel's own types: what fits on a line is on one, below the sections of the file."""
    made: Any
    if isinstance(value, Mapping):
        made = CommentedMap({str(name): _styled(one, depth + 1, str(name)) for name, one in value.items()})
    elif isinstance(value, list | tuple):
        made = CommentedSeq([_styled(one, depth + 1) for one in value])
    else:
        return value
    is_section = depth == 0 or (depth == 1 and place in _SECTIONS)
    if not is_section and len(json.dumps(value)) + 2 * depth <= _WIDTH:
        made.fa.set_flow_style()
    return made


def _ended(condition: Mapping[str, Any]) -> Mapping[str, Any]:
    """The condition, or that its run has failed: what is refused for good need not succeed."""
    if "run" in condition and "is" in condition and "step" not in condition:
        return {"any": [condition, {"run": condition["run"], "is": "FAILED"}]}
    return condition

"""Scenario files as scenarios: found, read, checked and expanded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.document import Mistake, MistakesFound, did_you_mean
from harness.places import SCENARIOS_DIRECTORY
from harness.scenario import templates
from harness.scenario.acts import acts_of, expectations_of
from harness.scenario.checking import mistakes_of
from harness.scenario.model import Agent, Scenario
from harness.scenario.needs import is_alone, needs_of
from harness.scenario.parts import COMMON, Parts, read_parts, schema

_SUFFIXES = (".yaml", ".yml")
_DEFAULT_DEADLINE_SECONDS = 20
_DEFAULT_EXAMPLES = 10


def discover(paths: Iterable[Path]) -> list[Path]:
    """The scenario files among the given files and below the given folders, each once, in the order of their names.

    Below a folder, files in folders called `common` are parts to be included, and no scenarios. A file that is named
    itself is one whatever it is called.

    Raises:
        FileNotFoundError: a path does not exist.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_file():
            found.setdefault(path.resolve(), path)
        elif path.is_dir():
            for file in sorted(path.rglob("*")):
                inner = file.relative_to(path).parts[:-1]
                if file.suffix in _SUFFIXES and file.is_file() and COMMON not in inner and not _hidden(inner):
                    found.setdefault(file.resolve(), file)
        else:
            raise FileNotFoundError(f"there is no scenario file or folder {path}")
    return list(found.values())


def load(path: Path) -> list[Scenario]:
    """The scenarios of a file: one for each of its variants, or just one.

    Raises:
        MistakesFound: a line with file, line and column for each mistake, in this file or those that it includes.
    """
    parts = read_parts(path)
    variants: Mapping[str, Mapping[str, Any]] = parts.data.get("variants", {})
    told: dict[Mistake, list[str]] = {}
    scenarios = []
    for variant, given in (variants or {"": {}}).items():
        filled, mistakes = _fill(parts, variant, given)
        mistakes = mistakes or mistakes_of(filled)
        for mistake in set(mistakes):
            told.setdefault(mistake, []).append(variant)
        if not mistakes:
            scenarios.append(_scenario(filled, variant))
    if told:
        raise MistakesFound(_told(told, len(variants)))
    return scenarios


def scenario_id(path: Path) -> str:
    """`<area>/<name>`: the path below the nearest folder called `scenarios`, without its suffix."""
    names = path.resolve().with_suffix("").parts
    if SCENARIOS_DIRECTORY.name in names[:-1]:
        last = len(names) - 1 - names[::-1].index(SCENARIOS_DIRECTORY.name)
        if last < len(names) - 1:
            return "/".join(names[last + 1 :])
    return "/".join(names[-2:])


def _hidden(folders: Iterable[str]) -> bool:
    return any(name.startswith(".") for name in folders)


def _told(told: Mapping[Mistake, list[str]], variants: int) -> Iterable[Mistake]:
    """A mistake that is not in all variants says in which it is."""
    for mistake, among in told.items():
        if len(among) == max(variants, 1):
            yield mistake
        else:
            which = ", ".join(f"'{name}'" for name in among)
            message = f"{mistake.message} (in variant {which})"
            yield Mistake(mistake.path, mistake.line, mistake.column, message)


def _fill(parts: Parts, variant: str, given: Mapping[str, Any]) -> tuple[Parts, list[Mistake]]:
    """The parts with the parameters of one variant filled in, held to the schema again."""
    declared: Mapping[str, Any] = parts.data.get("parameters", {})
    everywhere = set.intersection(*map(set, parts.data["variants"].values())) if variant else set()
    unknown = [name for name in given if name not in declared and name not in everywhere]
    if unknown:
        return parts, [
            parts.mistake(
                ("variants", variant, name),
                f"expected one of the parameters {', '.join(declared) or '(there are none)'}, found '{name}'"
                f"{did_you_mean(name, declared)} (or give it in every variant)",
                at_key=True,
            )
            for name in unknown
        ]
    values, mistakes = _parameters(parts, {**declared, **given}, variant if given else "")
    data = {**parts.data, "parameters": values}
    for name in data.keys() - {"include", "variants", "parameters"}:
        if name not in data or mistakes:
            continue
        try:
            data[name] = templates.fill_known(data[name], values)
        except ValueError as error:
            mistakes.append(parts.mistake((name,), str(error)))
    filled = parts.with_data(data)
    if not mistakes:
        mistakes = filled.mistakes_by(schema())
    return filled, mistakes


def _parameters(parts: Parts, values: dict[str, Any], variant: str) -> tuple[dict[str, Any], list[Mistake]]:
    """Parameters may use each other, in no circle."""
    for _ in range(len(values) + 1):
        open_names = {
            name for name, value in values.items() if any(used in values for _, used in templates.names(value))
        }
        if not open_names:
            return values, []
        closed = {name: value for name, value in values.items() if name not in open_names}
        values = {
            name: templates.fill_known(value, closed) if name in open_names else value for name, value in values.items()
        }
    circle = sorted(name for name, value in values.items() if any(used in values for _, used in templates.names(value)))
    place = ("variants", variant, circle[0]) if variant else ("parameters", circle[0])
    return values, [parts.mistake(place, f"the parameters {', '.join(circle)} use each other in a circle")]


def _scenario(parts: Parts, variant: str) -> Scenario:
    data = parts.data
    workflows = {
        name: {key: value for key, value in definition.items() if key != "invalid"}
        for name, definition in data.get("workflows", {}).items()
    }
    timeline = acts_of(parts)
    return Scenario(
        id=f"{scenario_id(parts.own.path)}{f'[{variant}]' if variant else ''}",
        path=parts.own.path,
        guarantee=data["guarantee"],
        clauses=tuple(data["clauses"]),
        needs=needs_of(data),
        alone=data.get("alone", is_alone(data)),
        deadline_seconds=float(data.get("deadline_seconds", _DEFAULT_DEADLINE_SECONDS)),
        workflows=MappingProxyType(workflows),
        agents=MappingProxyType({name: _agent(name, written) for name, written in data.get("agents", {}).items()}),
        timeline=timeline,
        expectations=expectations_of(parts),
        draws=MappingProxyType({name: _long_strategy(draw) for name, draw in data.get("draws", {}).items()}),
        examples=data.get("examples", _DEFAULT_EXAMPLES) if data.get("draws") else 1,
        parameters=MappingProxyType(data.get("parameters", {})),
    )


def _agent(name: str, written: Any) -> Agent:
    long = written if isinstance(written, dict) else {"script": written}
    return Agent(
        name=name,
        script=tuple(long["script"]),
        per=long.get("per", "agent"),
        timeout_ms=long.get("timeout_ms"),
        retry_config=long.get("retry_config"),
        auth=long.get("auth"),
        registered=long.get("registered", True),
        status=long.get("status", "active"),
        url=long.get("url"),
    )


def _long_strategy(draw: Any) -> Mapping[str, Any]:
    return {draw: {}} if isinstance(draw, str) else draw

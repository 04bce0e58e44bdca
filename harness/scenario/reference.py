"""The reference of the scenario format, made from its schema, so that the two cannot drift apart."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from harness.scenario.parts import SCHEMA_PATH, schema

REFERENCE_PATH: Final = SCHEMA_PATH.parents[1] / "docs" / "scenario-format.md"
"""Where the reference is kept."""

_TYPES: Final = {
    "object": "mapping",
    "array": "list",
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true, false",
    "null": "null",
}


def reference() -> str:
    """The reference as Markdown."""
    lines = [
        "# The scenario format",
        "",
        "<!-- Made by `python -m harness.scenario reference` from scenarios/scenario.schema.json; change it there. -->",
        "",
        "One file for one behaviour, in YAML 1.2, under `scenarios/<area>/<name>.yaml`. What the parts mean together is told in",
        "[The harness](harness.md#scenario-files), how to write one in [A scenario in five minutes](authoring.md).",
        "Begin a file with `# yaml-language-server: $schema=../scenario.schema.json`, and an editor knows all of this.",
        "",
        "**Names.** " + _plain(schema()["description"]),
        "",
        "## The file",
        "",
        *_table(schema()),
        "",
        "### Expectations",
        "",
        *_table(schema()["properties"]["expect"]),
        "",
        "### What a subject must claim",
        "",
        *_table(schema()["properties"]["needs"]),
        "",
        "### Workflows",
        "",
        _plain(_definition("workflow")["description"]) + " See the contract's format of workflows.",
        "",
        *_table(_definition("workflow")),
        "",
        *_agents(),
        "",
        *_acts(),
        "",
        *_conditions(),
        "",
        *_matchers(),
        "",
        *_strategies(),
    ]
    return "\n".join(lines) + "\n"


def _definition(name: str) -> dict[str, Any]:
    found: dict[str, Any] = schema()["$defs"][name]
    return found


def _agents() -> Iterator[str]:
    yield from ("## Agents", "", "A list is a script: " + _lower(_definition("script")["description"]))
    yield from ("", "### Entries of a script", "", *_table(_definition("script_entry")))
    yield from ("", "### Agents with more than a script", "", *_table(_definition("agent")))


def _acts() -> Iterator[str]:
    act = _definition("act")
    yield from ("## Acts", "", f"{act['description']} Beside the act may stand `when`: {_plain(_about(act, 'when'))}")
    for word, written in act["properties"].items():
        if word == "when":
            continue
        yield from ("", f"### `{word}`", "", _plain(written.get("description") or _resolved(written)["description"]))
        for form in _forms(written):
            if "properties" in form and form is not _definition("condition"):
                yield from ("", *_table(form))
        texts = [form for form in _forms(written) if "enum" in form]
        if texts:
            yield from ("", f"As a text: {_type(texts[0])}.")
        yield from _examples(word, written.get("examples", ()))


def _conditions() -> Iterator[str]:
    yield from ("## Conditions", "", "What `when` and `wait` wait for, and what `expect` lists. " + _about_conditions())
    for name, title in _CONDITIONS.items():
        condition = _definition(f"{name}_condition")
        yield from ("", f"### {title}", "", _plain(condition["description"]), "", *_table(condition))
        for key in ("message", "update", "rest"):
            inner = condition["properties"].get(key, {})
            if "properties" in inner:
                yield from ("", f"In `{key}`:", "", *_table(inner))
        yield from _examples(None, condition.get("examples", ()))
    yield from (
        "",
        "### Counts",
        "",
        *_table(next(form for form in _definition("count")["anyOf"] if "properties" in form)),
    )
    yield from _examples("count", _definition("count")["examples"])


_CONDITIONS: Final = {
    "run": "A run",
    "step": "A step",
    "agent": "An agent",
    "message": "Messages",
    "update": "Monitoring updates",
    "rest": "Answers of the API",
    "table": "Tables",
    "ready": "Readiness",
    "all": "All",
    "any": "Any",
    "not": "Not",
}


def _about_conditions() -> str:
    return "All that one names must hold; at least one thing must be asked."


def _matchers() -> Iterator[str]:
    yield from ("## Matchers", "", _plain(_definition("matcher")["description"]))
    yield from ("", _plain(_definition("matcher_word")["description"]), "", *_table(_definition("matcher_word")))
    yield from _examples("output", _definition("matcher")["examples"])


def _strategies() -> Iterator[str]:
    strategy = next(form for form in _definition("strategy")["anyOf"] if "properties" in form)
    yield from ("## Draws", "", _plain(_definition("strategy")["description"]))
    yield from ("", "| strategy | gives | arguments |", "| --- | --- | --- |")
    for name, written in strategy["properties"].items():
        arguments = ", ".join(
            f"`{key}` ({_type(value)})" for key, value in written.get("properties", {}).items()
        ) or _argument(written)
        yield f"| `{name}` | {_cell(written['description'])} | {arguments} |"
    yield from _examples(None, [{"draws": {"few": {"integers": {"min_value": 0, "max_value": 9}}, "anything": "json"}}])


def _argument(written: Mapping[str, Any]) -> str:
    return "" if written.get("additionalProperties") is False else f"itself {_type(written)}"


def _table(written: Mapping[str, Any]) -> Iterator[str]:
    """The keys of an object."""
    required = written.get("required", ())
    yield "| key | what | value |"
    yield "| --- | --- | --- |"
    for key, value in written["properties"].items():
        told = value.get("description") or _resolved(value).get("description", "")
        default = value.get("default", _resolved(value).get("default"))
        more = " Required." if key in required else ""
        more += f" Default: {_inline(default)}." if default is not None else ""
        yield f"| `{key}` | {_cell(told)}{more} | {_type(value)} |"


def _about(written: Mapping[str, Any], key: str) -> str:
    told: str = written["properties"][key]["description"]
    return told


def _type(value: Mapping[str, Any]) -> str:
    """What kind of value, in a few words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return _LINKS.get(name) or _type(_definition(name))
    if "anyOf" in value:
        # A template can stand anywhere; saying so in each line would only be noise.
        kinds = [_type(form) for form in value["anyOf"] if form.get("$ref") != "#/$defs/template"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in value:
        return ", ".join(f"`{word}`" for word in value["enum"])
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if value.get("properties") and value.get("additionalProperties") is False:
        return f"mapping of {', '.join(f'`{key}`' for key in value['properties'])}"
    kinds = value.get("type", "any")
    kind = " or ".join(_TYPES.get(name, name) for name in ([kinds] if isinstance(kinds, str) else kinds))
    inner = value.get("items", value.get("additionalProperties"))
    if isinstance(inner, Mapping) and inner and kind in ("list", "mapping"):
        of = _type(inner)
        return kind if of == "any" else f"{kind} of {of}{'s' if of in _TYPES.values() else ''}"
    return kind


_LINKS: Final = {
    "condition": "[condition](#conditions)",
    "matcher": "[matcher](#matchers)",
    "count": "[count](#counts)",
    "act": "[act](#acts)",
    "script_entry": "[entry](#entries-of-a-script)",
    "script": "[script](#entries-of-a-script)",
    "agent": "[agent](#agents-with-more-than-a-script)",
    "workflow": "[workflow](#workflows)",
    "strategy": "[strategy](#draws)",
    "name": "name",
    "seconds": "seconds",
    "size": "whole number",
}


def _forms(value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The alternatives of a value, resolved."""
    for form in value.get("anyOf", [value]):
        yield _resolved(form)


def _resolved(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return _definition(value["$ref"].rpartition("/")[2]) if "$ref" in value else value


def _examples(key: str | None, examples: Sequence[Any]) -> Iterator[str]:
    if examples:
        yield from ("", "```yaml")
        for example in examples:
            yield _yaml(example if key is None else {key: example})
        yield "```"


def _yaml(value: Any) -> str:
    """One example on one line, as people write it; a mapping of one key in block style at its head."""
    yaml = YAML(typ="rt", pure=True)
    yaml.default_flow_style, yaml.width = True, 10_000
    if isinstance(value, dict) and len(value) == 1:
        ((key, inner),) = value.items()
        return f"- {key}: {_flow(yaml, inner)}"
    return f"- {_flow(yaml, value)}"


def _flow(yaml: YAML, value: Any) -> str:
    written = io.StringIO()
    yaml.dump(value, written)
    return written.getvalue().removesuffix("...\n").strip()


def _inline(value: Any) -> str:
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    return " ".join(text.split())


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def write_reference(path: Path = REFERENCE_PATH) -> None:
    """Write the reference to its place."""
    path.write_text(reference(), encoding="utf-8")

"""What docs/API_DOCUMENTATION.md says of each operation and each object, taken from contract/openapi.yaml.

`python -m tests.docs.operations` writes those parts of the page anew, between `<!-- from openapi.yaml: NAME -->` and
`<!-- end -->`; a test holds the page to them. What stands around them, the examples above all, is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import contract
from tests.docs.answers import operations, parameters, resolved
from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "API_DOCUMENTATION.md"
OBJECTS = (
    "Workflow", "WorkflowVersion", "RunAccepted", "Run", "Step", "LogEntry", "AgentRecord", "Agent", "RetryConfig",
    "AgentHealth", "ExecuteBody", "CancelBody", "RetryBody", "PageEnvelope", "ListEnvelope", "Problem", "Health",
    "Readiness",
)  # fmt: skip
# What openapi.yaml leaves to the name of a member, in words. "Object.member" goes before "member".
_WORDS = {
    "id": "Its id, a UUID.",
    "Step.id": "The row's id.",
    "name": "Unique among active ones.",
    "description": "For people.",
    "version": "Counted from 1.",
    "start_step": "The id of the step that runs first.",
    "steps": "The steps by their ids.",
    "status": "The present status.",
    "RunAccepted.status": "Always that of a run that waits to be taken up.",
    "Problem.status": "The HTTP status.",
    "AgentHealth.status": "What was found.",
    "AgentRecord.status": "Tasks for an inactive agent fail.",
    "Health.status": "That it serves.",
    "Readiness.status": "That it serves.",
    "created_at": "When it was made.",
    "updated_at": "When it was changed last.",
    "created_by": "Who made it (`X-User`).",
    "updated_by": "Who changed it last (`X-User`).",
    "run_id": "The run.",
    "workflow_id": "wf-&lt;name>-&lt;version>.",
    "workflow_name": "The definition's name.",
    "workflow_definition_id": "The definition's id, a UUID.",
    "Run.input_data": "The run's input.",
    "Step.input_data": "The resolved `input_mapping`.",
    "output_data": "The step's output; null before its end, and after a failure.",
    "error_message": "Why it FAILED.",
    "triggered_by": "Who started it (`X-User`).",
    "cancelled_at": "When it was cancelled.",
    "cancelled_by": "Who cancelled it (`X-User`).",
    "step_id": "The step's id in the definition.",
    "LogEntry.step_id": "The step that it is about; null for the run itself.",
    "step_name": "The step's name, or its id.",
    "started_at": "When it began.",
    "completed_at": "When it ended.",
    "parent_step_id": "The composite step that it runs in; null at the top.",
    "branch_name": "The branch of the nearest fork_join.",
    "join_policy": "The policy, on the row of a fork_join itself.",
    "timestamp": "When it happened.",
    "details": "What else is known.",
    "auth_type": "How calls are authenticated.",
    "retry_config": "How calls are repeated.",
    "url": "Where the bridge POSTs its calls.",
    "timeout_ms": "How long one call may take.",
    "latency_ms": "How long the agent took to answer; null when it did not.",
    "checked_at": "When it was asked.",
    "reason": "Why, for people.",
    "items": "What was asked for.",
    "page": "The page's number, from 1.",
    "page_size": "The most items that a page has.",
    "total_pages": "How many pages there are.",
    "type": "A URI of the kind of problem.",
    "instance": "The request that it is about.",
}
_PART = re.compile(r"(<!-- from openapi\.yaml: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def heading(method: str, path: str) -> str:
    """The heading under which an operation stands."""
    return f"### `{method} {path}`"


def told(name: str) -> str:
    """The part of this name: an operationId, or an object.

    Raises:
        LookupError: openapi.yaml has neither.
    """
    for (method, path), operation in operations().items():
        if operation["operationId"] == name:
            return "\n".join(_operation(method, path, operation)) + "\n"
    if name in contract.openapi()["components"]["schemas"]:
        return "\n".join(_object(name, contract.openapi()["components"]["schemas"][name])) + "\n"
    raise LookupError(f"openapi.yaml has no operation or schema {name!r}")


def parts(text: str) -> dict[str, str]:
    """Name → part, as a page has them."""
    return {match[2]: match[3] for match in _PART.finditer(text)}


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield _sentence(operation["summary"]) + (f" {operation['description']}" if "description" in operation else "")
    known = parameters(path, method)
    if known:
        yield from ("", "| parameter | in | what |", "| --- | --- | --- |")
    for one in known:
        yield f"| `{one['name']}` | {one['in']} | {_cell(one['description'])}{_bounds(resolved(one['schema']))} |"
    yield from ("", "| status | when |", "| --- | --- |")
    for status, response in operation["responses"].items():
        yield f"| {status} | {_cell(resolved(response)['description'])} |"


def _object(of: str, schema: dict[str, Any]) -> Iterator[str]:
    if "description" in schema:
        yield from (schema["description"], "")
    yield from ("| member | type | what |", "| --- | --- | --- |")
    for one in _flattened(schema):
        needed = set(one.get("required", ()))
        for name, member in one.get("properties", {}).items():
            whole = {**resolved(member), **member}
            if "$ref" not in member:
                whole.pop("enum", None)
            star = "" if name in needed else "?"
            told_there = _cell(whole.get("description", ""))
            what = f"{told_there or _WORDS.get(f'{of}.{name}') or _WORDS[name]}{_bounds(whole)}".strip()
            yield f"| `{name}`{star} | {_type(member)} | {what} |"


def _flattened(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for one in (resolved(schema), *map(resolved, schema.get("allOf", ()))):
        if "properties" in one:
            yield one


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "enum" in schema:
        return ", ".join(f"`{value}`" if value is not None else "null" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(dict.fromkeys(map(_type, schema[word])))
    kind = schema.get("type", "any")
    kinds = [kind] if isinstance(kind, str) else kind
    return " or ".join("text" if one == "string" else "list" if one == "array" else one for one in kinds)


def _bounds(schema: dict[str, Any]) -> str:
    words = []
    if "enum" in schema and "description" not in schema:
        words.append("one of " + ", ".join(f"`{value}`" for value in schema["enum"] if value is not None))
    if "minimum" in schema and "maximum" in schema:
        words.append(f"from {schema['minimum']} to {schema['maximum']}")
    elif "minimum" in schema:
        words.append(f"{schema['minimum']} at least")
    if "maxLength" in schema:
        words.append(f"{schema['maxLength']} characters at most")
    if "default" in schema:
        words.append(f"default `{schema['default']}`")
    return f" ({'; '.join(words)})" if words else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def main() -> None:
    """Write the parts of the page anew."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_PART.sub(lambda match: f"{match[1]}{told(match[2])}{match[4]}", text), encoding="utf-8")


if __name__ == "__main__":
    main()

"""From JSON to a Definition: the contract's schema first, then what only the engine can check."""

from __future__ import annotations

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

import contract
from system.engine.definition import Definition, InvalidDefinition, Problem
from system.engine.loading import load
from system.engine.references import escape_pointer
from system.engine.values import quoted

__all__ = ["Definition", "InvalidDefinition", "Problem", "load_definition", "load_plan"]

_MAX_PROBLEMS = 50


@cache
def validator(schema_name: str) -> Draft202012Validator:
    """The validator of one of the contract's schemas, made once; formats are checked."""
    return Draft202012Validator(contract.schema(schema_name), format_checker=Draft202012Validator.FORMAT_CHECKER)


def load_definition(data: object) -> Definition:
    """A definition as it is created over REST.

    Raises:
        InvalidDefinition: with every problem found, each with a JSON pointer.
    """
    return _load(data, "workflow")


def load_plan(data: object) -> Definition:
    """A plan as an execution request carries it.

    Raises:
        InvalidDefinition: as for `load_definition`.
    """
    return _load(data, "workflow_plan")


def _load(data: object, schema_name: str) -> Definition:
    problems = schema_problems(data, schema_name)
    if problems:
        raise InvalidDefinition(problems)
    assert isinstance(data, dict)
    return load(data)


def schema_problems(data: object, schema_name: str) -> list[Problem]:
    """What of `data` does not fit the schema, in the order of the document; at most 50 problems."""
    found: list[Problem] = []
    try:
        for error in validator(schema_name).iter_errors(data):
            found.append(_problem(error))
            if len(found) == _MAX_PROBLEMS:
                break
    except RecursionError:
        return [Problem("", "the document is nested too deeply to be checked")]
    return sorted(found, key=lambda problem: problem.pointer)


def _problem(error: ValidationError) -> Problem:
    deepest = error if _is_branchless(error) else best_match([error]) or error
    where = list(deepest.absolute_path)
    pointer = "".join(f"/{escape_pointer(str(part))}" for part in where)
    # A pointer escapes an id; the message holds it as it is written.
    subject = f"step {quoted(where[1])}: " if where[:1] == ["steps"] and len(where) > 1 else ""
    return Problem(pointer, subject + _short(_worded(deepest)), _allowed(deepest))


def _worded(error: ValidationError) -> str:
    if _is_branchless(error):
        return "a conditional names an if_true_step, an if_false_step, or both; found neither"
    if "propertyNames" in error.schema_path:
        return f"a name here has 1 to 200 characters, found {len(str(error.instance))}"
    return error.message


def _is_branchless(error: ValidationError) -> bool:
    """Whether this is the schema's word for a conditional without either branch."""
    return error.validator == "anyOf" and "if_true_step" in str(error.validator_value)


def _short(message: str) -> str:
    return message if len(message) <= 300 else f"{message[:200]} … {message[-80:]}"


def _allowed(error: ValidationError) -> str | None:
    value: Any = error.validator_value
    if error.validator == "enum":
        return f"one of {', '.join(map(repr, value))}"
    if error.validator == "type":
        return f"a value of type {value if isinstance(value, str) else ' or '.join(value)}"
    return None

"""Whether values fit the contract's schemas: asked of every message of every history, so by a compiled validator."""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator

import contract


@cache
def _compiled(name: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(contract.schema(name))


@cache
def _in_words(name: str) -> Draft202012Validator:
    return Draft202012Validator(contract.schema(name))


def fits(name: str, value: Any) -> bool:
    """Whether a value is valid against the contract's schema of that name; formats are not looked at."""
    try:
        return _compiled(name).is_valid(value)
    except (TypeError, ValueError):
        # What is no JSON in the strict sense, such as a key that is no text or half a surrogate pair, is harder to look at.
        return _in_words(name).is_valid(value)


def first_mistake(name: str, value: Any) -> str | None:
    """What is wrong with a value, in words; None when nothing is."""
    error = next(iter(_in_words(name).iter_errors(value)), None)
    return None if error is None else error.message

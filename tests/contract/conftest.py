"""What the tests of the schemas share: validators, and where in an instance they find something wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import contract


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(contract.schema(name), format_checker=Draft202012Validator.FORMAT_CHECKER)


@pytest.fixture(scope="session")
def validator() -> Callable[[str], Draft202012Validator]:
    """The validator of the schema with a name, formats included."""
    return _validator


@pytest.fixture(scope="session")
def places() -> Callable[[str, Any], set[str]]:
    """JSON pointers of everything that the schema with a name finds wrong in an instance, within anyOf too."""

    def found_by(name: str, instance: Any) -> set[str]:
        found = set()
        waiting = list(_validator(name).iter_errors(instance))
        while waiting:
            error = waiting.pop()
            waiting.extend(error.context or ())
            found.add("".join(f"/{part}" for part in error.absolute_path))
        return found

    return found_by

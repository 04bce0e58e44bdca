"""The engine is pure: nothing in it reads a clock, draws a number or touches the world."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import system.engine

SOURCES = sorted(Path(system.engine.__path__[0]).glob("**/*.py"))

ALLOWED = {"__future__", "collections", "dataclasses", "datetime", "difflib", "json", "re", "types", "typing", "uuid"}

# Of the allowed modules and of the language, what would not be pure.
IMPURE_ATTRIBUTES = {"now", "utcnow", "today", "uuid1", "uuid4", "getnode", "fromtimestamp", "load", "dump"}
IMPURE_NAMES = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint", "globals", "id", "hash"}


def _imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_engine_imports_itself_and_pure_parts_of_the_standard_library(source: Path) -> None:
    for module in _imports(ast.parse(source.read_text())):
        assert module.startswith("system.engine.") or module == "system.engine" or module.split(".")[0] in ALLOWED


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_engine_calls_nothing_that_is_not_pure(source: Path) -> None:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                assert node.func.id not in IMPURE_NAMES
            elif isinstance(node.func, ast.Attribute):
                # `progress.now` is a value that was given; a call of `now` would read a clock.
                assert node.func.attr not in IMPURE_ATTRIBUTES


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 10
    assert sys.stdlib_module_names >= ALLOWED

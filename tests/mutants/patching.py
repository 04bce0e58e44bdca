"""Replacing one thing of the reference in memory, and being sure that it was there.

A patch names its target by module and dotted name. It is refused, loudly, when the target or the text to be replaced in
it is not there, or when what comes out is what was there: a mutant that is silently the reference would prove nothing.
"""

from __future__ import annotations
import __future__

import ast
import functools
import importlib
import inspect
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import TextClause, text

_TEXT = "_text_of_the_mutant"


class PatchError(Exception):
    """The target of a patch is not as the patch expects; says what was expected where, and what to do."""


@dataclass(frozen=True, slots=True)
class Change:
    """An attribute that was replaced."""

    owner: Any
    name: str
    old: Any
    new: Any

    def undo(self) -> None:
        """Put back what was there."""
        setattr(self.owner, self.name, self.old)


class Patch(Protocol):
    """One replacement. `apply` raises PatchError when it cannot be made."""

    def apply(self) -> list[Change]: ...


@dataclass(frozen=True, slots=True)
class Edit:
    """The function at `target` (`package.module:dotted.name`) with one piece of its source text replaced.

    `old` must stand in it exactly once, as it is written there but for the indentation of the function itself.
    """

    target: str
    old: str
    new: str

    def apply(self) -> list[Change]:
        owner, name, found = _find(self.target)
        function = found.fget if isinstance(found, property) else found
        if not inspect.isfunction(function):
            raise PatchError(f"{self.target}: expected a function, found {type(found).__name__}")
        # A function that an earlier patch has edited has no file that holds its text.
        source = getattr(function, _TEXT, None) or textwrap.dedent(inspect.getsource(function))
        _expect_once(self.target, source, self.old)
        edited = _compiled(function, source.replace(self.old, self.new), name)
        return _replace(owner, name, found, edited)


@dataclass(frozen=True, slots=True)
class Sql:
    """The SQL text at `target` with one piece of it replaced."""

    target: str
    old: str
    new: str

    def apply(self) -> list[Change]:
        owner, name, found = _find(self.target)
        if not isinstance(found, TextClause):
            raise PatchError(f"{self.target}: expected an SQL text, found {type(found).__name__}")
        _expect_once(self.target, found.text, self.old)
        return _replace(owner, name, found, text(found.text.replace(self.old, self.new)))


@dataclass(frozen=True, slots=True)
class Wrap:
    """The function at `target` replaced by what `make` gives for it. Both take the same arguments."""

    target: str
    make: Callable[[Callable[..., Any]], Callable[..., Any]]

    def apply(self) -> list[Change]:
        owner, name, found = _find(self.target)
        if not inspect.isfunction(found):
            raise PatchError(f"{self.target}: expected a function, found {type(found).__name__}")
        made = self.make(found)
        if made is found:
            raise PatchError(f"{self.target} would be replaced by itself")
        if not _takes(made, found):
            raise PatchError(
                f"{self.target}: its parameters are {inspect.signature(found)}, and its replacement takes "
                f"{inspect.signature(made)}; bring the mutant up to date"
            )
        return _replace(owner, name, found, functools.wraps(found)(made))


@contextmanager
def applied(patches: tuple[Patch, ...]) -> Iterator[list[Change]]:
    """Make replacements for the length of a block."""
    changes: list[Change] = []
    try:
        for patch in patches:
            changes += patch.apply()
        yield changes
    finally:
        for change in reversed(changes):
            change.undo()


def _find(target: str) -> tuple[Any, str, Any]:
    """(owner, name, value) of a target; the value as it stands in its owner, not as an instance would see it."""
    module_name, _, dotted = target.partition(":")
    *way, name = dotted.split(".")
    try:
        owner: Any = importlib.import_module(module_name)
        for part in way:
            owner = vars(owner)[part]
        return owner, name, vars(owner)[name]
    except (ImportError, KeyError) as error:
        raise PatchError(
            f"{target}: there is no such thing any more ({error}); point the mutant to where it is now"
        ) from error


def _expect_once(target: str, source: str, old: str) -> None:
    count = source.count(old)
    if count != 1:
        raise PatchError(
            f"{target}: expected this text exactly once, found it {count} times; bring the mutant up to date:\n"
            f"{textwrap.indent(old, '    ')}\nin\n{textwrap.indent(source, '    ')}"
        )


def _compiled(function: types.FunctionType, source: str, name: str) -> Any:
    tree = ast.parse(source)
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
    flags = __future__.annotations.compiler_flag
    code = compile(tree, function.__code__.co_filename, "exec", flags=flags, dont_inherit=True)
    made: dict[str, Any] = {}
    exec(code, function.__globals__, made)  # the text is the reference's own, changed by this file's neighbours
    edited = made[name]
    setattr(edited.fget if isinstance(edited, property) else edited, _TEXT, source)
    return edited


def _takes(made: Callable[..., Any], found: Callable[..., Any]) -> bool:
    given = inspect.signature(made).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in given):
        return True
    return [parameter.kind for parameter in given] == [
        parameter.kind for parameter in inspect.signature(found).parameters.values()
    ]


def _replace(owner: Any, name: str, old: Any, new: Any) -> list[Change]:
    """Set the attribute, and whatever else in the system is the same object by an import."""
    changes = [Change(owner, name, old, new)]
    if isinstance(owner, types.ModuleType):
        others = [module for key, module in sys.modules.items() if key.startswith("system.") and module is not owner]
        changes += [
            Change(other, alias, old, new)
            for other in others
            for alias, value in list(vars(other).items())
            if value is old
        ]
    for change in changes:
        setattr(change.owner, change.name, change.new)
    return changes

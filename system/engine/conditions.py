"""Conditions (contract section 4): a small grammar, parsed once, evaluated on JSON values, never interpreted as code.

expression = or ; or = and {"or" and} ; and = not {"and" not} ; not = "not" not | comparison
comparison = operand [("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in" | "contains") operand]
operand    = "(" expression ")" | "len" "(" expression ")" | literal | reference | "[" [operand {"," operand}] "]"
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from system.engine.references import Reference, Scope, Unresolved, look_up, parse_reference
from system.engine.values import is_number, json_equal

_MAX_DEPTH = 50
_MAX_LENGTH = 10_000

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<reference>\$\{[^{}]*\}|\$\.(?:[^\s()\[\],=<>!'"]|\[[0-9]+\])+)
    | (?P<number>-?[0-9]{1,300}(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,4})?(?![0-9A-Za-z_.]))
    | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    )""",
    re.VERBOSE | re.DOTALL,
)
_CONSTANTS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_COMPARISONS = frozenset(("==", "!=", "<", "<=", ">", ">=", "in", "contains"))
# A backslash stands for what follows only before these; elsewhere it is a character like any other.
_ESCAPED = re.compile(r"""\\(["'\\])""")


class ConditionSyntaxError(ValueError):
    """The text is no condition; the message says what was expected and at which column (from 1)."""


class ConditionUndefined(Exception):
    """The condition has no value here: a missing reference, or things that do not compare. It counts as false."""


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Any


@dataclass(frozen=True, slots=True)
class _Operation:
    name: str
    operands: tuple[_Node, ...]


_Node = _Constant | Reference | _Operation


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition."""

    text: str
    root: _Node

    def references(self) -> Iterator[Reference]:
        """Every reference in it, in order."""
        yield from _references(self.root)

    def holds(self, scope: Scope) -> bool:
        """Its value as a boolean; false when it cannot be evaluated. `and` and `or` stop at the first that decides."""
        try:
            return _truth(_evaluate(self.root, scope))
        except (ConditionUndefined, Unresolved):
            return False


def parse_condition(text: str, step_ids: Collection[str]) -> Condition:
    """Parse a condition.

    Raises:
        ConditionSyntaxError: with the column of what was not expected.
    """
    if len(text) > _MAX_LENGTH:
        raise ConditionSyntaxError(f"a condition has at most {_MAX_LENGTH} characters, this one has {len(text)}")
    return Condition(text, _Parser(text, step_ids).parse())


class _Parser:
    def __init__(self, text: str, step_ids: Collection[str]) -> None:
        self._step_ids = step_ids
        self._tokens = list(_tokens(text))
        self._position = 0
        self._depth = 0

    def parse(self) -> _Node:
        node = self._either()
        if self._kind() != "end":
            raise self._unexpected("the end, `and`, `or` or a comparison")
        return node

    def _kind(self) -> str:
        return self._tokens[self._position][0]

    def _text(self) -> str:
        return self._tokens[self._position][1]

    def _take(self) -> str:
        self._position += 1
        return self._tokens[self._position - 1][1]

    def _is_word(self, word: str) -> bool:
        return self._kind() == "word" and self._text() == word

    def _unexpected(self, wanted: str) -> ConditionSyntaxError:
        kind, text, column = self._tokens[self._position]
        found = "the end" if kind == "end" else repr(text)
        return ConditionSyntaxError(f"expected {wanted} at column {column}, found {found}")

    def _either(self) -> _Node:
        if self._depth > _MAX_DEPTH:
            raise ConditionSyntaxError(f"a condition may have parentheses {_MAX_DEPTH} deep at most")
        self._depth += 1
        operands = [self._both()]
        while self._is_word("or"):
            self._take()
            operands.append(self._both())
        self._depth -= 1
        return operands[0] if len(operands) == 1 else _Operation("or", tuple(operands))

    def _both(self) -> _Node:
        operands = [self._negation()]
        while self._is_word("and"):
            self._take()
            operands.append(self._negation())
        return operands[0] if len(operands) == 1 else _Operation("and", tuple(operands))

    def _negation(self) -> _Node:
        count = 0
        while self._is_word("not"):
            self._take()
            count += 1
        node = self._comparison()
        for _ in range(min(count, 2 - count % 2)):
            node = _Operation("not", (node,))
        return node

    def _comparison(self) -> _Node:
        left = self._operand()
        negated = False
        if self._is_word("not") and self._tokens[self._position + 1][:2] == ("word", "in"):
            self._take()
            negated = True
        if self._text() not in _COMPARISONS or self._kind() not in ("sign", "word"):
            return left
        node = _Operation(self._take(), (left, self._operand()))
        if self._kind() in ("sign", "word") and self._text() in _COMPARISONS:
            raise self._unexpected("`and`, `or` or the end (comparisons do not chain)")
        return _Operation("not", (node,)) if negated else node

    def _operand(self) -> _Node:
        kind, text = self._kind(), self._text()
        if kind == "number":
            self._take()
            return _Constant(float(text) if any(mark in text for mark in ".eE") else int(text))
        if kind == "string":
            self._take()
            return _Constant(_ESCAPED.sub(r"\1", text[1:-1]))
        if kind == "reference":
            reference = parse_reference(text, self._step_ids)
            if reference is None:
                raise self._unexpected("a reference such as ${workflow.input.name} or ${step.output.name}")
            self._take()
            return reference
        if kind == "word" and text in _CONSTANTS:
            self._take()
            return _Constant(_CONSTANTS[text])
        if kind == "word" and text == "len":
            self._take()
            self._expect("(")
            return _Operation("len", (self._closed(")"),))
        if kind == "sign" and text == "(":
            self._take()
            return self._closed(")")
        if kind == "sign" and text == "[":
            self._take()
            return self._list()
        raise self._unexpected("a value (a literal, a reference, `len(...)` or a parenthesis)")

    def _expect(self, sign: str) -> None:
        if self._kind() != "sign" or self._text() != sign:
            raise self._unexpected(f"`{sign}`")
        self._take()

    def _closed(self, sign: str) -> _Node:
        node = self._either()
        self._expect(sign)
        return node

    def _list(self) -> _Node:
        items: list[_Node] = []
        while not (self._kind() == "sign" and self._text() == "]"):
            if items:
                self._expect(",")
            items.append(self._either())
        self._take()
        return _Operation("list", tuple(items))


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            column = position + len(text[position:]) - len(text[position:].lstrip()) + 1
            raise ConditionSyntaxError(
                f"expected a value or an operator at column {column}, found {text[column - 1]!r}"
            )
        yield match.lastgroup, match[match.lastgroup], match.start(match.lastgroup) + 1
        position = match.end()
    yield "end", "", end + 1


def _references(node: _Node) -> Iterator[Reference]:
    if isinstance(node, Reference):
        yield node
    elif isinstance(node, _Operation):
        for operand in node.operands:
            yield from _references(operand)


def _evaluate(node: _Node, scope: Scope) -> Any:
    if isinstance(node, _Constant):
        return node.value
    if isinstance(node, Reference):
        return look_up(node, scope)
    if node.name == "and":
        return all(_truth(_evaluate(operand, scope)) for operand in node.operands)
    if node.name == "or":
        return any(_truth(_evaluate(operand, scope)) for operand in node.operands)
    values = [_evaluate(operand, scope) for operand in node.operands]
    if node.name == "list":
        return values
    if node.name == "not":
        return not _truth(values[0])
    if node.name == "len":
        if not isinstance(values[0], str | list | Mapping):
            raise ConditionUndefined("len() takes a string, a list or an object")
        return len(values[0])
    return _compare(node.name, values[0], values[1])


def _truth(value: Any) -> bool:
    return bool(value)


def _compare(operator: str, left: Any, right: Any) -> bool:
    if operator == "==":
        return json_equal(left, right)
    if operator == "!=":
        return not json_equal(left, right)
    if operator == "in":
        return _contains(right, left)
    if operator == "contains":
        return _contains(left, right)
    if not (is_number(left) and is_number(right)) and not (isinstance(left, str) and isinstance(right, str)):
        raise ConditionUndefined(f"`{operator}` compares two numbers or two strings")
    if operator == "<":
        return bool(left < right)
    if operator == "<=":
        return bool(left <= right)
    if operator == ">":
        return bool(left > right)
    return bool(left >= right)


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(whole, str) and isinstance(part, str):
        return part in whole
    if isinstance(whole, Mapping) and isinstance(part, str):
        return part in whole
    if isinstance(whole, list):
        return any(json_equal(item, part) for item in whole)
    raise ConditionUndefined("membership is asked of a list, of a string by a string, or of an object by a string")

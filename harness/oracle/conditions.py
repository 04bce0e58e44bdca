"""Conditions, written from CND-01 to CND-14: a tokenizer, a parser by precedence, and an evaluator of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from harness.oracle.references import Lookup, Reference, Unresolvable, at_reference, braced, quick_start
from harness.oracle.values import is_number, same

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<braced>\$\{[^{}]*\})
  | (?P<dollar>\$\.[^\s()=!<>,]+)
  | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,)
  | (?P<word>[A-Za-z_]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_MOST_TOKENS = 2000


class NotParsed(ValueError):
    """The oracle does not read this expression, so nothing is said about it."""


class _NotEvaluable(Exception):
    """CND-08: the whole expression is false."""


@dataclass(frozen=True, slots=True)
class Node:
    """`word` is literal, reference, list, len, not, and, or, or an operator; `parts` are nodes, or the one value."""

    word: str
    parts: tuple[Any, ...]


def parse(expression: str, step_ids: Collection[str]) -> Node:
    """Raises NotParsed for what this parser does not read."""
    return _Parser(_tokens(expression), step_ids).whole()


def references_of(node: Node) -> list[Reference]:
    """All references in an expression."""
    if node.word == "reference":
        return [node.parts[0]]
    return [found for part in node.parts if isinstance(part, Node) for found in references_of(part)]


def evaluate(node: Node, lookup: Lookup) -> tuple[bool, bool]:
    """The truth of a condition, and whether it could be evaluated: what cannot be is false as a whole (CND-08)."""
    try:
        return _truth(_value(node, lookup)), True
    except (_NotEvaluable, Unresolvable):
        return False, False


def _tokens(expression: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    text = expression.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None or len(found) > _MOST_TOKENS:
            raise NotParsed(expression)
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]], step_ids: Collection[str]) -> None:
        self._tokens = tokens
        self._ids = step_ids
        self._at = 0

    def whole(self) -> Node:
        node = self._or(0)
        if self._at < len(self._tokens):
            raise NotParsed(f"left over: {self._tokens[self._at][1]}")
        return node

    def _is(self, *words: str) -> bool:
        ahead = self._tokens[self._at : self._at + len(words)]
        return [token[1] for token in ahead] == list(words) and all(token[0] in ("word", "sign") for token in ahead)

    def _take(self, *words: str) -> bool:
        if self._is(*words):
            self._at += len(words)
            return True
        return False

    def _or(self, depth: int) -> Node:
        if depth > 100:
            raise NotParsed("nested too deeply")
        node = self._and(depth)
        while self._take("or"):
            node = Node("or", (node, self._and(depth)))
        return node

    def _and(self, depth: int) -> Node:
        node = self._not(depth)
        while self._take("and"):
            node = Node("and", (node, self._not(depth)))
        return node

    def _not(self, depth: int) -> Node:
        if depth > 100:
            raise NotParsed("nested too deeply")
        if self._is("not") and not self._is("not", "in"):
            self._at += 1
            return Node("not", (self._not(depth + 1),))
        return self._comparison(depth)

    def _comparison(self, depth: int) -> Node:
        left = self._operand(depth)
        for words in (("not", "in"), ("in",), ("contains",), ("==",), ("!=",), ("<=",), (">=",), ("<",), (">",)):
            if self._take(*words):
                node = Node(" ".join(words), (left, self._operand(depth)))
                if any(self._is(word) for word in ("==", "!=", "<", "<=", ">", ">=", "in", "contains")):
                    raise NotParsed("comparisons in a row")
                return node
        return left

    def _operand(self, depth: int) -> Node:
        if self._at >= len(self._tokens):
            raise NotParsed("ends too early")
        if self._take("("):
            node = self._or(depth + 1)
            self._want(")")
            return node
        if self._take("["):
            return Node("list", tuple(self._items(depth)))
        if self._take("len"):
            self._want("(")
            node = Node("len", (self._or(depth + 1),))
            self._want(")")
            return node
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "number":
            return Node("literal", (float(text) if re.search("[.eE]", text) else int(text),))
        if kind == "string":
            return Node("literal", (re.sub(r"\\([\"'\\])", r"\1", text[1:-1]),))
        if kind == "word" and text in _WORDS:
            return Node("literal", (_WORDS[text],))
        reference = (
            {"braced": braced, "dollar": quick_start}[kind](text, self._ids) if kind in ("braced", "dollar") else None
        )
        if reference is None:
            raise NotParsed(text)
        return Node("reference", (reference,))

    def _items(self, depth: int) -> list[Node]:
        items: list[Node] = []
        if self._take("]"):
            return items
        items.append(self._or(depth + 1))
        while self._take(","):
            items.append(self._or(depth + 1))
        self._want("]")
        return items

    def _want(self, sign: str) -> None:
        if not self._take(sign):
            raise NotParsed(f"{sign} expected")


def _value(node: Node, lookup: Lookup) -> Any:
    match node.word:
        case "literal":
            return node.parts[0]
        case "reference":
            return at_reference(node.parts[0], lookup)
        case "list":
            return [_value(part, lookup) for part in node.parts]
        case "and":
            # Left to right, and no further than the first that decides (CND-13).
            return _truth(_value(node.parts[0], lookup)) and _truth(_value(node.parts[1], lookup))
        case "or":
            return _truth(_value(node.parts[0], lookup)) or _truth(_value(node.parts[1], lookup))
        case "not":
            return not _truth(_value(node.parts[0], lookup))
        case "len":
            value = _value(node.parts[0], lookup)
            if not isinstance(value, str | list | dict):
                raise _NotEvaluable
            return len(value)
        case operator:
            return _OPERATORS[operator](_value(node.parts[0], lookup), _value(node.parts[1], lookup))


def _truth(value: Any) -> bool:
    return not (value is None or value is False or value in ("", [], {}) or (is_number(value) and value == 0))


def _order(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def of(left: Any, right: Any) -> bool:
        if (is_number(left) and is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
            return compare(left, right)
        raise _NotEvaluable

    return of


def _is_in(item: Any, whole: Any) -> bool:
    if isinstance(whole, list):
        return any(same(item, other) for other in whole)
    if isinstance(whole, str | dict) and isinstance(item, str):
        return item in whole
    raise _NotEvaluable


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": same,
    "!=": lambda left, right: not same(left, right),
    "<": _order(lambda left, right: left < right),
    "<=": _order(lambda left, right: left <= right),
    ">": _order(lambda left, right: left > right),
    ">=": _order(lambda left, right: left >= right),
    "in": _is_in,
    "not in": lambda item, whole: not _is_in(item, whole),
    "contains": lambda whole, item: _is_in(item, whole),
}

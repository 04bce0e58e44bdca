"""References and conditions as the contract describes them (REF, CND), evaluated straight from their text.

An independent second opinion: an operator-precedence parser over the text, where the engine compiles first.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.engine.interpretation import Scope

Json = Any


class Undefined(Exception):
    """Something has no value here."""


def reference_value(text: str, scope: Scope, *, whole: bool) -> Json:
    """The value of a text that is a reference; `whole` takes the quick start's syntax for one, too.

    Raises:
        LookupError: the text is no reference.
        Undefined: it is one and leads nowhere.
    """
    if text.startswith("${") and text.endswith("}") and not set(text[2:-1]) & set("{}"):
        inner, input_word, output_word = text[2:-1], "workflow.input", ".output"
    elif whole and text.startswith("$."):
        inner, input_word, output_word = text[2:], "workflow_input", ".output_data"
    else:
        raise LookupError
    if inner.startswith(input_word) and _is_path(inner[len(input_word) :]):
        return _follow(scope.input_data, inner[len(input_word) :])
    if text.startswith("${loop."):
        for name in ("item", "index", "total", "is_first", "is_last"):
            rest = inner[len("loop." + name) :]
            if inner.startswith("loop." + name) and _is_path(rest):
                if scope.loop is None:
                    raise Undefined(text)
                return _follow(scope.loop[name], rest)
    for step_id in sorted(scope.definition["steps"], key=len, reverse=True):
        rest = inner[len(step_id + output_word) :]
        if inner.startswith(step_id + output_word) and _is_path(rest):
            execution = scope.known.get(step_id)
            if execution is None or execution.status != "COMPLETED":
                raise Undefined(text)
            return _follow(execution.output_data, rest)
    raise LookupError


def _is_path(text: str) -> bool:
    return re.fullmatch(r"(\.[^.\[\]{}]+|\[\d+\])*", text) is not None


def _follow(value: Json, path: str) -> Json:
    for name, index in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path):
        if name and isinstance(value, dict) and name in value:
            value = value[name]
        elif index and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        else:
            raise Undefined(path)
    return value


def holds(text: str, scope: Scope) -> bool:
    """Whether a condition is true; false when it cannot be evaluated (CND-08)."""
    tokens = re.findall(
        # A reference, a number, a string, an operator, a word.
        r"""\s*(\$\{[^{}]*\}|\$\.[^\s()\[\],=<>!]+|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[<>=!]=|[<>()\[\],]|\w+)""",
        text,
    )
    assert re.sub(r"\s", "", "".join(tokens)) == re.sub(r"\s", "", text), f"tokens are missing in {tokens}"
    parser = _Evaluator([*tokens, ""], scope)
    try:
        value = parser.either(wanted=True)
    except Undefined:
        return False
    assert parser.position == len(tokens), f"left over: {tokens[parser.position :]}"
    return bool(value)


class _Evaluator:
    """Evaluates while it parses; `wanted` is False for operands that a connective before them has decided."""

    def __init__(self, tokens: list[str], scope: Scope) -> None:
        self._tokens, self._scope, self.position = tokens, scope, 0

    def _next(self) -> str:
        return self._tokens[self.position]

    def _take(self, *words: str) -> str | None:
        if self._next() not in words:
            return None
        self.position += 1
        return self._tokens[self.position - 1]

    def either(self, *, wanted: bool) -> Json:
        value = self._both(wanted=wanted)
        while self._take("or"):
            more = self._both(wanted=wanted and not value)
            value = bool(value) or bool(more)
        return value

    def _both(self, *, wanted: bool) -> Json:
        value = self._negation(wanted=wanted)
        while self._take("and"):
            more = self._negation(wanted=wanted and bool(value))
            value = bool(value) and bool(more)
        return value

    def _negation(self, *, wanted: bool) -> Json:
        if self._take("not"):
            return not self._negation(wanted=wanted)
        left = self._operand(wanted=wanted)
        negated = self._next() == "not" and bool(self._take("not"))
        operator = self._take("==", "!=", "<=", ">=", "<", ">", "in", "contains")
        if operator is None:
            return left
        right = self._operand(wanted=wanted)
        return _compared(operator, left, right) != negated if wanted else None

    def _operand(self, *, wanted: bool) -> Json:
        token = self._next()
        self.position += 1
        if token == "(":
            value = self.either(wanted=wanted)
            assert self._take(")")
            return value
        if token == "len":
            assert self._take("(")
            value = self.either(wanted=wanted)
            assert self._take(")")
            if wanted and not isinstance(value, str | list | dict):
                raise Undefined("len")
            return len(value) if wanted else None
        if token == "[":
            items = []
            while not self._take("]"):
                items.append(self.either(wanted=wanted))
                self._take(",")
            return items
        if token.startswith("$"):
            return reference_value(token, self._scope, whole=True) if wanted else None
        if token[0] in "'\"":
            return re.sub(r"""\\(["'\\])""", r"\1", token[1:-1])
        return json.loads({"True": "true", "False": "false", "None": "null"}.get(token, token))


def canonical(value: Json) -> str:
    """One text for all JSON values that are equal (CND-09)."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(json.dumps(name) + ":" + canonical(value[name]) for name in sorted(value)) + "}"
    return json.dumps(value)


def _kind(value: Json) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__


def _compared(operator: str, left: Json, right: Json) -> bool:
    if operator in ("==", "!="):
        return (canonical(left) == canonical(right)) == (operator == "==")
    if operator in ("in", "contains"):
        part, whole = (left, right) if operator == "in" else (right, left)
        if isinstance(whole, list):
            return canonical(part) in map(canonical, whole)
        if isinstance(whole, str | dict) and isinstance(part, str):
            return part in whole
        raise Undefined(operator)
    if _kind(left) != _kind(right) or _kind(left) not in ("number", "str"):
        raise Undefined(operator)
    order = {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}
    return bool(order[operator])

"""References and conditions as text, over a small vocabulary of paths that inputs and outputs are then made to have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from harness.generation.choosing import Chooser
from harness.generation.values import INTEGERS, TEXTS

Sort = Literal["number", "text", "flag", "list", "any"]

PATHS: Final[Mapping[Sort, tuple[str, ...]]] = {
    "number": (".n",),
    "text": (".s",),
    "flag": (".b",),
    "list": (".l",),
    "any": (".n", "", ".s", ".o", ".l", ".o.x", ".l[0]", ".b", ".o.none", ".j", ".l[1]"),
}
"""Sort of value → paths of inputs and of agents' outputs that lead to one."""

_OF_KIND: Final[Mapping[str, Mapping[Sort, tuple[str, ...]]]] = {
    "parallel": {"any": ("",)},
    "conditional": {
        "text": (".branch_taken",),
        "flag": (".condition_result",),
        "any": ("", ".branch_output", ".branch_step_id", ".condition_result"),
    },
    "loop": {
        "number": (".total_count", ".failed_count"),
        "list": (".iterations",),
        "any": (
            ".failed_count",
            "",
            ".iterations",
            ".iterations[0].output_data",
            ".iterations[0].status",
            ".total_count",
        ),
    },
    "fork_join": {"any": ("",)},
}
_MISSING_IN_CONDITIONS: Final = 8
"""A condition with a reference to nothing is false and no more (CND-08), while a mapping with one ends its step."""

_MISSING: Final = (".missing", ".l[99]", ".n.deeper", ".o.none.deeper", "[0]")
_LOOP: Final[Mapping[Sort, tuple[str, ...]]] = {
    "number": ("index", "total"),
    "flag": ("is_last", "is_first"),
    "any": ("item", "index", "item", "is_last", "is_first", "total"),
}


@dataclass(frozen=True)
class Scope:
    """What a step may refer to: (id, type) of steps that ended before it, and whether it stands in a loop."""

    ended: tuple[tuple[str, str], ...] = ()
    in_loop: bool = False
    depth: int = 0

    def after(self, steps: tuple[tuple[str, str], ...]) -> Scope:
        """The scope behind these steps."""
        return Scope(self.ended + steps, self.in_loop, self.depth)

    def below(self, *, in_loop: bool = False) -> Scope:
        """The scope of what is inside."""
        return Scope(self.ended, self.in_loop or in_loop, self.depth + 1)


def can_be_braced(step: str) -> bool:
    """Whether an id can be written between ${ and } (REF-25)."""
    return not set("{}") & set(step) and not step.startswith(("workflow.input", "loop."))


def reference(choose: Chooser, scope: Scope, sort: Sort, *, whole: bool, missing_one_in: int = 30) -> str:
    """A reference that is legal there; `whole` lets it be in the quick start's syntax, which stands alone. One in
    `missing_one_in` leads to nothing."""
    if scope.in_loop and sort in _LOOP and choose.rarely(2):
        return f"${{loop.{choose.one_of(_LOOP[sort])}}}"
    step: str | None = None
    paths = PATHS[sort]
    if scope.ended and choose.number(0, 2):
        step, kind = scope.ended[-1 - choose.number(0, len(scope.ended) - 1)]
        of_kind = PATHS if kind == "agent" else _OF_KIND[kind]
        if sort in of_kind and (can_be_braced(step) or (whole and not step.startswith("workflow_input"))):
            paths = of_kind[sort]
        else:
            step = None
    path = choose.one_of(_MISSING) if choose.rarely(missing_one_in) else choose.one_of(paths)
    is_short = whole and choose.rarely(3)
    if step is None:
        return f"$.workflow_input{path}" if is_short else f"${{workflow.input{path}}}"
    if (is_short and not step.startswith("workflow_input")) or not can_be_braced(step):
        return f"$.{step}.output_data{path}"
    return f"${{{step}.output{path}}}"


def mapping(choose: Chooser, scope: Scope) -> dict[str, Any] | None:
    """An input_mapping."""
    if choose.rarely(4):
        return None
    return {name: _mapped(choose, scope, 1) for name in choose.some(("a", "b", "ü", "a.b", "$", "id"), 3, least=1)}


def _mapped(choose: Chooser, scope: Scope, depth: int) -> Any:
    kind = choose.number(0, 7)
    if kind <= 3:
        return reference(choose, scope, "any", whole=True)
    if kind == 4:
        return _text(choose, scope)
    if kind == 5 and depth:
        return [_mapped(choose, scope, depth - 1) for _ in range(choose.number(0, 2))]
    if kind == 6 and depth:
        return {name: _mapped(choose, scope, depth - 1) for name in choose.some(("a", "A", "${workflow.input.n}"), 2)}
    return choose.one_of((1, "x", None, True, *TEXTS[:20], 0.5, [], {}))


def _text(choose: Chooser, scope: Scope) -> str:
    parts = [choose.one_of(("", "x ", "$.", "${", "é"))]
    for _ in range(choose.number(1, 2)):
        parts.append(reference(choose, scope, choose.one_of(("text", "number", "flag")), whole=False))
        parts.append(choose.one_of((" y", "$", "}", "", "\n")))
    return "".join(parts)


def collection(choose: Chooser, scope: Scope) -> Any:
    """What a loop goes through."""
    kind = choose.number(0, 6)
    if kind <= 2:
        return choose.repeat(lambda: choose.one_of((1, 2, "a", None, {"a": 1}, [], 3)), 1, 4)
    if kind == 3:
        return [_mapped(choose, scope, 0) for _ in range(choose.number(0, 3))]
    if kind == 6 and choose.rarely(3):
        return reference(choose, scope, "any", whole=True)
    return reference(choose, scope, "list", whole=True)


def condition(choose: Chooser, scope: Scope, depth: int = 2) -> str:
    """An expression of the contract's grammar."""
    shape = choose.number(0, 9 if depth else 5)
    if shape <= 3:
        return _comparison(choose, scope)
    if shape == 4:
        return reference(
            choose, scope, choose.one_of(("flag", "any")), whole=False, missing_one_in=_MISSING_IN_CONDITIONS
        )
    if shape == 5:
        return f"{_any(choose, scope)} {choose.one_of(_OPERATORS)} {_any(choose, scope)}"
    if shape == 6:
        return f"not {_in_parentheses(choose, scope, depth)}"
    word = choose.one_of(("and", "or"))
    left, right = (condition(choose, scope, depth - 1) for _ in range(2))
    return f"({left}) {word} {right}" if shape == 7 else f"{left} {word} {right}"


_OPERATORS: Final = ("==", "!=", "<", "<=", ">", ">=", "in", "not in", "contains")


def _in_parentheses(choose: Chooser, scope: Scope, depth: int) -> str:
    inner = condition(choose, scope, depth - 1)
    return inner if choose.rarely(3) else f"({inner})"


def _comparison(choose: Chooser, scope: Scope) -> str:
    kind = choose.number(0, 4)
    if kind <= 1:
        left = reference(choose, scope, "number", whole=False, missing_one_in=_MISSING_IN_CONDITIONS)
        return f"{left} {choose.one_of(_OPERATORS[:6])} {choose.one_of((1, 0, 2, -1, 0.5, '1e1'))}"
    if kind == 2:
        left = reference(choose, scope, "text", whole=False, missing_one_in=_MISSING_IN_CONDITIONS)
        return f"{left} {choose.one_of(_OPERATORS)} {_quoted(choose)}"
    if kind == 3:
        left = reference(
            choose, scope, choose.one_of(("list", "text", "list")), whole=False, missing_one_in=_MISSING_IN_CONDITIONS
        )
        return f"len({left}) {choose.one_of(_OPERATORS[:6])} {choose.number(0, 3)}"
    whole = reference(choose, scope, "list", whole=False, missing_one_in=_MISSING_IN_CONDITIONS)
    part = choose.one_of(("1", "'a'", "null", "true", "[]"))
    return f"{part} {choose.one_of(('in', 'not in'))} {whole}" if choose.rarely(2) else f"{whole} contains {part}"


def _any(choose: Chooser, scope: Scope) -> str:
    if choose.rarely(2):
        return reference(choose, scope, "any", whole=False, missing_one_in=_MISSING_IN_CONDITIONS)
    return choose.one_of(
        ("1", "0", "'a'", "true", "false", "null", "[]", "[1, 'a', true]", "None", "-2", _quoted(choose))
    )


def _quoted(choose: Chooser) -> str:
    text = choose.one_of(("a", "", "x", "b", "1", "ä", "it's", "\\"))
    quote = choose.one_of(('"', "'"))
    return quote + text.replace("\\", "\\\\").replace(quote, f"\\{quote}") + quote


__all__ = ["INTEGERS", "PATHS", "Scope", "Sort", "can_be_braced", "collection", "condition", "mapping", "reference"]

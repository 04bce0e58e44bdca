"""JSON values that are odd and legal: what every part of the family can hold, and many a part stumbles over."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

from harness.generation.choosing import Chooser

Json = Any

TEXTS: Final = (
    "a", "", "1", "true", "null", "ä", "日本語", "🦊", "e\u0301", " ", "two words", "it's", '"', "\\", "\n", "\u202e", "\ufeff",
    "$5", "${", "${foo}", "$.x", "${workflow.input}", "$.workflow_input", "${loop.item}", "{{r.id}}", "{% x %}",
    "'; DROP TABLE workflow_runs; --", "<script>alert(1)</script>", "%s%n", "../..", "0x10", "1e5", "-0", "NaN",
)  # fmt: skip

NUMBERS: Final = (
    0, 1, 2, -1, 3, 10, 2**31, 2**53 - 1, -(2**53 - 1), 0.5, -0.25, 1.0, 0.1, 1e300, -1e300, 5e-324, 1e-7,
)  # fmt: skip
"""Whole numbers within what every JSON implementation has exactly (REF-27), and doubles of every size."""

INTEGERS: Final = (0, 1, 2, -1, 3, 5, 10, 2**53 - 1, -(2**53 - 1))

KEYS: Final = (
    "a",
    "A",
    "b",
    "a.b",
    "a[0]",
    " a",
    "ä",
    "a\u0308",
    "$",
    "${workflow.input}",
    "",
    "__proto__",
    "id",
    "like",
)
"""Keys that look alike, or like something else."""

SIMPLE: Final[tuple[Json, ...]] = (
    None,
    True,
    False,
    1,
    0,
    "a",
    "",
    2,
    -1,
    0.5,
    [],
    {},
    "x",
    [1, 2],
    {"a": 1},
    [[]],
    {"a": {}},
)

# Ids that look like reference or path syntax, like other words of the format, and like nothing at all.
ODD_IDS: Final = (
    "a.b", "x", "x.output", "x.output.output", "loop", "workflow", "item", "a/b", "a[0]", "p:left", "%2F", "~1", "$",
    "${x}", "{", "}", "$.x", "output_data", "ä", "日本語", "🦊", "e\u0301", " ", "two words", "it's", '"', "\\", "\n",
    "true", "not", "0", "-1", "null", "then", "A", "a" * 200,
)  # fmt: skip

BRANCH_NAMES: Final = ("left", "right", "third", "lef", "a/b", "x:y", "ü", "]", "0", "then")

_MOST_DEEP = 60
_MOST_LONG = 4000


def value(choose: Chooser, depth: int = 2) -> Json:
    """Any JSON value: mostly a simple one, sometimes nested, rarely deep, large or of any characters at all."""
    kind = choose.number(0, 11)
    if kind <= 5:
        return choose.one_of(SIMPLE)
    if kind == 6:
        return choose.one_of(NUMBERS)
    if kind == 7:
        return choose.one_of(TEXTS)
    if kind == 8 and depth:
        return choose.repeat(lambda: value(choose, depth - 1), 0, 4)
    if kind == 9 and depth:
        return {key: value(choose, depth - 1) for key in choose.some(KEYS, 4)}
    if kind == 10 and choose.rarely(3):
        return _extreme(choose)
    return choose.draw(_ANYTHING) if kind == 11 else choose.one_of(SIMPLE)


def values() -> st.SearchStrategy[Json]:
    """Any JSON value that PostgreSQL can hold, numbers as every implementation has them."""
    return _values()


@st.composite
def _values(draw: st.DrawFn) -> Json:
    return value(Chooser(draw))


_ANYTHING = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
    st.integers(-(2**53 - 1), 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)


def _extreme(choose: Chooser) -> Json:
    kind = choose.number(0, 2)
    if kind == 0:
        nested: Json = choose.one_of(SIMPLE)
        for level in range(choose.number(3, _MOST_DEEP)):
            nested = [nested] if level % 2 else {"a": nested}
        return nested
    size = choose.number(10, _MOST_LONG)
    return choose.one_of(("ä", "x", '"')) * size if kind == 1 else list(range(size // 10))

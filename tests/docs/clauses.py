"""docs/clauses.md, made from contract/clauses.yaml: `python -m tests.docs.clauses` writes it anew; a test holds it."""

from __future__ import annotations

from collections.abc import Iterator

import contract
from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "clauses.md"

_HEAD = """# Clauses

What an executor of this family promises, in sentences small enough for one scenario each: {number} of them, in version
{version} of the contract. This page is made by `python -m tests.docs.clauses` from `contract/clauses.yaml`; change it there.

A level is reached by passing every MUST up to and including it: {levels}.
A clause binds the roles that are named. One that settles what the contract's prose left open says why, in italics.
"""


def told() -> str:
    """The whole page."""
    levels = ", ".join(f"{number} {name}" for number, name in contract.CONFORMANCE_LEVELS.items())
    head = _HEAD.format(number=len(contract.clauses()), version=contract.VERSION, levels=levels)
    return "\n".join((head, *(line for area, title in contract.areas().items() for line in _area(area, title))))


def _area(prefix: str, title: str) -> Iterator[str]:
    yield from (f"## {title}", "", "| clause | what | level | binds |", "| --- | --- | --- | --- |")
    for clause in contract.clauses():
        if clause.area == prefix:
            why = f" *{_cell(clause.rationale)}*" if clause.rationale else ""
            level = f"{clause.conformance_level} {clause.level}"
            yield f"| {clause.id} | **{_cell(clause.title)}.** {_cell(clause.text)}{why} | {level} | {', '.join(clause.roles)} |"
    yield ""


def _cell(text: str) -> str:
    """The text in one line, with nothing in it that Markdown would take for its own."""
    plain = " ".join(text.split())
    for sign in ("\\", "`", "*", "_", "<", "[", "]", "|", "$"):
        plain = plain.replace(sign, f"\\{sign}")
    return plain


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(told(), encoding="utf-8")


if __name__ == "__main__":
    main()

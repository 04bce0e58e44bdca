"""The reference of the checkers as Markdown, written from the checkers themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence

import contract
from harness.checkers.checker import Checker

_HEAD = """# Checkers

Every checker is a pure function from a [history](harness.md#history) to findings, and all of them run on every scenario,
whatever it expects. A finding names the checker, the clause that is broken, the anomaly, one sentence that explains it,
and the `seq` of the few events that prove it. `plumbline judge HISTORY` runs them on kept histories.

A checker accuses only what no execution that keeps the contract can show; each entry says why that is so, and what is left
out for it. A checker that raises makes the verdict unknown.

This page is written by `python -m harness.checkers reference`; do not edit it.
"""

_LIMITS = """## What cannot be judged from outside

- Which step, iteration or attempt a task is of: the contract's task does not say. Tasks are matched by agent and input, and
  where several steps fit, nothing is claimed of any one of them.
- Which iteration a row is of. Rows of a loop's steps are matched by their inputs; iterations with equal inputs are counted.
- Whether the executor has seen a cancellation, before it says so itself: by an update of the run, a committed offset, or a
  status that nobody else can have written.
- What happened between two reads of a row. A status that was there for a moment may be missed, never invented.
- The order of messages in different partitions or topics. Order is claimed only within a partition, by offsets; or from
  an agent's answer, which is noted before it leaves, to what it led to.
- Whether a message that surfaces after a death was published before it. After one,
  only ids, contents and final states are judged.
- The absence of a message or a row, unless the end of the history says that everything was read to its end.
- The text of an object within a longer text, whose order of keys the contract does not promise.
"""


def reference(checkers: Sequence[Checker]) -> str:
    """The whole page."""
    return "\n".join((_HEAD, _table(checkers), *_entries(checkers), _LIMITS))


def _table(checkers: Sequence[Checker]) -> str:
    lines = ["| checker | clauses | what holds |", "| --- | --- | --- |"]
    lines += [f"| [{c.name}](#{c.name}) | {', '.join(c.clauses)} | {c.about} |" for c in checkers]
    return "\n".join(lines) + "\n"


def _entries(checkers: Sequence[Checker]) -> Iterator[str]:
    titles = {clause.id: clause.title for clause in contract.clauses()}
    for checker in checkers:
        clauses = "; ".join(f"{clause} ({titles[clause]})" for clause in checker.clauses)
        lines = [f"## {checker.name}", "", checker.about, "", f"Clauses: {clauses}.", ""]
        if checker.needs:
            lines += [f"Looks at: {', '.join(checker.needs)}.", ""]
        yield "\n".join([*lines, inspect.getdoc(checker.check) or "", ""])

"""Whether what a page shows is what happens, apart from what is different each time: ids, times, durations, ports."""

from __future__ import annotations

import re
from typing import Any

_VOLATILE = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|\+00:00)?"), "<time>"),
    (re.compile(r"\b\d{2}:\d{2}:\d{2}\b"), "<time>"),
    (re.compile(r"\b(?:127\.0\.0\.1|localhost):\d+"), "<address>"),
    (re.compile(r"\b\d+(?:\.\d+)? ?(?:ms|s|seconds)\b"), "<duration>"),
    (re.compile(r"\[\d+(?:\.\d+)?s\]"), "<duration>"),
    (re.compile(r"/tmp/[\w./-]+"), "<path>"),
)
# Members whose values count what else was done on the system, or measure it.
_MEASURED = ("id", "as_of", "latency_ms")


def settled(text: str) -> str:
    """The text with a word for each thing that is different each time."""
    for pattern, word in _VOLATILE:
        text = pattern.sub(word, text)
    return text


def difference(shown: Any, found: Any, path: str = "") -> str | None:
    """Where two JSON values differ, beyond what is different each time; None when they do not."""
    if isinstance(shown, dict) and isinstance(found, dict):
        if shown.keys() != found.keys():
            return f"{path or '/'}: shown are the members {sorted(shown)}, found {sorted(found)}"
        return _first(difference(shown[key], found[key], f"{path}/{key}") for key in shown)
    if isinstance(shown, list) and isinstance(found, list):
        if len(shown) != len(found):
            return f"{path or '/'}: shown are {len(shown)} items, found {len(found)}"
        return _first(
            difference(one, other, f"{path}/{index}")
            for index, (one, other) in enumerate(zip(shown, found, strict=True))
        )
    if path.rpartition("/")[2] in _MEASURED and type(shown) is type(found):
        return None
    if isinstance(shown, str) and isinstance(found, str):
        return None if settled(shown) == settled(found) else f"{path}: shown is {shown!r}, found {found!r}"
    if type(shown) is type(found) and shown == found:
        return None
    return f"{path or '/'}: shown is {shown!r}, found {found!r}"


def _first(differences: Any) -> str | None:
    return next((one for one in differences if one is not None), None)


def unlike(shown: str, found: str) -> str | None:
    """How the output that a page shows differs from what was printed; None when it does not.

    A line of `…` stands for any number of lines, and trailing blanks count for nothing.
    """
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "…" else re.escape(settled(line.rstrip())) + r" *\n"
        for line in shown.strip("\n").split("\n")
    )
    # Line by line, so that a word that is volatile within a line does not hide its end.
    told = settled("\n".join(line.rstrip() for line in found.strip("\n").split("\n")) + "\n")
    if re.fullmatch(pattern, told):
        return None
    return f"shown is\n{settled(shown)}\nprinted was\n{told}"

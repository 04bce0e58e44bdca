"""JSON as it is observed, wherever it comes from."""

from __future__ import annotations

import json
from typing import Any

_MOST_DIGITS = 18


def loads(text: str | bytes) -> Any:
    """Parse JSON. Whole numbers beyond 18 digits become doubles, since jsonb writes 1e300 as one with 301 digits, and a
    value must look alike on its way through messages, rows and REST. Raises ValueError, or RecursionError."""
    return json.loads(text, parse_int=_whole)


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)

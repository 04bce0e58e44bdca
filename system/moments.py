"""Timestamps of messages: ISO 8601 dates with a time of day (MSG-08)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

_DATE_AND_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)


def parse(text: Any) -> datetime | None:
    """The moment in UTC that a text names, one without an offset being in UTC; None when it is no such text."""
    if not isinstance(text, str) or _DATE_AND_TIME.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None

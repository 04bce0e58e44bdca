"""How often and when a call is tried again (contract, section 5, retry_config). Pure.

The loop over the tries stands in `dispatch`, since a task between two tries waits in its agent's queue and holds no
place among the calls; a decorator that sleeps inside the call (tenacity) would hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import contract

_FIELDS: Final = contract.schema("retry_config")["properties"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """An agent's retry configuration."""

    max_retries: int
    initial_delay_ms: int
    max_delay_ms: int
    backoff_multiplier: float

    def longest_pause_seconds(self, retry: int) -> float:
        """The pause before the `retry`-th retry (from 1) at its longest."""
        try:
            grown = self.initial_delay_ms * float(self.backoff_multiplier) ** (retry - 1)
        except OverflowError:
            grown = self.max_delay_ms
        return min(self.max_delay_ms, grown) / 1000

    def pause_seconds(self, retry: int, fraction: float, retry_after_seconds: float | None = None) -> float:
        """The pause before the `retry`-th retry: a random part of the longest one (full jitter), and not less than
        the agent asked for in Retry-After, up to `max_delay_ms`."""
        pause = self.longest_pause_seconds(retry) * fraction
        if retry_after_seconds is not None:
            pause = max(pause, min(retry_after_seconds, self.max_delay_ms / 1000))
        return pause

    @property
    def budget_seconds(self) -> float:
        """All pauses of one task at their longest: how long a task waits for an open circuit before it fails."""
        return sum(self.longest_pause_seconds(retry) for retry in range(1, self.max_retries + 1))


def policy(config: Mapping[str, Any] | None) -> RetryPolicy:
    """The policy that a `retry_config` stands for; what it leaves out has the contract's default.

    Raises:
        ValueError: a field is not what the contract allows; names it.
    """
    values = {name: _field(name, (config or {}).get(name)) for name in _FIELDS}
    return RetryPolicy(
        int(values["max_retries"]),
        int(values["initial_delay_ms"]),
        int(values["max_delay_ms"]),
        values["backoff_multiplier"],
    )


def _field(name: str, value: Any) -> float:
    about = _FIELDS[name]
    if value is None:
        return float(about["default"])
    right = isinstance(value, int | float) and not isinstance(value, bool)
    if right and about["type"] == "integer":
        right = value % 1 == 0
    if not right or not about["minimum"] <= value <= about["maximum"]:
        raise ValueError(
            f"retry_config.{name}: expected {about['type']} from {about['minimum']} to {about['maximum']},"
            f" found {str(value)[:40]}"
        )
    return float(value)


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """What a Retry-After header asks for (seconds or an HTTP date); None without one that can be read."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:10])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())

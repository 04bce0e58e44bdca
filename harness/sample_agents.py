"""The two sample agents that one tries an executor with, and their records in its registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from harness.agents import SAMPLES, Action, Echo, Script, Slow
from harness.client import ApiClient

_MOST_SECONDS = 60.0
_TIMEOUT_MS = 120_000


class PatientEcho:
    """Answers with its input, after as many seconds (60 at most) as the input's `delay_seconds` says."""

    def action(self, nth_of_agent: int, nth_of_task: int, input_data: Any) -> Action:  # noqa: ARG002
        delay = input_data.get("delay_seconds") if isinstance(input_data, dict) else None
        if not isinstance(delay, (int, float)) or isinstance(delay, bool) or delay <= 0:
            return Echo()
        return Slow(min(float(delay), _MOST_SECONDS), Echo())


SCRIPTS: Final[Mapping[str, Script]] = {**SAMPLES, "echo-agent": PatientEcho()}
_DESCRIPTIONS: Final = {
    "echo-agent": "Sample: answers with its input, after `delay_seconds` of it.",
    "test-agent": "Sample: answers with a `result` that names its input.",
}


def register(api: ApiClient, url_of: Callable[[str], str]) -> None:
    """Make the registry name both agents where `url_of(name)` says; what it says already is left as it is."""
    for name in SCRIPTS:
        record = {
            "name": name,
            "url": url_of(name),
            "description": _DESCRIPTIONS.get(name),
            "timeout_ms": _TIMEOUT_MS,
        }
        known = api.agent_named(name)
        if known is None:
            api.create_agent(record)
        elif any(known.get(field) != value for field, value in record.items()):
            api.replace_agent(known["id"], record)

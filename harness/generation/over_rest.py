"""What an API is asked about a run that has ended: to refuse what cannot be done any more, and to tell what happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.generation.making import Changed, Json, Making

_NO_STEP: Final = "there is no such step"
_CANCEL: Final = {"method": "POST", "path": "/runs/{{r.id}}/cancel", "body": {}, "status": {"one_of": [400, 409]}}
_RETRY: Final = {**_CANCEL, "path": "/runs/{{r.id}}/retry"}
_RETRY_FROM_NOWHERE: Final = {
    **_RETRY,
    "body": {"resume_from_step": _NO_STEP},
    "status": {"one_of": [400, 409, 422]},
}
_READ: Final = ("steps", "logs")


def misuse(making: Making) -> Changed | None:
    """A cancellation of what has ended (API-22), a retry of what has not failed (API-24), one from no step (RES-07)."""
    asked = making.choose.one_of((_CANCEL, _RETRY if making.status == "COMPLETED" else _RETRY_FROM_NOWHERE))
    return making.workflow, making.agents, (_after(making, asked),)


def clause_of_misuse(act: Mapping[str, Json]) -> str | None:
    """The clause by which an act of `misuse` is refused; None for any other act."""
    asked: Any = act.get("rest")
    if asked == _CANCEL:
        return "API-22"
    if asked == _RETRY:
        return "API-24"
    return "RES-07" if asked == _RETRY_FROM_NOWHERE else None


def read(making: Making) -> Changed | None:
    """The run's steps and log are read (API-20, API-25)."""
    asked = [{"method": "GET", "path": f"/runs/{{{{r.id}}}}/{what}", "status": 200} for what in _READ]
    return making.workflow, making.agents, tuple(_after(making, one) for one in asked)


def _after(making: Making, asked: Mapping[str, Json]) -> Mapping[str, Json]:
    return {"when": {"run": "r", "is": making.status}, "rest": asked}

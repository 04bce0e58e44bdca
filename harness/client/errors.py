"""How a request can fail, told apart by whose turn it is: nobody there, or an answer that refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class ApiError(Exception):
    """A request that did not get what it asked for."""


class ApiUnreachable(ApiError):
    """No answer came. What was asked may have been done all the same: the outcome is not known."""

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(f"the API at {url} does not answer: {cause}")
        self.url = url


@dataclass(frozen=True)
class Mistake:
    """One mistake in what was sent: a JSON Pointer into the body, or a parameter's name, and what is wrong there."""

    pointer: str
    message: str
    suggestion: str | None

    def __str__(self) -> str:
        where = f"{self.pointer}: " if self.pointer else ""
        return f"{where}{self.message}{f'; {self.suggestion}' if self.suggestion else ''}"


class ApiRefused(ApiError):
    """An answer of 4xx or 5xx, or one that is not what the contract says. The text is the problem's own."""

    def __init__(self, request: str, status: int, detail: str, errors: Sequence[Mistake], body: Any) -> None:
        further = [str(mistake) for mistake in errors]
        super().__init__(f"{request} was answered with {status}: " + "\n  ".join([detail, *further]))
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.body = body
        """The parsed body, or its text when it is no JSON."""


def refusal(request: str, status: int, body: Any) -> ApiRefused:
    """The error for an answer, from a problem body (RFC 9457) or, where there is none, from what there is."""
    if not isinstance(body, Mapping):
        return ApiRefused(request, status, str(body)[:500] or "without a body", (), body)
    detail = next((str(body[name]) for name in ("detail", "title", "message", "error") if body.get(name)), str(body))
    listed = body.get("errors")
    errors = [
        Mistake(str(entry.get("pointer", "")), str(entry.get("message", "")), entry.get("suggestion"))
        for entry in (listed if isinstance(listed, list) else ())
        if isinstance(entry, Mapping)
    ]
    return ApiRefused(request, status, detail, errors, body)

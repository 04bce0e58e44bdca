"""Problem bodies (RFC 9457): the one shape of every answer that is not a success."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

import orjson

CONTENT_TYPE = "application/problem+json"

_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with a request: where (JSON pointer into the body, or the parameter's name), what, and
    what may have been meant."""

    pointer: str
    message: str
    suggestion: str | None = None


class Problem(Exception):
    """Ends a request with a problem body.

    Args:
        status: the HTTP status, 4xx or 5xx.
        detail: what was expected, what was found and what to do next, for a person.
        errors: what exactly is wrong with a body or a parameter.
        headers: further headers of the answer.
        members: further members of the body, such as the id of what stands in the way.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[Mistake] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})

    def body(self) -> bytes:
        """The problem as JSON."""
        document: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = [asdict(mistake) for mistake in self.errors]
        return orjson.dumps(document | self.members)


def not_found(kind: str, identifier: str) -> Problem:
    """404 that names what was looked for, as much of it as fits."""
    return Problem(404, f"there is no {kind} {shown(identifier)}")


def unavailable(detail: str, *, members: Mapping[str, Any] | None = None) -> Problem:
    """503: nothing is wrong with the request, and it may be sent again."""
    return Problem(503, detail, headers={"Retry-After": "1"}, members=members)


def shown(value: object) -> str:
    """A value of the client's, quoted, with what is not printable escaped, and cut to a length that suits a message."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."

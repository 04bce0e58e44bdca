"""Reading path, query and header parameters: every value is checked before anything else sees it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from flask import request

from system.api.json_body import read_json, storable
from system.api.problems import Mistake, Problem, not_found, shown

T = TypeVar("T")
D = TypeVar("D")

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_LONGEST_ID = 200
_LONGEST_PAGE_NUMBER = 1_000_000
_LARGEST_ROW_ID = 2**63 - 1


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID in its hyphenated form."""
    return _UUID.fullmatch(text) is not None


def uuid_of(kind: str, text: str) -> UUID:
    """The id in a path; what has not the form of a UUID is the id of nothing (API-30)."""
    if not is_uuid(text):
        raise not_found(kind, text)
    return UUID(text)


def run_id_of(text: str) -> str:
    """The run_id in a path, compared exactly."""
    if len(text) > _LONGEST_ID or not storable(text):
        raise not_found("run", text)
    return text


def actor() -> str | None:
    """Who asks, as the header X-User says.

    Raises:
        Problem: 400 for a name that is too long or not printable.
    """
    given = request.headers.get("X-User")
    if not given:
        return None
    # HTTP hands headers over as Latin-1; what was sent as UTF-8 is read as that.
    with suppress(UnicodeError):
        given = given.encode("latin-1").decode()
    if len(given) > _LONGEST_ID or not given.isprintable() or not storable(given):
        raise Problem(400, f"X-User must be a printable name of at most {_LONGEST_ID} characters; found {shown(given)}")
    return given


def idempotency_key() -> str | None:
    """The header Idempotency-Key.

    Raises:
        Problem: 400 for a key that is empty, too long or not printable ASCII.
    """
    given = request.headers.get("Idempotency-Key")
    if given is not None and not _KEY.fullmatch(given):
        raise Problem(400, f"Idempotency-Key must be 1 to 255 characters of printable ASCII; found {shown(given)}")
    return given


def json_object(max_depth: int, *, required: bool = True) -> dict[str, Any]:
    """The body of the request; without one, `{}` where none is required.

    Raises:
        Problem: 413, 415, or as `read_json` says; 422 for JSON that is no object.
    """
    body = request.get_data(cache=False)
    if not body.strip() and not required:
        return {}
    if request.mimetype != "application/json" and not request.mimetype.endswith("+json"):
        raise Problem(415, f"the body must be sent as application/json; found {shown(request.mimetype)}")
    value = read_json(body, max_depth)
    if not isinstance(value, dict):
        raise Problem(422, "the body must be a JSON object", errors=[Mistake("", "must be an object")])
    return value


class Query:
    """The query parameters; mistakes are gathered, and `check` raises them all at once as a problem 422."""

    def __init__(self) -> None:
        self._mistakes: list[Mistake] = []

    def whole(self, name: str, default: int, lowest: int, highest: int) -> int:
        """A whole number within bounds."""
        wanted = f"must be a whole number from {lowest} to {highest}"

        def read(given: str) -> int:
            if not (given.isascii() and given.removeprefix("-").isdigit() and len(given) < 20):
                raise ValueError(wanted)
            if not lowest <= int(given) <= highest:
                raise ValueError(wanted)
            return int(given)

        return self._read(name, read, default)

    def page(self) -> tuple[int, int]:
        """`page` and `page_size` (API-17)."""
        return self.whole("page", 1, 1, _LONGEST_PAGE_NUMBER), self.whole("page_size", 20, 1, 100)

    def one_of(self, name: str, words: Sequence[str], default: D) -> str | D:
        """One of a few words."""

        def read(given: str) -> str:
            if given not in words:
                raise ValueError(f"must be one of {', '.join(words)}")
            return given

        return self._read(name, read, default)

    def text(self, name: str, longest: int = 250) -> str | None:
        """A text that the database can hold."""

        def read(given: str) -> str:
            if len(given) > longest or not storable(given):
                raise ValueError(f"must be a text of at most {longest} characters without U+0000")
            return given

        return self._read(name, read, None)

    def time(self, name: str) -> datetime | None:
        """An ISO 8601 time; one without offset is UTC."""
        return self._read(name, _time, None)

    def row_id(self, name: str) -> int | None:
        """The number behind an opaque mark that an earlier answer gave."""
        number = self.whole(name, -1, 0, _LARGEST_ROW_ID)
        return None if number < 0 else number

    def check(self) -> None:
        """Raise what was gathered."""
        if self._mistakes:
            raise Problem(422, "the query has parameters that cannot be used; see errors", errors=self._mistakes)

    def _read(self, name: str, read: Callable[[str], T], default: D) -> T | D:
        given = request.args.get(name)
        if given is None or given == "":
            return default
        try:
            return read(given)
        except (ValueError, OverflowError) as error:
            self._mistakes.append(Mistake(f"?{name}", f"{error}; found {shown(given)}"))
            return default


def _time(given: str) -> datetime:
    wanted = "must be a time in ISO 8601, such as 2025-03-04T10:15:30Z"
    if len(given) > 40:
        raise ValueError(wanted)
    try:
        # In a query an offset's plus sign arrives as a space unless it was escaped.
        time = datetime.fromisoformat(given.replace(" ", "+") if "T" in given else given)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(wanted) from None

"""The small bodies of execute, cancel and retry: a few fields, each read with its type."""

from __future__ import annotations

from typing import Any

from system.api.problems import Mistake, Problem


class Body:
    """A JSON object; mistakes are gathered, and `check` raises them all at once as a problem 422.

    Written out here and not left to a JSON Schema, since execute is the API's hot path and this costs microseconds;
    a test holds it to the schemas of the OpenAPI document.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._mistakes: list[Mistake] = []

    def object(self, name: str) -> dict[str, Any]:
        """An object; `{}` when it is not given."""
        value = self.document.get(name, {})
        if isinstance(value, dict):
            return value
        self._mistakes.append(Mistake(f"/{name}", "must be an object"))
        return {}

    def text(self, name: str, longest: int, shortest: int = 0) -> str | None:
        """A text with bounds to its length in characters; None when it is null or not given."""
        value = self.document.get(name)
        if value is None:
            return None
        if isinstance(value, str) and shortest <= len(value) <= longest:
            return value
        self._mistakes.append(Mistake(f"/{name}", f"must be a text of {shortest} to {longest} characters, or null"))
        return None

    def check(self) -> None:
        """Raise what was gathered."""
        if self._mistakes:
            raise Problem(422, "the body has fields that cannot be used; see errors", errors=self._mistakes)

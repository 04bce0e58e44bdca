"""Plans as runs keep them: each stored once, under the digest of its canonical JSON."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from typing import Any

import orjson

from system.definitions import Definition, InvalidDefinition, load_plan

_MOST_CACHED = 1000


def digest(plan: Any) -> str:
    """SHA-256, in hex, of a plan's JSON with sorted keys."""
    try:
        canonical = orjson.dumps(plan, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        canonical = json.dumps(plan, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(canonical).hexdigest()


class PlanCache:
    """Definitions by digest, most recently used, so that a plan is checked once and not once per run."""

    def __init__(self, most: int = _MOST_CACHED) -> None:
        self._most = most
        self._known: OrderedDict[str, Definition | InvalidDefinition] = OrderedDict()

    def get(self, plan_digest: str) -> Definition | None:
        """The definition of a plan that was seen before, else None.

        Raises:
            InvalidDefinition: the plan was seen before, and refused.
        """
        found = self._known.get(plan_digest)
        if found is not None:
            self._known.move_to_end(plan_digest)
        if isinstance(found, InvalidDefinition):
            raise found.with_traceback(None)
        return found

    def load(self, plan_digest: str, plan: Any) -> Definition:
        """The definition of a plan.

        Raises:
            InvalidDefinition: it cannot be executed, and why.
        """
        known = self.get(plan_digest)
        if known is not None:
            return known
        try:
            definition = load_plan(plan)
        except InvalidDefinition as error:
            self._keep(plan_digest, error)
            raise
        self._keep(plan_digest, definition)
        return definition

    def _keep(self, plan_digest: str, outcome: Definition | InvalidDefinition) -> None:
        self._known[plan_digest] = outcome
        if len(self._known) > self._most:
            self._known.popitem(last=False)

"""Accepting runs, cancellations and retries: row and outbox entry in one commit, then Kafka, then the answer (API-14).

The answer does not wait for Kafka. Whatever is not sent yet stands in the outbox, from where this process, or another
one after its death, sends it.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping
from sqlalchemy.exc import IntegrityError

from system import json_values
from system.api import store_runs, store_workflows
from system.api.database import Database, Uncertain, constraint_of
from system.api.messages import Plan, execution_request, plan_of
from system.api.problems import Problem, not_found, unavailable
from system.outbox import Outbox, encode
from system.ports import Clock, Message
from system.settings import Settings

_PLANS_KEPT = 1000
_DIGESTS_KEPT = 100_000
_PLAN_ATTEMPTS = 5
# What may wait in memory for Kafka. Beyond it a run would still be durable, but the process would grow without end.
_BACKLOG_LIMIT_BYTES = 256 * 1024 * 1024
_BACKLOG_LIMIT_ENTRIES = 200_000


@dataclass(frozen=True, slots=True)
class Accepted:
    """A run as it was accepted."""

    run_id: str
    workflow_id: str
    workflow_name: str
    definition_id: UUID
    created_at: datetime


class Backlog:
    """The outbox's sending side, with a bound on what waits in this process for Kafka."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._guard = threading.Lock()
        self._bytes = 0
        self._entries = 0

    @property
    def entries(self) -> int:
        """Entries that Kafka has not acknowledged yet."""
        return self._entries

    def admit(self) -> None:
        """Raise the problem 503 when too much waits already."""
        if self._bytes >= _BACKLOG_LIMIT_BYTES or self._entries >= _BACKLOG_LIMIT_ENTRIES:
            raise unavailable(f"{self._entries} accepted requests wait for Kafka; no more are taken until it is back")

    def send(self, entry_id: int, message: Message) -> None:
        """Hand over a committed entry; returns at once."""
        size = len(message.value)
        with self._guard:
            self._bytes += size
            self._entries += 1

        def sent() -> None:
            with self._guard:
                self._bytes -= size
                self._entries -= 1

        self._outbox.send(entry_id, [message], sent)


class _Plans:
    """The newest plans of definitions, and the digests that workflow_plans is known to hold."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._by_definition: OrderedDict[UUID, Plan] = OrderedDict()
        self._kept: set[str] = set()

    def get(self, definition_id: UUID) -> Plan | None:
        return self._by_definition.get(definition_id)

    def put(self, plan: Plan) -> None:
        with self._guard:
            self._by_definition[plan.definition_id] = plan
            self._by_definition.move_to_end(plan.definition_id)
            if len(self._by_definition) > _PLANS_KEPT:
                self._by_definition.popitem(last=False)

    def is_kept(self, plan: Plan) -> bool:
        return plan.digest in self._kept

    def note_kept(self, plan: Plan) -> None:
        with self._guard:
            if len(self._kept) >= _DIGESTS_KEPT:
                self._kept.clear()
            self._kept.add(plan.digest)


class Execution:
    """Starts runs."""

    def __init__(self, settings: Settings, database: Database, outbox: Outbox, backlog: Backlog, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._outbox = outbox
        self._backlog = backlog
        self._clock = clock
        self._plans = _Plans()

    def start(self, definition_id: UUID, input_data: Mapping[str, Any], triggered_by: str | None) -> Accepted:
        """Accept a run of the current version of a definition.

        Raises:
            Problem: 404 for a definition that is not there, 409 for one that is not active, 413 for a request that is
                too large to be published, 503 with the run_id when nobody can tell whether the run was accepted.
        """
        self._backlog.admit()
        run_id = f"run-{uuid.uuid4()}"
        encoded_input = json_values.dumps(input_data)
        for _ in range(_PLAN_ATTEMPTS):
            plan = self._plans.get(definition_id) or self._load(definition_id)
            begun = _Begun(self._settings, plan, run_id, encoded_input, self._clock.now(), triggered_by)
            entry = self._insert(begun)
            if entry is not None:
                self._plans.note_kept(plan)
                self._backlog.send(entry, begun.message)
                return begun.accepted
            self._load(definition_id)
        raise unavailable("the workflow is being changed over and over; try again")

    def start_once(
        self, definition_id: UUID, input_data: Mapping[str, Any], triggered_by: str | None, key: str, digest: str
    ) -> Accepted:
        """Accept a run, or return the one that was accepted under the same Idempotency-Key (API-36).

        Raises:
            Problem: as `start`, and 409 when the key was used with another body.
        """
        self._backlog.admit()
        run_id = f"run-{uuid.uuid4()}"
        encoded_input = json_values.dumps(input_data)
        begun: _Begun | None = None
        for _ in range(_PLAN_ATTEMPTS):
            earlier = self._database.read(lambda c: store_runs.keyed_run(c, definition_id, key))
            if earlier is not None:
                if begun is not None and earlier["run_id"] == run_id and earlier["outbox_id"] is not None:
                    # Our own commit took effect although its connection was lost: nobody has sent the entry yet.
                    self._backlog.send(earlier["outbox_id"], begun.message)
                return _accepted_earlier(earlier, digest)
            plan = self._load(definition_id)
            begun = _Begun(self._settings, plan, run_id, encoded_input, self._clock.now(), triggered_by)
            entry = self._insert_keyed(begun, key, digest)
            if entry is not None:
                self._plans.note_kept(plan)
                self._backlog.send(entry, begun.message)
                return begun.accepted
        raise unavailable("the workflow is being changed over and over; try again")

    def _insert(self, begun: _Begun) -> int | None:
        try:
            return self._database.statement(lambda connection, again: self._insert_once(connection, begun, again))
        except Uncertain as error:
            raise _look_it_up(begun) from error

    def _insert_once(self, connection: Connection, begun: _Begun, again: bool) -> int | None:
        values = begun.values(self._outbox.owner)
        try:
            return store_runs.start(connection, values, keep_plan=not self._plans.is_kept(begun.plan))
        except IntegrityError as error:
            if not again or constraint_of(error) != store_runs.RUN_ID:
                raise
            # The statement whose connection was lost had been committed after all.
            return store_runs.outbox_entry_of(connection, begun.run_id)

    def _insert_keyed(self, begun: _Begun, key: str, digest: str) -> int | None:
        def work(connection: Connection, _: bool) -> int:
            store_runs.keep_key(connection, begun.plan.definition_id, key, digest, begun.run_id)
            values = begun.values(self._outbox.owner)
            entry = store_runs.start(connection, values, keep_plan=not self._plans.is_kept(begun.plan))
            if entry is None:
                raise _PlanOutdated
            return entry

        try:
            return self._database.transaction(work)
        except _PlanOutdated:
            return None
        except IntegrityError as error:
            if constraint_of(error) != store_runs.IDEMPOTENCY_KEY:
                raise
            # Somebody else was first, or this very request before its connection was lost: read what became of it.
            return None
        except Uncertain as error:
            raise _look_it_up(begun) from error

    def _load(self, definition_id: UUID) -> Plan:
        row = self._database.read(lambda connection: store_workflows.get(connection, definition_id))
        if row is None:
            raise not_found("workflow", str(definition_id))
        if row["status"] != "active":
            raise Problem(409, f"the workflow {row['name']!r} is {row['status']}; only an active one can be executed")
        plan = self._plans.get(definition_id)
        if plan is None or plan.version != row["version"]:
            plan = plan_of(definition_id, row["version"], row["workflow_data"])
            self._plans.put(plan)
        return plan


def _accepted_earlier(row: RowMapping, digest: str) -> Accepted:
    if row["body_digest"] != digest:
        raise Problem(
            409,
            f"the Idempotency-Key was used with another body, for {row['run_id']}; take a new key",
            members={"run_id": row["run_id"]},
        )
    return Accepted(
        row["run_id"], row["workflow_id"], row["workflow_name"], row["workflow_definition_id"], row["created_at"]
    )


class _PlanOutdated(Exception):
    """Rolls a transaction back: the definition is not at the plan's version any more."""


class _Begun:
    """A run on its way into the database: same run_id and message however often that is tried."""

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        run_id: str,
        encoded_input: bytes,
        now: datetime,
        triggered_by: str | None,
    ) -> None:
        self.plan = plan
        self.run_id = run_id
        self.message = execution_request(settings.kafka_execution_topic, run_id, plan.encoded, encoded_input, now)
        refuse_oversize(self.message, settings.kafka_max_message_bytes)
        self.accepted = Accepted(run_id, plan.workflow_id, plan.name, plan.definition_id, now)
        self._input = encoded_input
        self._triggered_by = triggered_by

    def values(self, owner: int) -> dict[str, Any]:
        """Parameters of `store_runs.start`."""
        return {
            "definition_id": self.plan.definition_id,
            "version": self.plan.version,
            "owner": owner,
            "messages": encode([self.message]),
            "run_id": self.run_id,
            "workflow_id": self.plan.workflow_id,
            "workflow_name": self.plan.name,
            "input_data": self._input.decode(),
            "triggered_by": self._triggered_by,
            "created_at": self.accepted.created_at,
            "plan_digest": self.plan.digest,
            "plan": self.plan.encoded.decode(),
        }


def refuse_oversize(message: Message, limit_bytes: int) -> None:
    """Raise the problem 413 for a message that Kafka would refuse: its run would wait for ever."""
    if len(message.value) > limit_bytes:
        raise Problem(
            413,
            f"plan and input together make a message of {len(message.value)} bytes; at most {limit_bytes} can be sent",
        )


def _look_it_up(begun: _Begun) -> Problem:
    return unavailable(
        "the connection to the database was lost while the run was being written; look the run_id up before trying again",
        members={"run_id": begun.run_id},
    )

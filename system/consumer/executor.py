"""A batch from messages to committed rows and sent messages: load, decide, write, send."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from system.consumer.folding import Folded, Folding, Limits
from system.consumer.messages import CancellationRequest, ExecutionRequest
from system.consumer.rows import HeldRun, RunChange, record_of
from system.consumer.store import Conflict, ConsumerStore
from system.consumer.work import Item, Timer
from system.engine.decide import restore
from system.engine.definition import Definition, InvalidDefinition
from system.engine.state import RunState
from system.outbox import Outbox
from system.plans import PlanCache
from system.ports import Clock, Publisher

log = logging.getLogger(__name__)

_MOST_CONFLICTS = 50
_FOREIGN_ENTRY_SECONDS = 2.0


class Contended(SQLAlchemyError):
    """Others changed the same runs again and again; the same batch may succeed another time."""


class Executor:
    """Works batches in. Raises what the database raises; the loop knows what to do about it."""

    def __init__(
        self,
        store: ConsumerStore,
        outbox: Outbox,
        publisher: Publisher,
        clock: Clock,
        limits: Limits,
        *,
        most_cached_runs: int,
        plans: PlanCache | None = None,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._publisher = publisher
        self._clock = clock
        self._limits = limits
        self._plans = PlanCache() if plans is None else plans
        self._most_cached_runs = most_cached_runs
        self._cached: OrderedDict[str, HeldRun] = OrderedDict()

    def forget(self) -> None:
        """Believe nothing that was read earlier; after the database was away."""
        self._cached.clear()

    def execute(self, items: Sequence[Item], on_sent: Callable[[], None]) -> None:
        """Work a batch in. `on_sent` runs once everything that follows from it is durable and with Kafka."""
        self._until_no_conflict(items, on_sent, self._fold)

    def abort(self, item: Item, reason: str, on_sent: Callable[[], None]) -> None:
        """End the run of an item FAILED, since the item cannot be worked in."""

        def fold(held: HeldRun, items: Sequence[Item], now: datetime) -> Folded:
            folding = self._folding(held, items, now)
            return folding.abort(reason)

        self._until_no_conflict([item], on_sent, fold)

    def _until_no_conflict(
        self,
        items: Sequence[Item],
        on_sent: Callable[[], None],
        fold: Callable[[HeldRun, Sequence[Item], datetime], Folded],
    ) -> None:
        by_run: dict[str, list[Item]] = {}
        for item in items:
            by_run.setdefault(item.run_id, []).append(item)
        for round_number in range(_MOST_CONFLICTS):
            folded = self._decide(by_run, fold)
            try:
                self._write(list(folded.values()), on_sent)
                return
            except Conflict as conflict:
                log.debug("%s; deciding anew", conflict)
                for run_id in conflict.run_ids:
                    self._cached.pop(run_id, None)
                # The other one needs a moment to finish; whoever waits longer each time lets it.
                self._clock.sleep(min(0.002 * round_number, 0.1))
        raise Contended(f"a batch met changed rows {_MOST_CONFLICTS} times in a row")

    def _decide(
        self, by_run: dict[str, list[Item]], fold: Callable[[HeldRun, Sequence[Item], datetime], Folded]
    ) -> dict[str, Folded]:
        """What comes of each run's share. Only what is written meets the fence, so that what memory would have ignored
        is decided on again by the rows: another process may have carried the run on since."""
        held = self._hold(by_run)
        now = self._clock.now()
        folded = {run_id: fold(held[run_id], by_run[run_id], now) for run_id in by_run if run_id in held}
        doubtful = {run_id: by_run[run_id] for run_id in folded if not folded[run_id].change and run_id in self._cached}
        if doubtful:
            for run_id in doubtful:
                del self._cached[run_id]
            folded.update(self._decide(doubtful, fold))
        for run_id in by_run.keys() - folded.keys():
            folded[run_id] = Folded(None, timers_done=_timers(by_run[run_id]))
        return folded

    def _fold(self, held: HeldRun, items: Sequence[Item], now: datetime) -> Folded:
        try:
            return self._folding(held, items, now).fold(items)
        except Exception as error:
            # A defect of the engine must not stop other runs, and must not leave this one RUNNING for ever.
            log.exception("the run could not be decided on", extra={"run_id": held.state.run_id})
            return self._folding(held, items, now).abort(f"{type(error).__name__}: {error}")

    def _folding(self, held: HeldRun, items: Sequence[Item], now: datetime) -> Folding:
        folding = Folding(held, self._plans, self._limits, now)
        if held.is_new:
            folding.give_new_row(_first_request(items))
        return folding

    def _write(self, folded: Sequence[Folded], on_sent: Callable[[], None]) -> None:
        changes = [one.change for one in folded if one.change is not None]
        timers_done = [timer for one in folded for timer in one.timers_done]
        # Updates first: they tell of what has happened, the tasks of what follows from it.
        messages = [message for one in folded for message in one.updates]
        messages += [message for one in folded for message in one.tasks]
        if not changes and not timers_done:
            on_sent()
            return
        entry = self._store.write(changes, messages, timers_done)
        for change in changes:
            self._keep(change)
        if entry is None:
            on_sent()
        else:
            self._outbox.send(entry, messages, on_sent)

    def _keep(self, change: RunChange) -> None:
        state = change.state
        self._cached.pop(state.run_id, None)
        if state.status == "RUNNING" and self._most_cached_runs:
            self._cached[state.run_id] = HeldRun(
                state, change.held.revision + 1, "RUNNING", change.plan_digest, workflow_name=change.held.workflow_name
            )
            if len(self._cached) > self._most_cached_runs:
                self._cached.popitem(last=False)

    def _hold(self, by_run: dict[str, list[Item]]) -> dict[str, HeldRun]:
        """The runs of a batch: from memory, from their rows, or new. A run that is neither is left out."""
        held = {run_id: self._cached[run_id] for run_id in by_run if run_id in self._cached}
        wanted = [run_id for run_id in by_run if run_id not in held]
        if not wanted:
            return held
        held.update(self._load(wanted, by_run))
        unknown = [run_id for run_id in wanted if run_id not in held]
        if unknown:
            held.update(self._begin(unknown, by_run))
        self._await_others([run.awaits_outbox for run in held.values() if run.awaits_outbox is not None])
        return held

    def _load(self, run_ids: Sequence[str], by_run: dict[str, list[Item]]) -> dict[str, HeldRun]:
        rows = self._store.load_runs(run_ids)
        definitions = self._definitions(row["plan_digest"] for row in rows if row["plan_digest"] is not None)
        with_steps = [row["run_id"] for row in rows if _needs_steps(row, by_run[row["run_id"]])]
        steps = self._store.load_steps(with_steps)
        now = self._clock.now()
        found = {}
        for row in rows:
            records = [record_of(step) for step in steps.get(row["run_id"], ())]
            state = _state_of(row, definitions.get(row["plan_digest"]), records_generation(records))
            if state.definition is not None and records:
                state, _ = restore(state, records, now)
            found[row["run_id"]] = HeldRun(
                state,
                row["revision"],
                row["status"],
                row["plan_digest"],
                resume_from_step=row["resume_from_step"],
                awaits_outbox=row["awaits_outbox"],
                early_cancellation=row["early_cancellation"],
                early_cancelled_by=row["early_cancelled_by"],
                workflow_name=row["workflow_name"],
            )
        return found

    def _definitions(self, digests: Iterable[str]) -> dict[str, Definition]:
        wanted = set(digests)
        found: dict[str, Definition] = {}
        for plan_digest in wanted:
            try:
                known = self._plans.get(plan_digest)
            except InvalidDefinition:
                continue
            if known is not None:
                found[plan_digest] = known
        for plan_digest, plan in self._store.load_plans(wanted - found.keys()).items():
            try:
                found[plan_digest] = self._plans.load(plan_digest, plan)
            except InvalidDefinition as error:
                log.warning("a stored plan is not valid: %s", error)
        return found

    def _begin(self, run_ids: Sequence[str], by_run: dict[str, list[Item]]) -> dict[str, HeldRun]:
        """Runs without a row: begun by a request of the batch, else a cancellation is kept for them."""
        begun: dict[str, HeldRun] = {}
        waiting = [run_id for run_id in run_ids if any(isinstance(i.content, ExecutionRequest) for i in by_run[run_id])]
        early = self._store.early_cancellations(waiting) if waiting else {}
        for run_id in waiting:
            request = _first_request(by_run[run_id])
            state = RunState(run_id, "PENDING", None, None if request.flaw else request.input_data, self._clock.now())
            begun[run_id] = HeldRun(
                state,
                0,
                "PENDING",
                None,
                is_new=True,
                early_cancellation=run_id in early,
                early_cancelled_by=early.get(run_id),
            )
        appeared = [
            run_id for run_id in run_ids if run_id not in begun and not self._keep_cancellations(by_run[run_id])
        ]
        if appeared:
            begun.update(self._load(appeared, by_run))
        return begun

    def _keep_cancellations(self, items: Sequence[Item]) -> bool:
        """Keep the cancellations among the items of an unknown run; False when the run has appeared meanwhile."""
        for item in items:
            if not isinstance(item.content, CancellationRequest):
                log.info("%s for an unknown run is ignored", type(item.content).__name__, extra={"run_id": item.run_id})
            elif not self._store.keep_early_cancellation(item.content, self._clock.now()):
                return False
        return True

    def _await_others(self, entries: Sequence[int]) -> None:
        """Wait until what others owe to Kafka about these runs is sent, so that a run's messages keep their order.

        An entry of a dead process is taken over at once, that of a silent one after two seconds.
        """
        deadline = self._clock.monotonic() + 2 * _FOREIGN_ENTRY_SECONDS
        while entries and self._clock.monotonic() < deadline:
            self._outbox.sweep(entries, takeover_seconds=_FOREIGN_ENTRY_SECONDS)
            entries = self._outbox.still_owed_by_others(entries)
            if entries:
                self._publisher.poll(0.02)


def _timers(items: Sequence[Item]) -> list[tuple[str, str, str]]:
    """The timers among the items of a run that is no more: nothing else would ever clear them."""
    return [(i.run_id, i.content.kind, i.content.path) for i in items if isinstance(i.content, Timer)]


def records_generation(records: Sequence[Any]) -> int:
    """One more than the latest generation among the records of a run that is to go on; 0 when it has none."""
    return max((record.generation + 1 for record in records), default=0)


def _needs_steps(row: Any, items: Sequence[Item]) -> bool:
    if row["started_at"] is None:
        return False
    if row["status"] == "CANCELLED":
        return any(isinstance(item.content, CancellationRequest) for item in items)
    return row["status"] in ("PENDING", "RUNNING")


def _state_of(row: Any, definition: Definition | None, next_generation: int) -> RunState:
    pending = row["status"] == "PENDING"
    return RunState(
        run_id=row["run_id"],
        status=row["status"],
        definition=definition,
        input_data=row["input_data"],
        created_at=row["created_at"],
        # Whoever accepted the retry may not count: the rows of earlier generations tell as well.
        generation=max(row["generation"], next_generation) if pending else row["generation"],
        error_message=row["error_message"],
        clock=row["updated_at"],
        accepted_at=_accepted_at(row),
    )


def _accepted_at(row: Any) -> datetime | None:
    """When the run was accepted that is to go on. Somebody else than our API may have told so by updated_at alone."""
    known: datetime | None = row["accepted_at"]
    if row["status"] != "PENDING":
        return known
    updated: datetime = row["updated_at"]
    return updated if known is None else max(known, updated)


def _first_request(items: Sequence[Item]) -> ExecutionRequest:
    return next(item.content for item in items if isinstance(item.content, ExecutionRequest))

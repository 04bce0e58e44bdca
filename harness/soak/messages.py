"""Messages that come twice, late, from elsewhere, or are no messages at all, in between those of the runs."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from harness.history import HistoryWriter
from harness.runner.bench import Bench
from harness.soak.ledger import Ledger
from harness.soak.load import Load
from harness.soak.underway import UnderWay

_MOST_RUNS: Final = 20
_COUNT: Final = 20
_ENDED_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.02
_CORRUPT: Final = (
    b"", b"{", b"\xff\xfe\x00", b"null", b"[]", b'"text"', b"{}", b'{"run_id": 7}', b'{"run_id": null, "message_type": []}',
    b'{"run_id": "run-1", "workflow_plan": "none", "input_data": {}}', b'{"run_id": "run-1", "task_id": {}, "status": "DONE"}',
)  # fmt: skip


class BadMessages:
    """Used by one thread."""

    def __init__(self, bench: Bench, load: Load, ledger: Ledger, seed: int) -> None:
        self._bench = bench
        self._load = load
        self._ledger = ledger
        self._draw = random.Random(f"messages {seed}")
        self._scope = bench.observer.open(HistoryWriter(None), is_followed=False)

    def send(self, kind: str, topic: str) -> str:
        """Send some of a kind on a topic; `done`, or why there were none. Raises SetUpBroke when the broker takes none."""
        # What was sent before is forgotten: what comes of it by now, as on a topic of dead letters, is nobody's.
        self._bench.observer.close(self._scope)
        self._scope = self._bench.observer.open(HistoryWriter(None), is_followed=False)
        if kind in ("duplicate", "late"):
            runs = self._load.under_way() if kind == "duplicate" else self._some_ended()
            sent = sum(self._again(run, topic, is_late=kind == "late") for run in self._draw_some(runs))
        elif kind == "foreign":
            sent = sum(self._foreign(run, topic) for run in self._draw_some(self._load.under_way()))
        else:
            sent = self._corrupt(topic)
        with self._ledger.lock:
            self._ledger.counts.bad_messages += sent
        return "done" if sent else f"there was no run to send messages on {topic} of"

    def _draw_some(self, runs: Sequence[UnderWay]) -> Sequence[UnderWay]:
        return self._draw.sample(runs, min(len(runs), _MOST_RUNS))

    def _some_ended(self) -> Sequence[UnderWay]:
        """Runs that have ended just now; they are waited for a little."""
        until = time.monotonic() + _ENDED_SECONDS
        while not (found := self._load.ended()) and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        return found

    def _again(self, run: UnderWay, topic: str, *, is_late: bool) -> int:
        """All messages of the run on the topic once more, as they were."""
        with run.view.changed:
            chosen = [event for event in run.view.messages[topic] if event["value"] is not None]
        if is_late:
            run.touch()
        for event in chosen:
            raw = json.dumps(self._bench.binding.to_subject(topic, event["value"])).encode()
            self._bench.publisher.publish_raw(run.scope, topic, event["key"], raw, event["headers"])
        return len(chosen)

    def _foreign(self, run: UnderWay, topic: str) -> int:
        """About runs and tasks that do not exist: a task that the run has not, and a run that nobody has."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        nobody = f"run-{uuid.uuid4()}"
        if topic == "cancellations":
            cancellation = {
                "run_id": nobody, "cancelled_by": "nobody", "reason": None, "timestamp": now,
                "message_type": "cancellation_request",
            }  # fmt: skip
            self._bench.publisher.publish(self._scope, topic, run.id, cancellation)
            return 1
        for run_id, scope in ((run.id or nobody, run.scope), (nobody, self._scope)):
            value: dict[str, object] = {
                "run_id": run_id, "task_id": str(uuid.uuid4()), "status": "SUCCESS", "output_data": {"foreign": True},
                "correlation_id": run_id, "error_message": None, "timestamp": now,
            }  # fmt: skip
            self._bench.publisher.publish(scope, "results", run.id, value)
        return 2

    def _corrupt(self, topic: str) -> int:
        for _ in range(_COUNT):
            raw = self._bench.binding.raw_to_subject(topic, self._draw.choice(_CORRUPT))
            self._bench.publisher.publish_raw(self._scope, topic, f"bad-{self._draw.random()}", raw, {})
        return _COUNT

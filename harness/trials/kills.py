"""The kill trial: one part dies by SIGKILL every few seconds under load, and at the end everything is counted.

What must hold (contract section 6): every accepted run COMPLETED; no completed step dispatched again; agents called
again only for tasks whose result had not reached Kafka when something died, and then under the same idempotency key.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from harness.subject import RoleName
from harness.trials.bench import TERMINAL, Bench, bench, query, read_all, statuses, submit

Victim = Literal["consumer", "bridge", "api", "broker", "database"]
_QUIET_SECONDS = 90.0


@dataclass
class Verdict:
    """What a kill trial saw. `faults` holds one line for each thing that must not be."""

    victim: str
    runs: int
    kills: int
    seconds: float
    statuses: dict[str, int]
    calls: int
    repeated_calls: int
    published_tasks: int
    repeated_tasks: int
    recovery_seconds: list[float]
    faults: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.faults


def run(
    subject_file: Path,
    victim: Victim,
    *,
    runs: int = 2000,
    consumers: int = 3,
    bridges: int = 1,
    interval_seconds: float = 2.0,
    rate_per_second: float = 100.0,
    most_kills: int = 1000,
    say: Callable[[str], None] = print,
) -> Verdict:
    """Run the trial on a stack of its own."""
    counts: dict[RoleName, int] = {"consumer": consumers, "bridge": bridges, "api": 1}
    with bench(subject_file, counts, {"LOG_LEVEL": "WARNING"}, agent_delay_seconds=0.005) as place:
        submitted: list[str] = []
        stop = threading.Event()
        submitter = threading.Thread(target=submit, args=(place, runs, rate_per_second, submitted, stop))
        begun = time.monotonic()
        submitter.start()
        killer = _Killer(place, victim, interval_seconds, most_kills)
        try:
            ended = _until_all_ended(place, killer, submitter, submitted, runs, say)
        finally:
            stop.set()
            submitter.join()
            killer.mend()
        return _judge(place, victim, submitted, killer, ended - begun, runs)


class _Killer:
    """Kills and starts again, taking the processes of a role in turn. Times are of the epoch, in seconds."""

    def __init__(self, place: Bench, victim: Victim, interval_seconds: float, most_kills: int) -> None:
        self._most_kills = most_kills
        self._place = place
        self._victim = victim
        self._interval_seconds = interval_seconds
        self._next = time.monotonic() + interval_seconds
        self.kills: list[float] = []

    def act_when_due(self) -> None:
        """Kill and restart when the interval is over; the next one begins when the victim is up again."""
        if time.monotonic() < self._next or len(self.kills) >= self._most_kills:
            return
        self.kills.append(time.time())
        if self._victim in ("broker", "database"):
            part = self._place.stack.broker if self._victim == "broker" else self._place.stack.database
            part.kill()
            part.start()
        else:
            processes = self._place.subject.role(cast(RoleName, self._victim))
            process = processes[(len(self.kills) - 1) % len(processes)]
            process.kill()
            process.start(wait=False)
        self._next = time.monotonic() + self._interval_seconds

    def mend(self) -> None:
        """Leave everything running."""
        for process in self._place.subject.processes:
            if not process.is_running:
                process.start(wait=False)


def _until_all_ended(
    place: Bench,
    killer: _Killer,
    submitter: threading.Thread,
    submitted: list[str],
    runs: int,
    say: Callable[[str], None],
) -> float:
    """Kill until the last run has ended, or nothing has moved for a long time; returns when the last one ended."""
    last_done, moved = -1, time.monotonic()
    next_word = 0.0
    while True:
        if submitter.is_alive() or last_done < runs:
            killer.act_when_due()
        counts = statuses(place, list(submitted))
        done = sum(counts.get(status, 0) for status in TERMINAL)
        if done != last_done:
            last_done, moved = done, time.monotonic()
        if time.monotonic() >= next_word:
            say(f"{len(submitted)}/{runs} accepted, {len(killer.kills)} kills, {counts}")
            next_word = time.monotonic() + 5.0
        if not submitter.is_alive() and done >= len(submitted):
            return time.monotonic()
        if time.monotonic() - moved > _QUIET_SECONDS:
            say(f"nothing has moved for {_QUIET_SECONDS:.0f} s")
            return moved
        time.sleep(0.2)


def _judge(place: Bench, victim: str, submitted: list[str], killer: _Killer, seconds: float, runs: int) -> Verdict:
    counts = statuses(place, submitted)
    own = set(submitted)
    tasks = [task for task, _ in read_all(place, "orchestrator.tasks.http") if task.get("run_id") in own]
    results = [(value, at) for value, at in read_all(place, "results.topic") if value.get("run_id") in own]
    first_result: dict[str, float] = {}
    for value, at in results:
        first_result.setdefault(value["task_id"], at)
    calls = [call for call in place.agents.ledger() if call.correlation_id in own or call.task_id in first_result]
    by_task = Counter(call.task_id for call in calls)
    verdict = Verdict(
        victim=victim,
        runs=len(submitted),
        kills=len(killer.kills),
        seconds=seconds,
        statuses=counts,
        calls=len(calls),
        repeated_calls=sum(by_task.values()) - len(by_task),
        published_tasks=len(tasks),
        repeated_tasks=len(tasks) - len({task["task_id"] for task in tasks}),
        recovery_seconds=_recoveries(place, submitted, killer.kills),
    )
    if len(submitted) != runs:
        verdict.faults.append(f"{runs - len(submitted)} requests were never accepted")
    if counts != {"COMPLETED": len(submitted)}:
        verdict.faults.append(f"not every run is COMPLETED: {counts}")
    verdict.faults += _step_faults(place, submitted, tasks)
    verdict.faults += _call_faults(calls, first_result)
    return verdict


def _step_faults(place: Bench, submitted: list[str], tasks: list[dict[str, Any]]) -> list[str]:
    rows = query(
        place,
        "SELECT run_id, step_id, count(*), count(*) FILTER (WHERE status = 'COMPLETED') FROM step_executions "
        "WHERE run_id = ANY(%s) GROUP BY run_id, step_id",
        submitted,
    )
    faults = [
        f"step {step} of {run_id} has {count} rows, {done} COMPLETED"
        for run_id, step, count, done in rows
        if (count, done) != (1, 1)
    ]
    ids: dict[tuple[str, str], set[str]] = defaultdict(set)
    for task in tasks:
        ids[task["run_id"], task["agent_name"]].add(task["task_id"])
    faults += [
        f"{agent} was asked {len(found)} different tasks for {run_id}"
        for (run_id, agent), found in ids.items()
        if len(found) > 1
    ]
    return faults


def _call_faults(calls: list[Any], first_result: dict[str, float]) -> list[str]:
    faults = [
        f"task {c.task_id} was called with the idempotency key {c.idempotency_key}"
        for c in calls
        if c.idempotency_key != c.task_id
    ]
    seen: set[str] = set()
    for call in sorted(calls, key=lambda call: call.begun_wall):
        if call.task_id in seen and first_result.get(call.task_id, call.begun_wall) < call.begun_wall - 0.001:
            late = call.begun_wall - first_result[call.task_id]
            faults.append(f"task {call.task_id} was called again {late:.3f} s after its result was on Kafka")
        seen.add(call.task_id)
    return faults


def _recoveries(place: Bench, submitted: list[str], kills: list[float]) -> list[float]:
    """For each kill, how long the runs that were under way then took from it to their end (the slowest of them)."""
    rows = query(
        place,
        "SELECT extract(epoch FROM created_at)::float8, extract(epoch FROM completed_at)::float8 FROM workflow_runs "
        "WHERE run_id = ANY(%s) AND completed_at IS NOT NULL",
        submitted,
    )
    return [max((end - at for start, end in rows if start <= at < end), default=0.0) for at in kills]

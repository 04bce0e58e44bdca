"""The race trial: each run is cancelled at a random moment of its life; cancellation and completion must have one winner.

What must hold: a cancellation that was accepted ends its run CANCELLED, one that was refused leaves it COMPLETED, and REST,
rows and monitoring updates all tell the same.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from harness.client import ApiClient, ApiRefused
from harness.trials.bench import TERMINAL, Bench, await_ends, bench, query, read_all

_WORKERS = 4
_DEADLINE_SECONDS = 60.0


@dataclass
class Verdict:
    """What the race saw. `cancelled` and `completed` count the winners."""

    races: int
    cancelled: int
    completed: int
    faults: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.faults


def run(
    subject_file: Path, *, races: int = 500, consumers: int = 2, seed: int = 0, say: Callable[[str], None] = print
) -> Verdict:
    """Run the trial on a stack of its own. The same seed draws the same moments."""
    with bench(subject_file, {"consumer": consumers, "bridge": 1, "api": 1}, {"LOG_LEVEL": "WARNING"}) as place:
        _usual_seconds(place)
        usual_seconds = _usual_seconds(place)
        say(f"a run takes about {usual_seconds * 1000:.0f} ms; cancelling {races} runs within that time")
        moments = random.Random(seed)
        delays = [moments.uniform(0.0, usual_seconds) for _ in range(races)]
        with ThreadPoolExecutor(_WORKERS) as pool:
            accepted = dict(pool.map(lambda delay: _race(place, delay), delays))
        await_ends(place, list(accepted), _DEADLINE_SECONDS)
        return _judge(place, accepted)


def _usual_seconds(place: Bench) -> float:
    """How long a run takes when nobody cancels it, and four go at once."""

    def one(number: int) -> None:
        with ApiClient(place.subject.api_url) as client:
            await_ends(place, [client.execute(place.workflow_id, {"n": number})["run_id"]], _DEADLINE_SECONDS)

    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(one, range(20)))
    rows = query(
        place,
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM completed_at - created_at))::float8 "
        "FROM (SELECT * FROM workflow_runs WHERE completed_at IS NOT NULL ORDER BY created_at DESC LIMIT 20) AS newest",
    )
    return float(rows[0][0])


def _race(place: Bench, delay_seconds: float) -> tuple[str, bool]:
    """(run_id, whether its cancellation was accepted)."""
    with ApiClient(place.subject.api_url) as client:
        run_id = client.execute(place.workflow_id, {"n": 1})["run_id"]
        time.sleep(delay_seconds)
        try:
            client.cancel(run_id, "race")
        except ApiRefused as refusal:
            if refusal.status not in (400, 409):
                raise
            return run_id, False
        return run_id, True


def _judge(place: Bench, accepted: dict[str, bool]) -> Verdict:
    rows = dict(query(place, "SELECT run_id, status FROM workflow_runs WHERE run_id = ANY(%s)", list(accepted)))
    open_steps = query(
        place,
        "SELECT run_id, step_id FROM step_executions WHERE run_id = ANY(%s) AND status = 'RUNNING'",
        list(accepted),
    )
    with ApiClient(place.subject.api_url) as client:
        told = {run_id: client.run(run_id)["status"] for run_id in accepted}
    ends = _announced_ends(place, accepted)
    counts = list(rows.values())
    verdict = Verdict(len(accepted), counts.count("CANCELLED"), counts.count("COMPLETED"))
    for run_id, was_accepted in accepted.items():
        wanted = "CANCELLED" if was_accepted else "COMPLETED"
        row, rest, updates = rows.get(run_id), told[run_id], ends[run_id]
        if row != wanted or rest != wanted:
            verdict.faults.append(
                f"{run_id}: cancel was {'accepted' if was_accepted else 'refused'}, row {row}, REST {rest}"
            )
        if updates - {wanted}:
            verdict.faults.append(f"{run_id} is {wanted}, but updates say {sorted(updates)}")
    verdict.faults += [f"{run_id} has ended, its step {step} is RUNNING" for run_id, step in open_steps]
    return verdict


def _announced_ends(place: Bench, accepted: dict[str, bool]) -> dict[str, set[str]]:
    """Run → terminal statuses that run-scope updates told of, once as many updates are there as will come."""
    ends: dict[str, set[str]] = defaultdict(set)
    for update, _ in read_all(place, "workflow.monitoring.updates"):
        is_run = (update.get("metadata") or {}).get("scope") == "run" and update["step_id"] == update["run_id"]
        if is_run and update["run_id"] in accepted and update["status"] in TERMINAL:
            ends[update["run_id"]].add(update["status"])
    return ends

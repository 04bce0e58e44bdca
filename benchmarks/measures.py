"""The three measures: one run at a time, a backlog drained, and runs submitted while they are worked on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from benchmarks.contender import Entrant
from benchmarks.measurement import Measurement, percentile
from benchmarks.processes import Meter
from benchmarks.workload import Workload

_POLL_SECONDS = 0.02
_SHOWN_CHARACTERS = 300
_USUAL_STEPS = 3
# A payload of so many bytes counts as much as a call without one.
_HEAVY_PAYLOAD_BYTES = 20_000
# Of the runs of the usual workload, others get this part, at the same work.
_FURTHER_SHARE = 2
_QUIET_SECONDS = 120.0
# Of one call of the agent, with all that the engine does around it.
_SECONDS_PER_CALL = 0.25
# Of so many runs the outcome is compared, after each measure; those of all are counted.
_COMPARED_RUNS = 100


@dataclass(frozen=True)
class Sizes:
    """How much is measured. `submitters` is how many clients submit at the same time."""

    runs: int = 2000
    latency_runs: int = 200
    warm_up_runs: int = 200
    submitters: int = 4

    def scaled_to(self, workload: Workload) -> Sizes:
        """Fewer runs of what is more work, so that no workload takes much longer than another; never more than these."""
        work = workload.steps * (1 + workload.payload_bytes / _HEAVY_PAYLOAD_BYTES)

        def fewer(runs: int, at_least: int) -> int:
            return min(runs, max(at_least, int(runs * _USUAL_STEPS / work / _FURTHER_SHARE)))

        return Sizes(fewer(self.runs, 100), fewer(self.latency_runs, 20), fewer(self.warm_up_runs, 10), self.submitters)


@dataclass(frozen=True)
class Seat:
    """What a measure is told: who is measured, with what, in which repetition, and the processes of the place by role."""

    contender: str
    repetition: int
    entrant: Entrant
    workload: Workload
    place_roles: Mapping[str, Sequence[int]]
    sizes: Sizes

    def meter(self) -> Meter:
        """Over the entrant's processes, those of the place and our own."""
        return Meter({**self.entrant.roles, **self.place_roles, "driver": [os.getpid()]})

    def measurement(self, measure: str, runs: int, values: Mapping[str, float], meter: Meter) -> Measurement:
        """What the meter says by now, with the values."""
        cpu, peak, foreign = meter.read()
        per_run = {role: seconds * 1000 / runs for role, seconds in cpu.items()}
        return Measurement(self.contender, measure, self.repetition, dict(values), per_run, peak, foreign)


def warm_up(seat: Seat) -> None:
    """Have connections opened, definitions read and code run before anything is measured."""
    before = seat.entrant.completed()
    with seat.entrant.submitter() as submit:
        for number in range(seat.sizes.warm_up_runs):
            submit(number)
    _drain(seat, seat.sizes.warm_up_runs, None)
    _check(seat, before + seat.sizes.warm_up_runs)
    for way in seat.entrant.ways().values():
        way(min(10, seat.sizes.warm_up_runs))


def latency(seat: Seat) -> Measurement:
    """One run at a time, each way in which one can be asked for; CPU and memory are those of the first way."""
    runs = seat.sizes.latency_runs
    before = seat.entrant.completed()
    (_, front_door), *others = seat.entrant.ways().items()
    meter = seat.meter()
    seconds = front_door(runs)
    measured = seat.measurement("latency", runs, _percentiles("", seconds), meter)
    _check(seat, before + runs)
    further = {key: value for name, way in others for key, value in _percentiles(f"{name}_", way(runs)).items()}
    return Measurement(
        **{**vars(measured), "values": {**measured.values, **further}},
    )


def backlog(seat: Seat) -> Measurement:
    """Runs that have all been accepted before the first is begun."""
    runs, entrant = seat.sizes.runs, seat.entrant
    before = entrant.completed()
    entrant.lay_backlog(0, runs)
    meter = seat.meter()
    begun = time.perf_counter()
    entrant.release()
    _drain(seat, runs, meter)
    seconds = time.perf_counter() - begun
    measured = seat.measurement("backlog", runs, {"runs_per_second": runs / seconds, "seconds": seconds}, meter)
    _check(seat, before + runs)
    return measured


def submission(seat: Seat) -> Measurement:
    """Runs that are submitted one by one, by a few clients at once, while the engine works on them."""
    runs, entrant = seat.sizes.runs, seat.entrant
    before = entrant.completed()
    meter = seat.meter()
    begun = time.perf_counter()
    submit_all(entrant, runs, seat.sizes.submitters)
    submitted_seconds = time.perf_counter() - begun
    _drain(seat, runs, meter)
    seconds = time.perf_counter() - begun
    values = {
        "runs_per_second": runs / seconds,
        "submitted_per_second": runs / submitted_seconds,
        "seconds": seconds,
    }
    measured = seat.measurement("submission", runs, values, meter)
    _check(seat, before + runs)
    return measured


MEASURES: Final[Mapping[str, Callable[[Seat], Measurement]]] = {
    "latency": latency,
    "backlog": backlog,
    "submission": submission,
}


def submit_all(entrant: Entrant, runs: int, submitters: int) -> None:
    """Submit runs from several threads, each with its own client; returns when all are accepted."""

    def submit_some(offset: int) -> None:
        with entrant.submitter() as submit:
            for number in range(offset, runs, submitters):
                submit(number)

    with ThreadPoolExecutor(submitters) as pool:
        for outcome in pool.map(submit_some, range(submitters)):
            assert outcome is None


def _percentiles(prefix: str, seconds: Sequence[float]) -> dict[str, float]:
    return {f"{prefix}p{percent}_ms": percentile(seconds, percent) * 1000 for percent in (50, 99)}


def _drain(seat: Seat, runs: int, meter: Meter | None) -> None:
    """Wait until nothing is left. Raises TimeoutError when that takes unreasonably long."""
    deadline = time.monotonic() + _QUIET_SECONDS + runs * seat.workload.steps * _SECONDS_PER_CALL
    while not seat.entrant.is_drained():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{runs} runs have not all ended in time; look into the logs of their engine")
        if meter is not None:
            meter.sample()
        time.sleep(_POLL_SECONDS)


def _check(seat: Seat, expected: int) -> None:
    """A throughput with lost, failed or wrong runs in it is none. Raises RuntimeError."""
    found = seat.entrant.completed()
    if found != expected:
        raise RuntimeError(f"{seat.contender}: {expected} runs should have ended well by now, {found} have")
    ended = seat.entrant.ended(_COMPARED_RUNS)
    if len(ended) != min(expected, _COMPARED_RUNS):
        raise RuntimeError(
            f"{seat.contender}: the outcomes of {min(expected, _COMPARED_RUNS)} runs should be there, {len(ended)} are"
        )
    for run in ended:
        if run.output != (right := seat.workload.expected_output(run.given)):
            raise RuntimeError(
                f"{seat.contender}: a run gave back {_shortened(run.output)}; expected {_shortened(right)}"
            )


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"

"""Where the time of a run goes: the reference's processes, sampled by py-spy while they drain a backlog or take runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.contender import Entrant
from benchmarks.measures import MEASURES, Seat, Sizes, warm_up
from benchmarks.reference import Reference
from benchmarks.trial import place
from benchmarks.workload import Workload

_RATE_HZ = 200
_END_SECONDS = 30.0
_TOP = 14
# Above this share a function is only the way to the others.
_TRIVIAL_SHARE = 0.95
# Where threads wait for work, which the sampler cannot always tell from working.
_WAITING: Final = (
    "Condition.wait (", "_worker (", "EpollSelector.select (", "poll2 (", "KafkaSubscription.poll (", "KafkaPublisher.poll (",
    "Event.wait (", "_poll_forever (", "wait (threading",
)  # fmt: skip
# Which measure makes which role work.
_PROFILED: Final[Mapping[str, tuple[str, ...]]] = {"backlog": ("consumer", "bridge"), "submission": ("api",)}


@dataclass(frozen=True)
class Sampled:
    """Stacks of one process, outermost call first, with how often each was seen while it was on a CPU."""

    stacks: Counter[tuple[str, ...]]

    @property
    def total(self) -> int:
        """All samples."""
        return self.stacks.total()

    def own(self) -> Counter[str]:
        """By function, the samples in which it was the innermost one."""
        counted: Counter[str] = Counter()
        for stack, count in self.stacks.items():
            counted[stack[-1]] += count
        return counted

    def inclusive(self, wanted: Callable[[str], bool]) -> Counter[str]:
        """By function, the samples in which it or something that it called ran; of the functions that are wanted."""
        counted: Counter[str] = Counter()
        for stack, count in self.stacks.items():
            for function in {frame for frame in stack if wanted(frame)}:
                counted[function] += count
        return counted


def read_stacks(text: str) -> Sampled:
    """What `py-spy record --format raw --function` writes: frames separated by `;`, then a count, a stack on a line.

    Threads that wait for work are left out; one that waits for the database is not, since a run waits with it.
    """
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        if not count.isdecimal() or not frames:
            continue
        stack = tuple(_plain(frame) for frame in frames.split(";"))
        if not stack[-1].startswith(_WAITING):
            stacks[stack] += int(count)
    return Sampled(stacks)


def profile_reference(workload: Workload, sizes: Sizes, out: Path, say: Callable[[str], None]) -> str:
    """Sample consumer and bridge under a backlog, the API under submission; gives Markdown, and keeps the raw stacks.

    Raises RuntimeError when py-spy is not there or is not allowed to look.
    """
    program = shutil.which("py-spy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if program is None:
        raise RuntimeError("py-spy is not installed here; `nox -s bench -- --profile` installs it")
    parts = []
    with place() as (where, roles, _), Reference().start(where, workload) as entrant:
        seat = Seat("reference", 0, entrant, workload, roles, sizes)
        warm_up(seat)
        for measure, profiled in _PROFILED.items():
            found = _sample(program, seat, measure, profiled, out)
            for role, sampled in found.items():
                say(f"{role}: {sampled.total} samples under {measure}")
                parts.append(as_markdown(role, measure, sampled))
    return "\n\n".join(parts) + "\n"


def _sample(program: str, seat: Seat, measure: str, roles: Iterable[str], out: Path) -> dict[str, Sampled]:
    paths = {role: out / f"stacks-{role}.txt" for role in roles}
    recorders = {role: _recorder(program, seat.entrant, role, path) for role, path in paths.items()}
    try:
        MEASURES[measure](seat)
    finally:
        for recorder in recorders.values():
            # As Ctrl-C would: it stops sampling and writes what it has.
            with suppress(ProcessLookupError):
                recorder.send_signal(signal.SIGINT)
        said = {role: recorder.communicate(timeout=_END_SECONDS)[0] for role, recorder in recorders.items()}
    for role, path in paths.items():
        if not path.exists():
            raise RuntimeError(f"py-spy wrote no samples of the {role}; it said: {said[role]}")
    return {role: read_stacks(path.read_text(encoding="utf-8")) for role, path in paths.items()}


def _recorder(program: str, entrant: Entrant, role: str, path: Path) -> subprocess.Popen[str]:
    path.unlink(missing_ok=True)
    arguments = ["record", "--pid", str(entrant.roles[role][0]), "--rate", str(_RATE_HZ), "--format", "raw"]
    return subprocess.Popen(
        [program, *arguments, "--function", "--duration", "600", "--output", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def as_markdown(role: str, measure: str, sampled: Sampled) -> str:
    """Two tables: the project's own functions with all that they call, and whatever was innermost."""
    ours = sampled.inclusive(_is_telling)
    for name in [name for name, count in ours.items() if count > _TRIVIAL_SHARE * sampled.total]:
        del ours[name]
    tables = [
        f"**{role}**, {measure}, {sampled.total:,} samples at {_RATE_HZ} Hz without those of waiting threads.",
        "With all that they call:",
        _table(ours, sampled.total),
        "Innermost:",
        _table(sampled.own(), sampled.total),
    ]
    return "\n\n".join(tables)


def _is_telling(frame: str) -> bool:
    """Whether it is a function of the reference, and not only the way to the others or a part of one without a name."""
    return (
        "(system/" in frame and "(system/__main__" not in frame and not frame.startswith("serve (") and "<" not in frame
    )


def _table(counted: Counter[str], total: int) -> str:
    rows = [f"| `{name}` | {count / max(total, 1):.1%} |" for name, count in counted.most_common(_TOP)]
    return "\n".join(["| function | share |", "| --- | ---: |", *rows])


def _plain(frame: str) -> str:
    """`work (site-packages/x/y.py)` with a path that says nothing of this machine."""
    name, _, path = frame.partition(" (")
    if not path:
        return frame
    parts = Path(path.removesuffix(")")).parts
    for mark in ("site-packages", "system", "lib"):
        if mark in parts:
            at = parts.index(mark)
            return f"{name} ({'/'.join(parts[at if mark == 'system' else at + 1 :])})"
    return f"{name} ({'/'.join(parts[-2:])})"

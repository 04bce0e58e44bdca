"""What is done to a subject's processes while generated runs are under way: it is felt by all of them, and so it belongs to a
batch and not to a run."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from harness.history import Event
from harness.observer import Observer
from harness.runner.bench import Bench
from harness.runner.errors import NotSupported, SetUpBroke
from harness.stack import StackError
from harness.subject import SubjectError

WORDS: Final = ("kill", "stop", "restart", "add", "remove")
ROLES: Final = ("consumer", "consumer", "bridge", "api")
_MOST_CALLS: Final = 120
_READY_SECONDS: Final = 90.0
_FELT_SECONDS: Final = 15.0
_REMEMBERED: Final = 40
_BESIDE_SECONDS: Final = 2.0
"""How long one that was added works beside the others; one that is removed leaves as soon as it is ready."""


@dataclass(frozen=True)
class Disturbance:
    """`word` is done to the processes of `role` once the runs of a batch have made so many calls of agents; what was ended is
    started again at once."""

    word: str
    role: str
    after_calls: int

    def __str__(self) -> str:
        return f"{self.word} {self.role} after {self.after_calls} calls"


def disturbance_of(seed: int, one_in: int, roles: Sequence[str]) -> Disturbance | None:
    """What is done while the batch of this seed is under way: to one batch in so many, and the same for the same seed; None for
    the others, and where the subject has none of the roles. `one_in` 0: never."""
    chance = random.Random(f"disturbance of {seed}")
    chosen = [role for role in ROLES if role in roles]
    if not one_in or not chosen or chance.randrange(one_in):
        return None
    return Disturbance(chance.choice(WORDS), chance.choice(chosen), chance.randint(1, _MOST_CALLS))


class Disturber:
    """Does what is to be done once its moment has come; one thing at a time. Its methods belong to the fleet's thread."""

    def __init__(self, bench: Bench, one_in: int) -> None:
        self._bench = bench
        self._one_in = one_in
        self._calls: Counter[int] = Counter()
        self._met: set[int] = set()
        self._thread: threading.Thread | None = None
        self._role: str | None = None
        self._fan = _Fan(bench.observer)
        self._over_at = 0.0
        self.done: Counter[str] = Counter()
        """What was done, and how often."""

        self.trouble: str | None = None
        """Why the subject did not come back, in a sentence; nothing more is done then."""

        self.not_supported: str | None = None

    @property
    def is_busy(self) -> bool:
        """Whether processes are away, or on their way back."""
        return self._thread is not None

    @property
    def is_felt(self) -> bool:
        """Whether a run that begins now may feel what was done."""
        return self.is_busy or time.monotonic() - self._over_at < _FELT_SECONDS

    @property
    def recent(self) -> Sequence[tuple[str, dict[str, Any]]]:
        """What happened to processes in the disturbance that is felt, as (kind, fields) of events."""
        return self._fan.recent if self.is_felt else ()

    def heard(self, seed: int, event: Event) -> None:
        """An event of a run of this batch."""
        if event.source == "agent" and event.kind == "call":
            self._calls[seed] += 1

    def tick(self, *, is_acting: bool) -> bool:
        """Begin what is due; whether one has just ended. What is done to the API waits until no request is under way: a request
        that is cut has no outcome that one could hold the subject to."""
        if self._thread is not None:
            if self._thread.is_alive():
                return False
            self._thread.join()
            self._thread = None
            self._over_at = time.monotonic()
            return True
        for seed in [seed for seed in self._calls if seed not in self._met]:
            wanted = disturbance_of(seed, self._one_in, self._bench.roles)
            if wanted is None:
                self._met.add(seed)
            elif self._calls[seed] >= wanted.after_calls and not (wanted.role == "api" and is_acting):
                self._met.add(seed)
                if self.trouble is None and self.not_supported is None:
                    self._begin(wanted)
                return False
        return False

    def awaits_silence(self) -> bool:
        """Whether nothing further is to be begun, since the API is about to be ended, or is away. What is done to others meets
        runs at whatever point they are, and those that begin meanwhile."""
        if self.is_busy:
            return self._role == "api"
        for seed, calls in self._calls.items():
            if seed not in self._met:
                wanted = disturbance_of(seed, self._one_in, self._bench.roles)
                if wanted is not None and wanted.role == "api" and calls >= wanted.after_calls:
                    return True
        return False

    def join(self) -> None:
        """Wait until what was begun is over."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _begin(self, wanted: Disturbance) -> None:
        self._fan.recent.clear()
        self._role = wanted.role
        self.done[f"{wanted.word} {wanted.role}"] += 1
        self._thread = threading.Thread(target=self._do, args=(wanted,), name="disturber", daemon=True)
        self._thread.start()

    def _do(self, wanted: Disturbance) -> None:
        processes, fan = self._bench.processes, self._fan
        told: Any = fan
        try:
            match wanted.word:
                case "kill" | "stop":
                    getattr(processes, wanted.word)(told, wanted.role, None)
                    processes.start(told, wanted.role, None)
                case "restart":
                    processes.restart(told, wanted.role, None)
                case _:
                    processes.add(told, wanted.role)
                    self._await_ready(wanted.role)
                    if wanted.word == "add" and wanted.role != "api":
                        time.sleep(_BESIDE_SECONDS)
                    processes.remove(told, wanted.role)
            self._await_ready(wanted.role)
            processes.restore()
        except NotSupported as error:
            self.not_supported = str(error)
        except (SetUpBroke, StackError, SubjectError, RetryError) as error:
            self.trouble = f"after {wanted} the subject did not come back: {error}"

    def _await_ready(self, role: str) -> None:
        Retrying(
            retry=retry_if_result(lambda lacking: lacking is not None),
            stop=stop_after_delay(_READY_SECONDS),
            wait=wait_fixed(0.1),
        )(self._bench.processes.lacking, role, self._fan)


class _Fan:
    """Tells every history that is open, and remembers it for those that begin while it is still felt."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.recent: list[tuple[str, dict[str, Any]]] = []

    def add(self, source: Any, kind: str, _run: str | None = None, **data: Any) -> None:
        """An event of all of them."""
        if len(self.recent) < _REMEMBERED:
            self.recent.append((kind, data))
        self._observer.scopes.tell_all(source, kind, **data)

"""Parts that die are started again, and everything is given up when that does not help."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable

from harness.stack import EmbeddedStack
from harness.subject import RunningSubject
from harness.subject.errors import ending

MOST_DEATHS = 3
WITHIN_SECONDS = 60.0


class GivenUp(Exception):
    """A part dies again and again."""


class Upkeep:
    """Looks after the servers of a stack and the processes of a subject."""

    def __init__(
        self,
        stack: EmbeddedStack,
        running: RunningSubject,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``tell`` is given what happens, for a person to read."""
        self._stack = stack
        self._running = running
        self._tell = tell
        self._clock = clock
        self._deaths: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=MOST_DEATHS))

    def look(self) -> None:
        """Start again what has died since the last look.

        Raises:
            GivenUp: a part has died three times within a minute.
            StackError: a server does not come up again.
            SubjectError: a process cannot be started again.
        """
        for name, server in (("PostgreSQL", self._stack.database), ("Kafka", self._stack.broker)):
            if server.pid is None:
                self._note(name, "has ended by itself", server.log_tail())
                server.start()
                self._tell(f"{name} serves again.")
        for process in self._running.died():
            self._note(process.name, ending(process.exit_code), process.log_tail())
            # Not waited for: another part may be what it needs.
            process.start(wait=False)

    def _note(self, name: str, how: str, log_tail: str) -> None:
        self._running.keep_logs()
        deaths = self._deaths[name]
        deaths.append(self._clock())
        told = f"{name} {how}. The end of its log:\n{log_tail}"
        if len(deaths) == MOST_DEATHS and deaths[-1] - deaths[0] <= WITHIN_SECONDS:
            raise GivenUp(
                f"{told}\n{name} has died {MOST_DEATHS} times within a minute, so everything was ended. "
                f"The logs are in {self._running.log_directory}."
            )
        self._tell(f"{told}\nStarting {name} again.")

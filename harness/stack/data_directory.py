"""A data directory belongs to one stack at a time."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from harness.stack.errors import DataDirectoryUnusable
from harness.stack.warden_process import birth_of

LOCK_NAME = ".plumbline-stack.lock"
WAIT_SECONDS = 8.0
_POLL_SECONDS = 0.1


class HeldDirectory:
    """A directory, made where missing, and locked until :meth:`release`.

    The servers inherit the lock's descriptor, so that the directory stays locked while one of them still lives, even
    when the process that started them has been killed.
    """

    def __init__(self, directory: Path) -> None:
        """Take the directory, waiting a while for the servers of a killed stack to end.

        Raises :class:`DataDirectoryUnusable`.
        """
        if set(str(directory)) & {",", "\\", "\n"}:
            raise DataDirectoryUnusable(
                f"The data directory {str(directory)!r} has a comma, a backslash or a line break in its name, which "
                "the broker's configuration cannot hold. Choose another."
            )
        self.directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self.descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DataDirectoryUnusable(
                f"The data directory {directory} cannot be used: {error.strerror}. Choose another."
            ) from error
        deadline = time.monotonic() + WAIT_SECONDS
        while not self._is_locked():
            if self._owner_lives() or time.monotonic() > deadline:
                os.close(self.descriptor)
                raise DataDirectoryUnusable(
                    f"The data directory {directory} is in use by another stack. Stop that one, or choose another."
                )
            time.sleep(_POLL_SECONDS)
        os.truncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()} {birth_of(os.getpid())}".encode(), 0)

    def release(self) -> None:
        """Let another stack have the directory."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)

    def _is_locked(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False

    def _owner_lives(self) -> bool:
        """Whether the process that started the other stack is alive, so that waiting is in vain."""
        fields = os.pread(self.descriptor, 100, 0).decode().split()
        # Nothing is written yet, or was written by one that is gone by now.
        return len(fields) == 2 and birth_of(int(fields[0])) == fields[1]

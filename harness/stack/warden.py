"""Nothing is left behind: a small process that outlives its parent just long enough to clean up after it.

The parent holds the write end of a pipe, the warden the read end. When the parent ends, by whatever means, kill -9
included, the kernel closes the write end, and the warden ends every process and removes every directory that was put
under its watch. An orderly end is the same: :meth:`Warden.close` closes the pipe and waits for the warden.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.stack import warden_process
from harness.stack.errors import StackError

CLOSE_SECONDS = 30.0


class Warden:
    """Watches over processes and temporary directories; usable by itself, without a stack."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(16)
        self._lock = threading.Lock()
        # The read end goes to the warden as its standard input; Python's descriptors are close-on-exec, so no
        # other child inherits the write end and keeps the pipe open after us.
        read_end, self._write_end = os.pipe()
        # The warden inherits the mask, so that no signal that is meant for its parent ends it, not even before it has
        # got as far as to ignore them.
        unmasked = signal.pthread_sigmask(signal.SIG_BLOCK, warden_process.SURVIVED_SIGNALS)
        try:
            # In a session of its own, so that the terminal's Ctrl-C does not reach it.
            self._process = subprocess.Popen(
                [sys.executable, "-P", warden_process.__file__, self._token, str(os.getpid())],
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            os.close(self._write_end)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)
            os.close(read_end)
        self._open = True

    @property
    def pid(self) -> int:
        """The process id of the warden itself."""
        return self._process.pid

    def environment(self) -> Mapping[str, str]:
        """Variables to add to a child's environment, so that it is found even if it was never registered.

        They close the gap between the start of a child and its :meth:`adopt`, and find descendants that have left
        their parent's family.
        """
        return {"PLUMBLINE_WARDEN": self._token}

    def adopt(self, pid: int, first_signal: int = signal.SIGKILL) -> None:
        """Put a running process, its group and its descendants under watch.

        ``first_signal`` is sent before SIGKILL, three seconds ahead, unless it is SIGKILL. A pid that no longer
        exists is ignored: there is nothing to end.
        """
        birth = warden_process.birth_of(pid)
        if birth is not None:
            self._send({"op": "adopt", "pid": pid, "birth": birth, "signal": int(first_signal)})

    def release(self, pid: int) -> None:
        """Take a process from the watch, after its end or because it shall stay."""
        self._send({"op": "release", "pid": pid}, is_needed=False)

    def temporary_directory(self, parent: Path | None = None) -> Path:
        """Make a directory that is removed, with all in it, when the warden's watch ends."""
        directory = (parent or Path(tempfile.gettempdir())) / f"plumbline-{secrets.token_hex(4)}"
        # Told before it is made, so that there is no moment in which our death would leave it behind.
        self._send({"op": "directory", "path": str(directory)})
        directory.mkdir(mode=0o700)
        (directory / warden_process.MARKER_NAME).write_text(self._token)
        return directory

    def forget_directory(self, directory: Path) -> None:
        """Leave a directory alone, because it has been removed already."""
        self._send({"op": "forget_directory", "path": str(directory)}, is_needed=False)

    def close(self) -> None:
        """End everything that is still under watch and wait until it is gone; harmless the second time.

        Raises :class:`StackError` when something refused to go.
        """
        with self._lock:
            if not self._open:
                return
            self._open = False
            os.close(self._write_end)
        exit_code = self._process.wait(CLOSE_SECONDS)
        if exit_code != 0:
            raise StackError(
                f"The warden (process {self.pid}) ended with exit code {exit_code}: a process or a temporary "
                f"directory under its watch would not go. Look for plumbline-* in {tempfile.gettempdir()}."
            )

    def _send(self, order: dict[str, object], *, is_needed: bool = True) -> None:
        line = json.dumps(order).encode() + b"\n"
        with self._lock:
            if not self._open:
                raise StackError("This warden was closed; make a new one to watch over further processes.")
            try:
                # Shorter than PIPE_BUF, so written whole.
                os.write(self._write_end, line)
            except BrokenPipeError as error:
                # A warden that is gone watches over nothing, which is all that a release asks for.
                if not is_needed:
                    return
                raise StackError(
                    f"The warden (process {self.pid}) is gone: somebody ended it, so nothing would be cleaned up "
                    "after this process. Start again."
                ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

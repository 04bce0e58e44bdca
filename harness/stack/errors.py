"""What can go wrong with a stack; every message says what was found and what to do next."""

from __future__ import annotations


class StackError(Exception):
    """The stack cannot do what was asked of it. The message is meant for the person at the terminal."""


class PortTaken(StackError):
    """A port that was asked for, or handed out, is held by another process."""

    def __init__(self, port: int, purpose: str) -> None:
        super().__init__(
            f"Port {port} on 127.0.0.1, wanted for {purpose}, is held by another process. "
            "Stop that process, ask for another port, or leave the port out to get a free one."
        )
        self.port = port


class NoJavaRuntime(StackError):
    """There is no Java runtime for this platform, or it cannot be run."""


class NoServerBinaries(StackError):
    """There are no PostgreSQL binaries for this platform, or they cannot be run."""


class NoSpace(StackError):
    """The file system is full."""


class CacheNotWritable(StackError):
    """Something must be stored in the cache directory, and the directory refuses."""


class DownloadFailed(StackError):
    """A jar could not be fetched, or what arrived is not what the lock names."""


class NoNetwork(DownloadFailed):
    """The repository could not be reached at all."""


class LockUnreadable(StackError):
    """The list of locked jars is not in its format."""


class DataDirectoryUnusable(StackError):
    """The data directory is in use by another stack, or the database's user cannot reach it."""


class ServerDied(StackError):
    """A server ended while it was needed."""

    def __init__(self, name: str, exit_code: int | None, log_tail: str) -> None:
        super().__init__(
            f"{name} ended with exit code {exit_code} before it was ready. The end of its log:\n{log_tail}"
        )
        self.log_tail = log_tail


class NotReadyInTime(StackError):
    """A server runs but did not serve before its deadline."""


class NotRunning(StackError):
    """A fault was asked of a server that is not running."""


class NotInOurHands(StackError):
    """A fault was asked of a stack that somebody else runs."""


class NoEngine(StackError):
    """There is no Docker engine that this user may speak to, or nothing to speak to it with."""


class NoImage(StackError):
    """An image is neither there nor to be had."""


class NamesInUse(StackError):
    """On a stack that somebody else runs, somebody uses the very names that the subject would."""

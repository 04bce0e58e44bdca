"""A disk of its own for the data of one server, so small that it can be filled up without harm to anybody else."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from harness.stack.errors import NotInOurHands, StackError
from harness.stack.log_since import LogSince
from harness.stack.stack import Part

_MIB: Final = 1024 * 1024
_COMMAND_SECONDS: Final = 120.0
_BALLAST: Final = "ballast"
NO_SPACE: Final = "No space left on device"
"""What a server's log says when it has noticed."""


class PartWithData(Part, Protocol):
    """A server that tells where its data are."""

    @property
    def data_directory(self) -> Path:
        """Where its data are."""

    @property
    def log_path(self) -> Path:
        """The server's log."""


class SmallDisk:
    """A disk in memory with the data of a server on it. Made and ended by `small_disk`."""

    def __init__(self, root: Path, part: PartWithData, free_mib: int) -> None:
        self._root = root
        self._log = LogSince(part.log_path)
        self._make_dense(free_mib)

    def fill(self) -> int:
        """Take all the space that is left; gives how many bytes that were."""
        taken = 0
        with (self._root / _BALLAST).open("wb", buffering=0) as ballast:
            chunk = b"\0" * _MIB
            # In ever smaller parts, until not a byte fits any more.
            while chunk:
                try:
                    taken += ballast.write(chunk)
                except OSError:
                    chunk = chunk[: len(chunk) // 2]
        return taken

    def free(self) -> None:
        """Let the space go again."""
        (self._root / _BALLAST).unlink(missing_ok=True)

    def was_noticed(self) -> bool:
        """Whether the server's log says that it has found no space since the disk was made."""
        return NO_SPACE.encode() in self._log.read()

    def _make_dense(self, free_mib: int) -> None:
        """Give the files of the running server all the space that they seem to have, and leave it so much more.

        A page of a mapped file that has no space yet ends in SIGBUS when the disk is full. Kafka 4.4 takes that, in an index,
        for a passing error after the message was written: it writes the next one with the same offset, which no consumer gets
        past again. What is put to the test here is the subject, with a broker that finds its disk full where it looks for that.
        """
        files = _files(self._root)
        _resize(self._root, sum(max(found.st_size, _space(found)) for found in files.values()) + free_mib * _MIB)
        for path, found in files.items():
            if _space(found) < found.st_size:
                with contextlib.suppress(FileNotFoundError), path.open("r+b", buffering=0) as file:
                    os.posix_fallocate(file.fileno(), 0, found.st_size)


@contextlib.contextmanager
def small_disk(part: Part, free_mib: int) -> Iterator[SmallDisk]:
    """Stop a server of an embedded stack, start it again on a small disk with so much space left, and bring it back to where
    its data were at the end. What it wrote meanwhile it keeps.

    The disk is a tmpfs: that takes Linux, and the right to mount. It is unmounted when this process dies, too; the data are
    then those of before.

    Raises:
        NotInOurHands: the server is somebody else's, or nothing can be mounted here; says why.
        StackError: the server does not come back.
    """
    if not isinstance(getattr(part, "data_directory", None), Path):
        raise NotInOurHands(
            "The disk of a server in a container, or of one that somebody else runs, cannot be filled from here."
        )
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NotInOurHands("A disk is filled only on Linux as root: a small one is mounted for it.")
    known: PartWithData = part  # type: ignore[assignment]
    data = known.data_directory
    aside, root = data.with_name(data.name + ".aside"), data.with_name(data.name + ".disk")
    root.mkdir()
    part.stop()
    with contextlib.ExitStack() as undo:
        undo.callback(part.start)
        undo.callback(root.rmdir)
        undo.enter_context(_mounted(root, sum(map(_space, _files(data).values())) + free_mib * _MIB))
        _copy(data, root / "data")
        data.rename(aside)
        data.symlink_to(root / "data", target_is_directory=True)
        undo.callback(_bring_back, data, aside, root / "data")
        undo.callback(part.stop)
        part.start()
        disk = SmallDisk(root, known, free_mib)
        undo.callback(disk.free)
        yield disk


@contextlib.contextmanager
def _mounted(root: Path, size_bytes: int) -> Iterator[None]:
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0711", "tmpfs", str(root))
    except StackError as error:
        raise NotInOurHands(f"No small disk can be mounted here, so none is filled: {error}") from error
    # Whoever reads from a pipe whose other end is gone goes on, and takes the mount away, however we have ended.
    guard = subprocess.Popen(
        ["sh", "-c", 'read -r _; exec umount -l "$1"', "sh", str(root)], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        guard.communicate(timeout=_COMMAND_SECONDS)


def _resize(root: Path, size_bytes: int) -> None:
    _run("mount", "-o", f"remount,size={size_bytes}", str(root))


def _bring_back(data: Path, aside: Path, on_disk: Path) -> None:
    newer = data.with_name(data.name + ".newer")
    _copy(on_disk, newer)
    data.unlink()
    newer.rename(data)
    shutil.rmtree(aside)


def _copy(source: Path, target: Path) -> None:
    """With owners, modes and holes."""
    _run("cp", "--archive", "--sparse=always", str(source), str(target))


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"{command[0]} could not be run: {error}") from error
    if done.returncode != 0:
        raise StackError(f"{' '.join(command[:1])} failed: {done.stderr.strip():.300}")


def _files(directory: Path) -> dict[Path, os.stat_result]:
    """What a server keeps, which may drop some of it while we look."""
    found = {}
    for folder, _, names in os.walk(directory):
        for path in (Path(folder, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISREG((state := path.lstat()).st_mode):
                    found[path] = state
    return found


def _space(state: os.stat_result) -> int:
    return state.st_blocks * 512

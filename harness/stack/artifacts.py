"""The jars of the broker: fetched once, checked against the lock, kept in the cache directory.

The lock, ``kafka-jars.lock`` beside this file, names every jar with its size and SHA-256; nothing is resolved at a
start, so what runs is what was locked. ``python -m harness.stack lock`` writes it anew
(see :mod:`harness.stack.locking`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from harness.stack.errors import (
    CacheNotWritable,
    DownloadFailed,
    LockUnreadable,
    NoNetwork,
    NoSpace,
    StackError,
)
from harness.stack.progress import Advance, ProgressDisplay

LOCK_PATH = Path(__file__).with_name("kafka-jars.lock")
LOCK_COMMAND = "python -m harness.stack lock"
FETCH_TIMEOUT_SECONDS = 20
OTHER_START_SECONDS = 600
_CONCURRENT_FETCHES = 6
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class LockedJar:
    """One jar of the lock: Maven coordinate ``group:artifact:version``, size in bytes, SHA-256 in hex."""

    coordinate: str
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """The jar's name in the cache."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


Fetch = Callable[[str, Path, Advance], Path]
"""Fetches the jar of a coordinate into a directory, tells the bytes as they arrive, returns the file."""


def read_lock(path: Path = LOCK_PATH) -> list[LockedJar]:
    """Read the locked jars. Raises :class:`LockUnreadable` with file and line."""
    jars = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) != 3 or fields[0].count(":") != 2 or not fields[1].isdigit() or len(fields[2]) != 64:
            raise LockUnreadable(
                f"{path}:{number}: expected 'group:artifact:version size sha256', found {line!r}. "
                f"Write the lock anew with: {LOCK_COMMAND}"
            )
        jars.append(LockedJar(fields[0], int(fields[1]), fields[2]))
    if not jars:
        raise LockUnreadable(f"{path} names no jar. Write the lock anew with: {LOCK_COMMAND}")
    return jars


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_from_repository(coordinate: str, directory: Path, advance: Advance) -> Path:
    """Fetch one jar from the public Maven repository into ``directory``.

    Raises :class:`NoNetwork` when nothing answers, :class:`DownloadFailed` when the answer is not the file.
    """
    # Imported here: later starts need neither of them.
    import requests
    from jgo.maven import MavenContext, PythonResolver

    @contextlib.contextmanager
    def report(_file_name: str, _total_bytes: int) -> Iterator[Advance]:
        yield advance

    context = MavenContext(
        resolver=PythonResolver(progress_callback=report), repo_cache=directory, timeout=FETCH_TIMEOUT_SECONDS
    )
    try:
        return context.create_dependency(coordinate).artifact.resolve()
    except (requests.ConnectionError, requests.Timeout) as error:
        raise NoNetwork(
            f"The Maven repository could not be reached for {coordinate} ({type(error).__name__}). The first start "
            "needs the network once, later starts do not. Check the connection and any proxy settings, start again; "
            "what has arrived so far is kept."
        ) from error
    except (requests.RequestException, RuntimeError) as error:
        raise DownloadFailed(
            f"{coordinate} could not be fetched: {error}. Start again; what has arrived so far is kept."
        ) from error


def ensure_jars(
    jars: list[LockedJar],
    cache_directory: Path,
    progress: ProgressDisplay,
    fetch: Fetch = fetch_from_repository,
) -> list[Path]:
    """All locked jars as files of the cache, checked, in the order of the lock; fetches what is missing.

    Any number of processes may do this at once: one fetches, the others wait for it. A file that is not what the
    lock names is deleted and fetched anew. Raises the errors of :mod:`harness.stack.errors`.
    """
    store = cache_directory / "jars"
    with _telling_storage_errors(cache_directory):
        # A cache that is complete need not be writable.
        if not _missing(jars, store):
            return [store / jar.file_name for jar in jars]
        store.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(store / ".lock", timeout=OTHER_START_SECONDS):
                missing = _missing(jars, store)
                if missing:
                    _fetch_all(missing, store, progress, fetch)
        except Timeout as error:
            raise StackError(
                f"Another process has held {store / '.lock'} for {OTHER_START_SECONDS} s. "
                "See whether its download is stuck, end it, and start again."
            ) from error
    return [store / jar.file_name for jar in jars]


def _missing(jars: list[LockedJar], store: Path) -> list[LockedJar]:
    def is_whole(jar: LockedJar) -> bool:
        path = store / jar.file_name
        try:
            return path.stat().st_size == jar.size_bytes and sha256_of(path) == jar.sha256
        except (FileNotFoundError, NotADirectoryError):
            return False

    with ThreadPoolExecutor(max_workers=2) as pool:
        return [jar for jar, whole in zip(jars, pool.map(is_whole, jars), strict=True) if not whole]


def _fetch_all(missing: list[LockedJar], store: Path, progress: ProgressDisplay, fetch: Fetch) -> None:
    # We hold the lock, so whatever another process has left half done is nobody's any more.
    for leftover in store.glob("incoming-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    incoming = Path(tempfile.mkdtemp(prefix="incoming-", dir=store))
    given_up = threading.Event()
    total_bytes = sum(jar.size_bytes for jar in missing)
    try:
        with progress.download(f"{len(missing)} jars of Kafka", total_bytes) as advance:

            def advance_unless_given_up(byte_count: int) -> None:
                if given_up.is_set():
                    raise DownloadFailed("The download was given up.")
                advance(byte_count)

            pool = ThreadPoolExecutor(max_workers=_CONCURRENT_FETCHES)
            try:
                fetched = [
                    pool.submit(_fetch_one, jar, incoming, store, fetch, advance_unless_given_up) for jar in missing
                ]
                for ended in wait(fetched, return_when=FIRST_EXCEPTION).done:
                    ended.result()
            except BaseException:
                given_up.set()
                raise
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _fetch_one(jar: LockedJar, incoming: Path, store: Path, fetch: Fetch, advance: Advance) -> None:
    directory = incoming / jar.sha256
    directory.mkdir()
    arrived = fetch(jar.coordinate, directory, advance)
    found = sha256_of(arrived)
    if found != jar.sha256:
        size_bytes = arrived.stat().st_size
        arrived.unlink()
        raise DownloadFailed(
            f"{jar.coordinate}: expected {jar.size_bytes} bytes with SHA-256 {jar.sha256}, found {size_bytes} bytes "
            f"with {found}. The file was deleted. Start again; if it happens again, something between here and the "
            "repository changes files, or the lock is wrong."
        )
    # The data must be on disk before the name is, or a power cut leaves a whole name on half a file.
    with arrived.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(arrived, store / jar.file_name)


@contextlib.contextmanager
def _telling_storage_errors(cache_directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"No space left for the jars of Kafka in {cache_directory}. "
                "Free about 100 MiB there, or set PLUMBLINE_CACHE_DIR to a folder elsewhere."
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENOENT):
            raise CacheNotWritable(
                f"The cache directory {cache_directory} cannot be used ({error.strerror}), and the jars of Kafka "
                "cannot be stored in it. Set PLUMBLINE_CACHE_DIR to a folder that can be written."
            ) from error
        raise

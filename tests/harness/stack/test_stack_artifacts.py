"""The jars: only what the lock names is ever used, and whatever goes wrong is said."""

from __future__ import annotations

import errno
import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.stack import CacheNotWritable, DownloadFailed, LockUnreadable, NoSpace, SilentProgress
from harness.stack.artifacts import LockedJar, ensure_jars, read_lock
from harness.stack.locking import KAFKA_VERSION, LEFT_OUT
from harness.stack.progress import Advance, LineProgress

REPOSITORY = Path(__file__).parents[3]
CONTENTS = {f"org.example:part{number}:1.0": f"jar {number}".encode() * 100 for number in range(5)}
JARS = [
    LockedJar(coordinate, len(content), hashlib.sha256(content).hexdigest()) for coordinate, content in CONTENTS.items()
]


class Repository:
    """Hands out the contents, counts the fetches, and may falsify one of them."""

    def __init__(self, falsified: str | None = None) -> None:
        self.fetched: list[str] = []
        self._falsified = falsified
        self._lock = threading.Lock()

    def fetch(self, coordinate: str, directory: Path, advance: Advance) -> Path:
        with self._lock:
            self.fetched.append(coordinate)
        content = CONTENTS[coordinate]
        if coordinate == self._falsified:
            content = content[:-1] + b"!"
        path = directory / "arrived.jar"
        path.write_bytes(content)
        advance(len(content))
        return path


def test_missing_jars_are_fetched_once_and_then_never(tmp_path: Path) -> None:
    """The first call fetches all, the second none; both give the same files in the order of the lock."""
    repository = Repository()
    first = ensure_jars(JARS, tmp_path, SilentProgress(), repository.fetch)
    assert sorted(repository.fetched) == sorted(CONTENTS)
    assert [path.read_bytes() for path in first] == list(CONTENTS.values())
    later = Repository()
    assert ensure_jars(JARS, tmp_path, SilentProgress(), later.fetch) == first
    assert later.fetched == []


def test_a_jar_that_is_not_what_the_lock_names_is_refused_and_deleted(tmp_path: Path) -> None:
    """The message names the jar, both checksums and what to do; a start after that fetches it anew."""
    victim = JARS[2]
    with pytest.raises(DownloadFailed, match=rf"part2:1.0: expected .*{victim.sha256}.*deleted. Start again"):
        ensure_jars(JARS, tmp_path, SilentProgress(), Repository(falsified=victim.coordinate).fetch)
    assert not (tmp_path / "jars" / victim.file_name).exists()
    assert list((tmp_path / "jars").glob("incoming-*")) == []
    again = Repository()
    ensure_jars(JARS, tmp_path, SilentProgress(), again.fetch)
    assert victim.coordinate in again.fetched


def test_a_jar_that_was_spoiled_in_the_cache_is_fetched_anew(tmp_path: Path) -> None:
    """What runs is what was locked, also when the cache was changed behind our back."""
    files = ensure_jars(JARS, tmp_path, SilentProgress(), Repository().fetch)
    spoiled = files[1].read_bytes()
    files[1].write_bytes(spoiled[:-1] + b"?")
    repository = Repository()
    ensure_jars(JARS, tmp_path, SilentProgress(), repository.fetch)
    assert repository.fetched == [JARS[1].coordinate]
    assert files[1].read_bytes() == spoiled


def test_several_first_starts_at_once_fetch_each_jar_once(tmp_path: Path) -> None:
    """One process fetches while the others wait, and all see whole files."""
    program = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from harness.stack import SilentProgress
from harness.stack.artifacts import ensure_jars
from test_stack_artifacts import JARS, CONTENTS, Repository
repository = Repository()
files = ensure_jars(JARS, Path({str(tmp_path)!r}), SilentProgress(), repository.fetch)
assert [path.read_bytes() for path in files] == list(CONTENTS.values())
print(len(repository.fetched))
"""
    command = [sys.executable, "-c", program]
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) for _ in range(3)]
    outputs = [start.communicate(timeout=60)[0] for start in starts]
    assert [start.returncode for start in starts] == [0, 0, 0]
    assert sorted(int(output) for output in outputs) == [0, 0, len(JARS)]


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    """The message names the folder and the setting that moves it."""

    def fetch(_coordinate: str, _directory: Path, _advance: Advance) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(NoSpace, match=f"{tmp_path}.*PLUMBLINE_CACHE_DIR"):
        ensure_jars(JARS, tmp_path, SilentProgress(), fetch)


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The message names the folder and the setting that moves it."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    with pytest.raises(CacheNotWritable, match=f"{in_the_way}.*PLUMBLINE_CACHE_DIR"):
        ensure_jars(JARS, in_the_way / "cache", SilentProgress(), Repository().fetch)


def test_a_first_start_tells_how_far_it_is(tmp_path: Path) -> None:
    """Where there is no terminal, plain lines say what is downloaded and that it is done."""
    log = tmp_path / "log"
    with log.open("w") as stream:
        ensure_jars(JARS, tmp_path, LineProgress(stream), Repository().fetch)
    first, last = log.read_text().splitlines()
    assert first.startswith("Downloading 5 jars of Kafka")
    assert "done" in last


@pytest.mark.parametrize("line", ["org.example:part 12 abc", "org.example:part:1 twelve " + "0" * 64, "nonsense"])
def test_a_lock_that_is_not_in_its_format_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    """File and line are named, and the command that writes the lock anew."""
    lock = tmp_path / "kafka-jars.lock"
    lock.write_text(f"# comment\n{line}\n")
    with pytest.raises(LockUnreadable, match=r"kafka-jars.lock:2: .*harness.stack lock"):
        read_lock(lock)


def test_the_lock_holds_the_broker_of_the_version_it_was_written_for() -> None:
    """The lock in the repository belongs to the roots in the code."""
    coordinates = [jar.coordinate for jar in read_lock()]
    assert coordinates[0] == f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
    assert not [coordinate for coordinate in coordinates if coordinate.rsplit(":", 1)[0] in LEFT_OUT]
    assert len(set(coordinates)) == len(coordinates)

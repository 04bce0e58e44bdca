"""Builds the sequential executor: jars by their checksums, classes by a compiler that is a jar itself, a start script.

A Java runtime comes from a wheel that the project needs anyway, so that nothing has to be installed by hand.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from filelock import FileLock

from harness import settings
from harness.stack.artifacts import LockedJar, ensure_jars, read_lock
from harness.stack.java import java_program
from harness.stack.progress import SilentProgress

HERE: Final = Path(__file__).parent
SOURCES: Final = HERE / "src"
BUILD: Final = HERE / "build"
_COMPILER: Final = "org.eclipse.jdt:ecj"
_OF_THE_BROKER: Final = (
    "org.apache.kafka:kafka-clients",
    "com.fasterxml.jackson.core:jackson-annotations",
    "com.fasterxml.jackson.core:jackson-core",
    "com.fasterxml.jackson.core:jackson-databind",
    "org.slf4j:slf4j-api",
    "org.slf4j:slf4j-simple",
    "at.yawk.lz4:lz4-java",
    "com.github.luben:zstd-jni",
    "org.xerial.snappy:snappy-java",
)
_COMPILE_SECONDS: Final = 120
# It lives for seconds at a time, so it is tuned to start and not to last.
_OPTIONS: Final = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xmx256m",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


class BuildFailed(Exception):
    """The sources do not compile; with what the compiler says."""


def build() -> Path:
    """The start script of the executor, made anew when a source or a jar has changed.

    Raises:
        StackError: a jar could not be had, or there is no Java runtime for this platform.
        BuildFailed: the sources do not compile.
    """
    java = java_program()
    jars = _jars()
    files = dict(zip(jars, ensure_jars(jars, settings.cache_directory(), SilentProgress()), strict=True))
    compiler = next(path for jar, path in files.items() if jar.coordinate.startswith(f"{_COMPILER}:"))
    libraries = [path for path in files.values() if path != compiler]
    script, mark = BUILD / "executor", BUILD / "built"
    wanted = _digest(java, files.values())
    BUILD.mkdir(exist_ok=True)
    with FileLock(BUILD / ".lock", timeout=_COMPILE_SECONDS):
        if not (script.exists() and mark.exists() and mark.read_text() == wanted):
            mark.unlink(missing_ok=True)
            _compile(java, compiler, libraries)
            _write_script(script, java, libraries)
            mark.write_text(wanted)
    return script


def _jars() -> list[LockedJar]:
    of_the_broker = [jar for jar in read_lock() if jar.coordinate.rpartition(":")[0] in _OF_THE_BROKER]
    assert len(of_the_broker) == len(_OF_THE_BROKER), "the broker's lock names other jars"
    return [*read_lock(HERE / "jars.lock"), *of_the_broker]


def _sources() -> Iterator[Path]:
    yield from sorted(SOURCES.iterdir())


def _digest(java: Path, jars: Iterable[Path]) -> str:
    told = hashlib.sha256(f"{java}{_OPTIONS}{sorted(map(str, jars))}".encode())
    for source in _sources():
        told.update(source.name.encode())
        told.update(source.read_bytes())
    return told.hexdigest()


def _compile(java: Path, compiler: Path, libraries: Sequence[Path]) -> None:
    classes = BUILD / "classes"
    with tempfile.TemporaryDirectory(dir=BUILD) as directory:
        fresh = Path(directory) / "classes"
        compiling = subprocess.run(
            [
                java, "-XX:TieredStopAtLevel=1", "-cp", compiler, "org.eclipse.jdt.internal.compiler.batch.Main",
                "-21", "-proc:none", "-nowarn", "-encoding", "UTF-8", "-cp", os.pathsep.join(map(str, libraries)),
                "-d", fresh, *(path for path in _sources() if path.suffix == ".java"),
            ],
            capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False,
        )  # fmt: skip
        if compiling.returncode != 0:
            raise BuildFailed(f"The sources in {SOURCES} do not compile:\n{compiling.stdout}{compiling.stderr}")
        for path in _sources():
            if path.suffix != ".java":
                shutil.copy(path, fresh)
        shutil.rmtree(classes, ignore_errors=True)
        fresh.rename(classes)


def _write_script(script: Path, java: Path, libraries: Sequence[Path]) -> None:
    class_path = os.pathsep.join(map(str, (BUILD / "classes", *libraries)))
    words = [str(java), *_OPTIONS, "-cp", class_path, "Executor"]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    script.chmod(0o755)

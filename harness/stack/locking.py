"""Writes ``kafka-jars.lock``: resolves the broker's jars once, fetches them, and notes their sizes and checksums."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.stack.artifacts import LOCK_COMMAND, LOCK_PATH, LockedJar, fetch_from_repository, sha256_of
from harness.stack.errors import StackError
from harness.stack.progress import unseen

KAFKA_VERSION = "4.4.0"
ROOT_COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    # The broker logs through SLF4J; this binding writes to a file, needs no configuration file, and starts fastest.
    "org.slf4j:slf4j-simple:1.7.36",
)
LEFT_OUT = {
    # Needed to compile Scala logging macros, never loaded by a running broker.
    "org.scala-lang:scala-reflect",
    # Annotations for compilers.
    "org.jspecify:jspecify",
}


def write_lock(path: Path = LOCK_PATH) -> list[LockedJar]:
    """Resolve, fetch and measure the jars, and write the lock. Needs the network."""
    with tempfile.TemporaryDirectory() as directory:
        coordinates = _resolve(Path(directory) / "resolving")

        def measure(coordinate: str) -> LockedJar:
            path = fetch_from_repository(coordinate, Path(directory) / "jars", unseen)
            return LockedJar(coordinate, path.stat().st_size, sha256_of(path))

        with ThreadPoolExecutor(max_workers=6) as pool:
            jars = list(pool.map(measure, coordinates))
    lines = [
        f"# The jars of the embedded broker, Apache Kafka {KAFKA_VERSION}: coordinate, size in bytes, SHA-256.",
        f"# Written by: {LOCK_COMMAND} (versions and roots: harness/stack/locking.py). Do not edit.",
        *(f"{jar.coordinate} {jar.size_bytes} {jar.sha256}" for jar in jars),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return jars


def _resolve(repository_cache: Path) -> list[str]:
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=repository_cache)
    versions: dict[str, str] = {}
    for root in ROOT_COORDINATES:
        inputs, transitive = context.resolver.resolve([context.create_dependency(root)])
        for dependency in [*inputs, *transitive]:
            project = f"{dependency.groupId}:{dependency.artifactId}"
            if project in LEFT_OUT or dependency.optional:
                continue
            if versions.setdefault(project, dependency.version) != dependency.version:
                raise StackError(
                    f"{project} is wanted in versions {versions[project]} and {dependency.version}; "
                    "choose roots that agree."
                )
    # The broker's own classes come first on the class path, the rest in a stable order.
    first = ROOT_COORDINATES[0].rsplit(":", 1)[0]
    return [f"{project}:{versions[project]}" for project in sorted(versions, key=lambda name: (name != first, name))]

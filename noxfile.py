"""Every chore of the project but the interpreter matrix, which is tox's. `nox -l` lists them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["tests"]

ROOT = Path(__file__).parent
LOCK = ROOT / "requirements.lock"
# What only the benchmark needs: the peers themselves, and what draws and samples.
PEERS = ["dbos>=3.4,<4", "urllib3>=2.2,<3", "temporalio>=1.35,<2", "matplotlib>=3.9,<4", "py-spy>=0.4,<0.5"]


def install(session: nox.Session) -> None:
    """Put the locked dependencies and the project itself into the session's environment, unless they are there.

    What was installed is remembered by its digest, so that a second run needs no network.
    """
    mark = Path(session.virtualenv.location) / "installed"
    wanted = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        session.log("the environment is as locked")
        return
    session.install("--quiet", "-r", str(LOCK))
    session.install("--quiet", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    mark.write_text(wanted)


@nox.session
def tests(session: nox.Session) -> None:
    """Linters, types, the walls between the parts, and all tests but the integration suite."""
    install(session)
    check(session)
    build_docs(session)
    session.run(
        "pytest",
        *(
            session.posargs
            or ["tests", "--ignore=tests/integration", "--ignore=tests/containers", "-n", "2", "--dist", "loadfile"]
        ),
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Linters, types and the walls between the parts alone."""
    install(session)
    check(session)


def check(session: nox.Session) -> None:
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports", "--no-cache", silent=True)


@nox.session
def docs(session: nox.Session) -> None:
    """The pages of docs/ as HTML below build/docs: broken links, missing anchors, pages that no list has are errors."""
    install(session)
    build_docs(session)


def build_docs(session: nox.Session) -> None:
    session.run(
        "sphinx-build", "--builder", "html", "--nitpicky", "--fail-on-warning", "--keep-going", "--quiet",
        "docs", "build/docs",
    )  # fmt: skip


@nox.session
def integration(session: nox.Session) -> None:
    """The main job: the suite of scenarios on embedded stacks, generated runs for twenty seconds, a sample of the fault grid, and
    the tests of the reference as separate processes. The first failures of the suite are made smaller, for two minutes in all.

    With arguments, such as `-- --subject subjects/other.yaml -k cancel`, the suite alone is run with them.
    """
    install(session)
    session.run("pytest", "scenarios", "-n", "3", "--dist", "loadgroup", *(session.posargs or ["--shrink", "2m"]))
    if not session.posargs:
        session.run("plumbline", "explore", "subjects/reference.yaml", "--profile", "smoke", "--for", "20s")
        session.run(
            "plumbline", "faults", "subjects/reference.yaml", "--workflow", "all", "--sample", "24", "--jobs", "2", "--fresh",
            "--set", "KAFKA_SESSION_TIMEOUT_MS=1500", "--results", "results/faults-sample",
        )  # fmt: skip
        session.run("pytest", "tests/integration")


@nox.session
def containers(session: nox.Session) -> None:
    """The image, the composed reference and the quick start, on this machine's Docker engine."""
    install(session)
    session.run("pytest", "tests/containers", "--engine", "required", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The reference side by side with its peers: `nox -s bench -- --runs 500 --repetitions 3 --only backlog`.

    Temporal's server is built by Go, once, into the cache directory; without Go that peer is skipped, and named.
    """
    install(session)
    mark = Path(session.virtualenv.location) / "installed-peers"
    wanted = " ".join(PEERS)
    if not mark.exists() or mark.read_text() != wanted:
        session.install("--quiet", *PEERS)
        mark.write_text(wanted)
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def simulate(session: nox.Session) -> None:
    """The reference in simulation: `-- --seeds 10000 --for 60s`, `-- --replay SEED`, `-- --mutants`."""
    install(session)
    session.run("python", "-m", "tests.simulation", *(session.posargs or ["--seeds", "10000", "--for", "60s"]))


@nox.session
def mutants(session: nox.Session) -> None:
    """The suite against mutants, impostors and legal variants; `-- --only NAME`, `-- --sample N`, `-- --list`."""
    install(session)
    session.run("python", "-W", "ignore::DeprecationWarning", "-m", "tests.mutants.session", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Write both lock files anew from pyproject.toml: that of every session, and that of the image."""
    session.install("uv")
    compiled = (
        "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header", "--no-annotate",
        "--python-version", "3.11",
    )  # fmt: skip
    everything = (
        "--extra", "system", "--extra", "harness", "--extra", "containers",
        "--group", "test", "--group", "lint", "--group", "docs", "--upgrade",
    )  # fmt: skip
    session.run(*compiled, *everything, "-o", str(LOCK), "pyproject.toml")
    image = ("--extra", "system", "--extra", "agents", "--constraint", str(LOCK), "--upgrade")
    session.run(*compiled, *image, "-o", str(ROOT / "requirements-image.lock"), "pyproject.toml")

"""Docker, and a copy of what a user would check out. Without an engine these tests are skipped, and say so; where one is
demanded (`--engine required`) that is an error."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.engine import PROFILES, why_no_engine

ROOT = Path(__file__).parents[2]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine",
        choices=("optional", "required"),
        default="optional",
        help="whether it is an error that no Docker engine answers (default: optional, the tests are skipped)",
    )


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> None:
    """An engine that answers."""
    trouble = why_no_engine()
    if trouble is not None:
        if request.config.getoption("--engine", default="optional") == "required":
            pytest.fail(trouble)
        pytest.skip(trouble)


@pytest.fixture(scope="session")
def docker_compose(engine: None) -> list[str]:
    """The words that run Compose here: `docker-compose`, or else `docker compose`."""
    return ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]


@pytest.fixture(scope="session")
def checkout(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what git knows of, so that nothing of the working folder can help; its name is that of the project."""
    folder = tmp_path_factory.mktemp("compose") / "plumbline"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def image(checkout: Path) -> str:
    """The image of this very checkout, under the name that the subject file and the composed project know it by."""
    name = "plumbline:latest"
    built = subprocess.run(
        ["docker", "build", "-t", name, "."], cwd=checkout, capture_output=True, text=True, timeout=900
    )
    assert built.returncode == 0, f"{built.stdout[-2000:]}\n{built.stderr}"
    return name


@pytest.fixture(scope="module")
def project(docker_compose: list[str], checkout: Path, image: str) -> Iterator[Path]:
    """The checkout, with nothing of its project running or kept before and after."""
    down = [*docker_compose, *PROFILES, "down", "-v", "--remove-orphans"]
    subprocess.run(down, cwd=checkout, check=True, capture_output=True, timeout=120)
    yield checkout
    subprocess.run(down, cwd=checkout, check=True, capture_output=True, timeout=120)

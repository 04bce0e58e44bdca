"""What was installed from the wheel has the suite, the subjects and the schemas, and writes and finds scenarios anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
_SUITE = """
from harness.places import SUBJECTS_DIRECTORY, suite
from harness.scenario import discover, load
from harness.subject import Subject
files = discover([suite()])
assert load(files[0])
reference = Subject.load(SUBJECTS_DIRECTORY / "reference.yaml")
assert (SUBJECTS_DIRECTORY.parent / "alembic.ini").is_file() and any((SUBJECTS_DIRECTORY.parent / "migrations").rglob("*.py"))
print(suite(), len(files), reference.name)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout as it is and unpacked elsewhere."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = target.glob("*.whl")
    with ZipFile(built) as archive:
        archive.extractall(target / "site")
    return target / "site"


def _python(site: Path, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    environment.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [sys.executable, "-P", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_suite_and_the_subjects_come_with_the_package(site: Path, tmp_path: Path) -> None:
    folder, count, name = _python(site, tmp_path, "-c", _SUITE).split()
    assert Path(folder) == site / "harness" / "suite" / "scenarios"
    assert int(count) == len([path for path in (ROOT / "scenarios").rglob("*.yaml") if "common" not in path.parts])
    assert name == "reference"


def test_a_new_scenario_is_written_checked_and_collected_in_a_folder_of_ones_own(site: Path, tmp_path: Path) -> None:
    plumbline = ("-c", "from harness.cli import main; main()", "scenario")
    told = _python(site, tmp_path, *plumbline, "new", "mine/first", "--clause", "CMP-02")
    assert "scenarios/mine/first.yaml is written" in told
    assert "scenarios/conftest.py is written too" in told
    assert "is written too" not in _python(site, tmp_path, *plumbline, "new", "mine/second")
    assert "2 files, 2 scenarios" in _python(site, tmp_path, *plumbline, "check", "scenarios")
    schema = (tmp_path / "scenarios" / "mine" / "first.yaml").read_text().splitlines()[0].partition("$schema=")[2]
    assert (tmp_path / "scenarios" / "mine" / schema).resolve() == site / "harness/suite/scenarios/scenario.schema.json"
    found = _python(site, tmp_path, "-m", "pytest", "scenarios", "--collect-only", "-q", "-p", "no:cacheprovider")
    assert found.splitlines()[:2] == ["scenarios/mine/first.yaml::first", "scenarios/mine/second.yaml::second"]

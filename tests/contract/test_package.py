"""The built distribution carries the contract's files and reads them from wherever it is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
READ_ALL = """
import sys, contract
assert contract.__file__.startswith(sys.argv[1]), contract.__file__
for name in contract.SCHEMAS:
    assert contract.schema(name)["title"]
assert contract.openapi()["paths"] and contract.asyncapi()["channels"]
print(len(contract.clauses()), len(contract.areas()))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout as it is."""
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = target.glob("*.whl")
    return built


def test_the_wheel_has_every_file(wheel: Path) -> None:
    """Every file of the package's folder is in the wheel, byte for byte."""
    folder = ROOT / "contract"
    expected = {
        str(path.relative_to(ROOT)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"contract/clauses.yaml", "contract/openapi.yaml", "contract/asyncapi.yaml", "contract/py.typed"} <= set(
        expected
    )
    with ZipFile(wheel) as archive:
        found = {name: archive.read(name) for name in archive.namelist() if name.startswith("contract/")}
    assert found == expected


@pytest.mark.parametrize("unpacked", [True, False], ids=["installed", "zipped"])
def test_the_readers_work_away_from_the_checkout(wheel: Path, tmp_path: Path, unpacked: bool) -> None:
    """From an unpacked wheel, and from within the zip file, every reader finds its file."""
    import contract

    place = tmp_path / "site" if unpacked else wheel
    if unpacked:
        with ZipFile(wheel) as archive:
            archive.extractall(place)
    script = f"import sys; sys.path.insert(0, sys.argv[1]){READ_ALL}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, str(place)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(contract.clauses())), str(len(contract.areas()))]

"""The table that ``plumbline check`` prints, read back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.check import check
from harness.stack import NoJavaRuntime, NoNetwork
from tests.subjects.sequential.building import build

ROOT = Path(__file__).parents[2]
_ROW = re.compile(
    r"^(?P<clause>[A-Z]{3}-\d\d) .*? \d (?:MUST|SHOULD) +\d+ +\S? ?(?P<standing>passed|failed|unknown|not supported|not bound)"
)


@dataclass(frozen=True)
class Checked:
    """What came of a check: clause → its standing, and all that was printed."""

    exit_code: int
    standings: dict[str, str]
    printed: str

    def of(self, clauses: Iterable[str]) -> dict[str, str | None]:
        """The standings of some clauses."""
        return {clause: self.standings.get(clause) for clause in clauses}


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Iterable[str]], Checked]:
    """Checks a subject against the scenarios of some clauses, as the command does."""
    monkeypatch.chdir(ROOT)

    def run(subject: Path, clauses: Iterable[str]) -> Checked:
        named = [word for clause in clauses for word in ("--clause", clause)]
        done = CliRunner().invoke(check, [str(subject), "--report", str(tmp_path / "report"), "--jobs", "1", *named])
        rows = filter(None, map(_ROW.match, done.output.splitlines()))
        return Checked(done.exit_code, {row["clause"]: row["standing"] for row in rows}, done.output)

    return run


@pytest.fixture(scope="session")
def sequential() -> Path:
    """The subject file of the executor in Java, built; skipped, by name, where it cannot be."""
    try:
        build()
    except (NoNetwork, NoJavaRuntime) as error:
        pytest.skip(f"the sequential executor in Java cannot be built here: {error}")
    return Path(__file__).parent / "sequential" / "subject.yaml"

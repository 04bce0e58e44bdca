"""Subject files of mutants, variants and impostors, and what the impostors are made of."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from harness.subject import Subject
from tests.mutants.catalogue import IMPOSTORS, MUTANTS, VARIANTS, entry
from tests.mutants.subjects import ROOT, write

IMPOSTOR_FOLDER = Path(__file__).parent / "impostors"


@pytest.mark.parametrize("name", [*(m.name for m in MUTANTS), *(v.name for v in VARIANTS), *IMPOSTORS])
def test_a_subject_file_is_valid_and_starts_the_right_program(name: str, tmp_path: Path) -> None:
    subject = Subject.load(write(name, tmp_path))
    described = subject.description
    assert subject.name == name
    assert described.working_directory == ROOT
    if name in IMPOSTORS:
        assert subject.roles == ("consumer",)
        module = described.roles["consumer"].arguments[2]
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists()
        return
    for role, of in described.roles.items():
        own = ("{python}", "-m", "tests.mutants", name, role)
        assert of.arguments == (own if role in entry(name).roles else ("{python}", "-m", "system", role))


def test_a_mutant_of_several_processes_gets_them(tmp_path: Path) -> None:
    subject = Subject.load(write("fencing-removed", tmp_path))
    assert subject.description.roles["consumer"].processes == 2


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="no mutant or variant"):
        write("nobody", tmp_path)


@pytest.mark.parametrize("path", sorted(IMPOSTOR_FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_impostors_use_nothing_of_the_system(path: Path) -> None:
    imported: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported.append(node.module or "")
    assert [name for name in imported if name.partition(".")[0] in ("system", "harness", "contract")] == []

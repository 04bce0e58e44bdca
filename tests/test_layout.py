"""The walls between the parts, and the shape of what stands behind them; each check is shown to be able to fail."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("contract", "system", "harness")
SETTINGS = {Path("system/settings.py"), Path("harness/settings.py")}
MOST_LINES = 400
FORBIDDEN_WORDS = {"manager", "helper", "helpers", "util", "utils"}

# Places outside the settings that touch the environment, each with its reason.
ENVIRONMENT_EXCEPTIONS: dict[Path, str] = {}


def modules() -> list[Path]:
    """Every module of the packages, relative to the root."""
    found = [path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(found) > 50
    return sorted(found)


def environment_reads(tree: ast.AST) -> Iterator[int]:
    """Lines that reach for the environment, by whatever name `os` has there."""
    names = {"os"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.asname for alias in node.names if alias.name == "os" and alias.asname)
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (
                node.lineno for alias in node.names if alias.name in ("environ", "environb", "getenv", "getenvb")
            )
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in ("environ", "environb", "getenv", "getenvb", "putenv")
            and isinstance(node.value, ast.Name)
            and node.value.id in names
        ):
            yield node.lineno


def forbidden_names(path: Path, tree: ast.AST) -> Iterator[str]:
    """Module and class names that hold one of the forbidden words."""
    classes = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for name in (*path.with_suffix("").parts, *classes):
        words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
        if FORBIDDEN_WORDS.intersection(word.lower() for word in words):
            yield name


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.environ['X']",
        "import os as o\no.getenv('X')",
        "from os import environ",
        "from os import getenv as g",
    ],
)
def test_a_read_of_the_environment_would_be_found(source: str) -> None:
    assert list(environment_reads(ast.parse(source))) != []


def test_only_the_settings_read_the_environment() -> None:
    reading = {path for path in modules() if any(environment_reads(ast.parse((ROOT / path).read_text())))}
    assert reading >= SETTINGS
    assert reading - SETTINGS == set(ENVIRONMENT_EXCEPTIONS)


@pytest.mark.parametrize("path", ["system/utils.py", "system/task_manager.py"])
def test_a_forbidden_word_in_a_modules_name_would_be_found(path: str) -> None:
    assert list(forbidden_names(Path(path), ast.parse("")))


@pytest.mark.parametrize("name", ["TaskManager", "HTTPUtil", "helper", "HelperOfRuns"])
def test_a_forbidden_word_in_a_classs_name_would_be_found(name: str) -> None:
    assert list(forbidden_names(Path("system/x.py"), ast.parse(f"class {name}: pass"))) == [name]


def test_names_say_what_things_are() -> None:
    found = {str(path): list(forbidden_names(path, ast.parse((ROOT / path).read_text()))) for path in modules()}
    assert {path: names for path, names in found.items() if names} == {}


def test_modules_are_short_enough_to_be_read() -> None:
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in modules()}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_walls_between_the_parts_hold() -> None:
    ended = lint_imports(ROOT)
    assert ended.returncode == 0, ended.stdout
    assert "0 broken" in ended.stdout


BREACHES = {
    "system/api/app.py": ("import harness.stack", "system and harness never import each other"),
    "harness/stack/java.py": ("import system.ports", "system and harness never import each other"),
    "contract/__init__.py": ("import system.ports", "the contract imports nobody"),
    "system/engine/decide.py": ("import time", "the engine is pure"),
    "system/engine/values.py": ("import contract", "the engine is pure"),
}


def test_each_breach_of_a_wall_is_found(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert lint_imports(tmp_path).returncode == 0
    for path, (line, broken) in BREACHES.items():
        module = tmp_path / path
        sound = module.read_text()
        module.write_text(f"{sound}\n{line}\n")
        ended = lint_imports(tmp_path)
        module.write_text(sound)
        assert ended.returncode == 1, f"{line} in {path} was not found:\n{ended.stdout}"
        # Between a contract's name and its verdict stands no other verdict.
        assert re.search(rf"{broken}((?! KEPT ).)*? BROKEN", " ".join(ended.stdout.split())), ended.stdout


def test_migrations_and_alembic_read_the_database_from_the_settings_alone() -> None:
    assert not list(environment_reads(ast.parse((ROOT / "migrations/env.py").read_text())))
    assert "sqlalchemy.url" not in (ROOT / "alembic.ini").read_text()


def test_the_image_is_built_from_what_is_tested() -> None:
    """Every pin of the image's lock is the pin of the lock that all sessions install."""

    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[a-z0-9._-]+==[^ ;\\]+", (ROOT / name).read_text(), re.MULTILINE))

    assert len(pins("requirements-image.lock")) > 20
    assert pins("requirements-image.lock") <= pins("requirements.lock")

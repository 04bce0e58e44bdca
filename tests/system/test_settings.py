"""Settings: what is allowed, what is said about what is not, and that pages and code agree."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from system.settings import SettingError, Settings, as_env_example, as_markdown, documented

ROOT = Path(__file__).parents[2]
NAMES = [entry.metadata["name"] for entry in fields(Settings)]
SECRET = "s3cr3t-w0rd"

WRONG = {
    "DATABASE_URL": ["mysql://h/d", "postgresql://u:p@h:5432", "postgresql://u:p@h:port/d", "postgresql://u:p@h:99999/d", "x"],
    "DATABASE_POOL_SIZE": ["0", "201", "ten", "1.5", "-1"],
    "KAFKA_BROKERS": ["localhost", "localhost:", ":9092", "a:1,b", "a:0", "a:70000", "a:x", ","],
    "AGENT_REGISTRY_URL": ["localhost:8000", "ftp://h", "http://", "http://h:port", "http://[h"],
    "LOG_LEVEL": ["LOUD", "10"],
    "LOG_FORMAT": ["xml"],
    "API_PORT": ["0", "65536", "http"],
    "KAFKA_SESSION_TIMEOUT_MS": ["999", "300001"],
    "RUN_TIMEOUT_SECONDS": ["-1"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_with_its_name_and_what_is_allowed(name: str, value: str) -> None:
    (allowed,) = (documented(entry)[2] for entry in fields(Settings) if entry.metadata["name"] == name)
    with pytest.raises(SettingError) as refused:
        Settings.from_environment({name: value})
    assert name in str(refused.value)
    assert allowed in str(refused.value)


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=30)))
def test_any_environment_gives_settings_or_a_setting_error(environment: dict[str, str]) -> None:
    with suppress(SettingError):
        assert isinstance(Settings.from_environment(environment), Settings)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(SettingError) as refused:
        Settings.from_environment({"API_PORT": "x", "LOG_LEVEL": "y", "KAFKA_BROKERS": "z"})
    lines = str(refused.value).splitlines()
    assert [line.split()[0] for line in lines] == ["KAFKA_BROKERS", "LOG_LEVEL", "API_PORT"]


def test_defaults_are_allowed_values() -> None:
    for entry in fields(Settings):
        name, default, _, _ = documented(entry)
        if default:
            assert getattr(Settings.from_environment({name: default}), entry.name) == entry.default


def test_an_empty_value_counts_as_not_given() -> None:
    assert Settings.from_environment(dict.fromkeys(NAMES, " ")) == Settings()


def test_names_are_unique_and_units_stand_last() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for entry in fields(Settings):
        assert entry.metadata["name"] == entry.name.upper()
        assert not entry.name.endswith(("timeout", "_age", "_size_limit"))


def test_no_secret_stands_in_an_error_or_in_the_settings_as_text() -> None:
    urls = {"DATABASE_URL": f"postgresql://u:{SECRET}@h:1/d", "AGENT_REGISTRY_URL": f"http://u:{SECRET}@h"}
    assert SECRET not in repr(Settings.from_environment(urls))
    for name, wrong in {"DATABASE_URL": f"mysql://u:{SECRET}@h", "AGENT_REGISTRY_URL": f"ftp://u:{SECRET}@h"}.items():
        with pytest.raises(SettingError) as refused:
            Settings.from_environment({name: wrong})
        assert SECRET not in str(refused.value)


@pytest.mark.parametrize("role", ["api", "consumer", "bridge"])
def test_a_role_that_is_given_a_wrong_value_ends_with_2_and_says_it(role: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "system", role],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
        env={**os.environ, "LOG_FORMAT": "xml", "DATABASE_URL": f"mysql://u:{SECRET}@h/d"},
    )  # fmt: skip
    assert ended.returncode == 2
    assert "LOG_FORMAT must be one of text, json; found 'xml'" in ended.stderr
    assert "DATABASE_URL must be postgresql://" in ended.stderr
    assert SECRET not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("file", "expected", "option"),
    [("docs/settings.md", as_markdown, "--markdown"), (".env.example", as_env_example, "--env-example")],
    ids=["page", "example"],
)
def test_the_written_page_is_what_the_code_says(file: str, expected: object, option: str) -> None:
    assert callable(expected)
    written = (ROOT / file).read_text(encoding="utf-8")
    assert written == expected(), f"write it anew: python -m system settings {option} > {file}"
    ended = subprocess.run(
        [sys.executable, "-m", "system", "settings", option],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert ended.stdout == written


def test_the_example_read_as_an_environment_gives_the_defaults() -> None:
    lines = (line for line in as_env_example().splitlines() if line and not line.startswith("#"))
    assert Settings.from_environment(dict(line.split("=", 1) for line in lines)) == Settings()

"""Temporal as a peer, without its server: when it is skipped and with what reason, how it is built and set up."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import stat
from pathlib import Path

import pytest

from benchmarks import temporal_build
from benchmarks.temporal_peer import Temporal
from benchmarks.temporal_server import configuration
from harness.settings import CACHE_DIRECTORY_VARIABLE

SCHEMA = """\
DO LANGUAGE 'plpgsql' $$
    BEGIN
        IF ( NOT EXISTS (select extname from pg_extension where extname = 'btree_gin') ) THEN
            CREATE EXTENSION btree_gin;
        END IF;
    END
$$;

CREATE TABLE executions_visibility (namespace_id CHAR(64) NOT NULL, KeywordList01 JSONB);
CREATE INDEX by_status ON executions_visibility (namespace_id);
CREATE INDEX by_keyword_list_01 ON executions_visibility USING GIN (namespace_id, KeywordList01 jsonb_path_ops);
CREATE INDEX by_text_01         ON executions_visibility USING GIN (namespace_id, Text01);"""


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory of its own, in which nothing was built."""
    monkeypatch.setenv(CACHE_DIRECTORY_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def _go(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `go` that does what the script says, and is the only thing on the PATH besides the shell's own."""
    program = directory / "bin" / "go"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {directory}/asked\n{script}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.defpath}")
    return directory / "asked"


def test_without_its_sdk_the_peer_says_so_and_builds_nothing(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    said: list[str] = []
    reason = Temporal().missing(said.append)
    assert reason is not None
    assert "temporalio is not installed" in reason
    assert said == []
    assert not empty_cache.exists()


def test_without_go_the_reason_names_what_to_install(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "1.35.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    reason = Temporal(local=True).missing(lambda _text: None)
    assert reason is not None
    assert "no Go on the PATH" in reason
    assert temporal_build.VERSION in reason


def test_a_build_that_fails_is_a_reason_with_what_go_said(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leaves nothing behind that a later start could take for the server."""
    _go(tmp_path, 'echo "requires go >= 9.9 (running go 1.1)" >&2; exit 1', monkeypatch)
    with pytest.raises(temporal_build.CannotBuild, match=r"exit code 1: requires go >= 9\.9"):
        temporal_build.programs(lambda _text: None)
    assert [path for path in empty_cache.rglob("*") if path.name in ("server", "sql", "visibility.sql")] == []


def test_the_server_is_built_once_and_kept_in_the_cache_directory(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "module"
    (module / "schema/postgresql/v12/visibility").mkdir(parents=True)
    (module / "schema/postgresql/v12/visibility/schema.sql").write_text(SCHEMA)
    script = f"""
        case "$1" in
        install) for name in server sql; do echo built > "$GOBIN/$name"; echo package/$name >&2; done ;;
        mod) echo '{{"Dir": "{module}"}}' ;;
        esac
    """
    asked = _go(tmp_path, script, monkeypatch)
    said: list[str] = []
    found = temporal_build.programs(said.append)
    assert found.server.read_text() == "built\n"
    assert found.server.is_relative_to(empty_cache / "temporal" / temporal_build.VERSION)
    assert "CREATE TABLE" in found.visibility_schema.read_text()
    assert any("building its server" in line for line in said)
    calls = asked.read_text()
    assert f"go.temporal.io/server/cmd/server@{temporal_build.VERSION}" in calls
    assert temporal_build.programs(said.append) == found
    assert asked.read_text() == calls
    assert sorted(path.name for path in (empty_cache / "temporal").iterdir()) == sorted(
        [temporal_build.VERSION, "build.lock"]
    )


def test_only_what_needs_the_missing_extension_is_taken_out_of_the_schema() -> None:
    kept = temporal_build.without_gin(SCHEMA)
    assert [line for line in kept.splitlines() if line] == [
        "CREATE TABLE executions_visibility (namespace_id CHAR(64) NOT NULL, KeywordList01 JSONB);",
        "CREATE INDEX by_status ON executions_visibility (namespace_id);",
    ]


@pytest.mark.parametrize(
    "changed",
    [
        SCHEMA.replace("CREATE EXTENSION btree_gin", "CREATE EXTENSION IF NOT EXISTS btree_gin"),
        SCHEMA.replace("USING GIN (namespace_id, Text01)", "using gin (namespace_id, Text01)").replace(
            "USING GIN", "USING\nGIN"
        ),
        "CREATE TABLE executions_visibility (namespace_id CHAR(64));",
    ],
)
def test_a_schema_of_another_form_is_refused_rather_than_half_changed(changed: str) -> None:
    with pytest.raises(temporal_build.CannotBuild, match="must learn its new form"):
        temporal_build.without_gin(changed)


def test_the_server_listens_on_the_loopback_alone_and_has_both_stores_on_the_shared_server(tmp_path: Path) -> None:
    names = ("frontend", "history", "matching", "worker")
    ports = {
        (name, kind): 7000 + n for n, (name, kind) in enumerate((n, k) for n in names for k in ("grpc", "membership"))
    }
    server = "postgresql://workflow_user:secret@127.0.0.1:5432"
    found = configuration(f"{server}/store", f"{server}/seen", ports, tmp_path / "limits.yaml")
    for name in names:
        rpc = found["services"][name]["rpc"]
        assert rpc["bindOnLocalHost"] is True
        assert (rpc["grpcPort"], rpc["membershipPort"]) == (ports[name, "grpc"], ports[name, "membership"])
    assert found["global"]["membership"]["broadcastAddress"] == "127.0.0.1"
    stores = found["persistence"]["datastores"]
    assert {store["sql"]["connectAddr"] for store in stores.values()} == {"127.0.0.1:5432"}
    assert {store["sql"]["databaseName"] for store in stores.values()} == {"store", "seen"}
    assert {store["sql"]["password"] for store in stores.values()} == {"secret"}

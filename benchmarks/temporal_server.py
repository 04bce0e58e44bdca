"""Temporal's server on the shared PostgreSQL: its databases, its configuration, its one process."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.databases import fresh_database
from benchmarks.temporal_build import STORE_SCHEMA, VISIBILITY_SCHEMA, Programs
from harness.stack import EmbeddedStack, PortTaken, Warden
from harness.stack.ports import LOOPBACK, HeldPort
from harness.stack.process import ServerProcess

HISTORY_SHARDS: Final = 4
CONNECTIONS: Final = 20
_VISIBILITY_CONNECTIONS = 10
_SERVICES: Final = ("frontend", "history", "matching", "worker")
_ENOUGH = 100_000
DYNAMIC: Final[Mapping[str, Any]] = {
    # One partition for one worker: a task finds its poller without being forwarded.
    "matching.numTaskqueueReadPartitions": 1,
    "matching.numTaskqueueWritePartitions": 1,
    "system.enableActivityEagerExecution": True,
    "system.enableEagerWorkflowStart": True,
    # Its limits of requests and queries a second protect a shared cluster; here they would only slow it down.
    "frontend.rps": _ENOUGH,
    "frontend.namespaceRPS": _ENOUGH,
    "history.rps": _ENOUGH,
    "matching.rps": _ENOUGH,
    "frontend.persistenceMaxQPS": _ENOUGH,
    "history.persistenceMaxQPS": _ENOUGH,
    "matching.persistenceMaxQPS": _ENOUGH,
    "worker.persistenceMaxQPS": _ENOUGH,
}
_LOW_PORTS = (20_000, 32_000)
_PORT_TRIES = 50
_TOOL_SECONDS = 120.0
_END_SECONDS = 15.0


@dataclass(frozen=True)
class TemporalServer:
    """The running server: where its frontend is asked, and where its rows are."""

    process: ServerProcess
    address: str
    database_url: str

    @property
    def pid(self) -> int:
        """Its process id. Raises RuntimeError, with the end of its log, when it has died."""
        if (pid := self.process.pid) is None:
            raise RuntimeError(f"Temporal's server has died. The end of its log:\n{self.process.log_tail()}")
        return pid


@contextlib.contextmanager
def temporal_server(programs: Programs, stack: EmbeddedStack) -> Iterator[TemporalServer]:
    """A server with empty databases; its frontend may not answer yet. Raises StackError when its schema cannot be made.

    What is raised meanwhile is given the end of the server's log as a note, since the log goes with the server.
    """
    warden = stack.warden
    directory = warden.temporary_directory()
    with contextlib.ExitStack() as undo:
        undo.callback(warden.forget_directory, directory)
        undo.callback(shutil.rmtree, directory)
        store = undo.enter_context(fresh_database(stack.database_url, "temporal"))
        visibility = undo.enter_context(fresh_database(stack.database_url, "temporal_visibility"))
        # Both as of now: the steps from schema to schema would end in the same tables.
        for database, version, schema in (
            (store, STORE_SCHEMA, ["--schema-name", "postgresql/v12/temporal"]),
            (visibility, VISIBILITY_SCHEMA, ["--schema-file", str(programs.visibility_schema)]),
        ):
            _tool(programs, database, directory, warden, ["setup-schema", "--version", version, *schema])
        ports = {(name, kind): _low_port(f"Temporal's {name}") for name in _SERVICES for kind in ("grpc", "membership")}
        for port in ports.values():
            undo.callback(port.close)
        numbers = {key: port.port for key, port in ports.items()}
        limits = directory / "limits.yaml"
        # JSON is YAML.
        limits.write_text(json.dumps({name: [{"value": value}] for name, value in DYNAMIC.items()}), encoding="utf-8")
        config = directory / "config.yaml"
        config.write_text(json.dumps(configuration(store, visibility, numbers, limits)), encoding="utf-8")
        process = ServerProcess("Temporal's server", directory / "server.log", warden, signal.SIGTERM)
        for port in ports.values():
            port.make_way()
        process.launch([str(programs.server), "--config-file", str(config), "--allow-no-auth", "start"], directory)
        undo.callback(process.end, signal.SIGTERM, _END_SECONDS)
        try:
            yield TemporalServer(process, f"{LOOPBACK}:{numbers['frontend', 'grpc']}", store)
        except Exception as error:
            error.add_note(f"The end of the log of Temporal's server:\n{process.log_tail()}")
            raise


def configuration(
    store_url: str, visibility_url: str, ports: Mapping[tuple[str, str], int], limits: Path
) -> dict[str, Any]:
    """The server's static configuration. `ports` by service and by `grpc` or `membership`."""
    return {
        "log": {"stdout": True, "level": "error"},
        "persistence": {
            "defaultStore": "store",
            "visibilityStore": "visibility",
            "numHistoryShards": HISTORY_SHARDS,
            "datastores": {
                "store": {"sql": _sql(store_url, CONNECTIONS)},
                "visibility": {"sql": _sql(visibility_url, _VISIBILITY_CONNECTIONS)},
            },
        },
        "global": {"membership": {"maxJoinDuration": "30s", "broadcastAddress": LOOPBACK}},
        "services": {
            name: {
                "rpc": {
                    "grpcPort": ports[name, "grpc"],
                    "membershipPort": ports[name, "membership"],
                    "bindOnLocalHost": True,
                }
            }
            for name in _SERVICES
        },
        "clusterMetadata": {
            "enableGlobalNamespace": False,
            "failoverVersionIncrement": 10,
            "masterClusterName": "active",
            "currentClusterName": "active",
            "clusterInformation": {
                "active": {
                    "enabled": True,
                    "initialFailoverVersion": 1,
                    "rpcName": "frontend",
                    "rpcAddress": f"{LOOPBACK}:{ports['frontend', 'grpc']}",
                }
            },
        },
        "dcRedirectionPolicy": {"policy": "noop"},
        "dynamicConfigClient": {"filepath": str(limits), "pollInterval": "60s"},
    }


def _low_port(purpose: str) -> HeldPort:
    """A port that fits into PostgreSQL's smallint, in which the server writes its membership down; the system's own
    choice would be above. Raises PortTaken when many in a row are taken."""
    for tries_left in reversed(range(_PORT_TRIES)):
        try:
            return HeldPort(purpose, random.randint(*_LOW_PORTS))
        except PortTaken:
            if not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


def _sql(database_url: str, connections: int) -> dict[str, Any]:
    address = urlsplit(database_url)
    return {
        "pluginName": "postgres12",
        "databaseName": address.path.lstrip("/"),
        "connectAddr": f"{address.hostname}:{address.port}",
        "connectProtocol": "tcp",
        "user": address.username,
        "password": address.password,
        "maxConns": connections,
        "maxIdleConns": connections,
        "maxConnLifetime": "1h",
    }


def _tool(programs: Programs, database_url: str, directory: Path, warden: Warden, arguments: list[str]) -> None:
    address = urlsplit(database_url)
    environment = {
        "SQL_HOST": str(address.hostname),
        "SQL_PORT": str(address.port),
        "SQL_USER": str(address.username),
        "SQL_PASSWORD": str(address.password),
        "SQL_DATABASE": address.path.lstrip("/"),
        "SQL_PLUGIN": "postgres12",
    }
    tool = ServerProcess("Temporal's SQL tool", directory / "sql-tool.log", warden)
    tool.launch([str(programs.sql_tool), *arguments], directory, environment)
    tool.wait_for_success(_TOOL_SECONDS)

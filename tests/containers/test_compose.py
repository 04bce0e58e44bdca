"""The composed reference: ready in one command, nothing lost when any one service is killed, stopped in order in time;
and its image: small, nobody's root, on a file system that it cannot write."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.containers.engine import PROFILES

API = "http://127.0.0.1:8000/api/v1"
RUNS = 60
READY_SECONDS = 300
STOP_SECONDS = 10
# What `docker-compose` itself takes to speak to the engine, for eight containers.
COMPOSE_SECONDS = 4
BEYOND_BASE_BYTES = 150_000_000

pytestmark = pytest.mark.timeout(900)


class Composed:
    """The project as it runs; every command ends well, or its output is the failure's message."""

    def __init__(self, words: Sequence[str], folder: Path) -> None:
        self._words = [*words, *PROFILES]
        self._folder = folder

    def __call__(self, *words: str, timeout_seconds: float = READY_SECONDS) -> str:
        done = subprocess.run(
            [*self._words, *words], cwd=self._folder, capture_output=True, text=True, timeout=timeout_seconds
        )
        assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def up(self) -> None:
        """One command from nothing to ready."""
        self("up", "-d", "--scale", "execution-consumer=3", "--wait")

    def mend(self) -> None:
        """What was killed is started again, and all are healthy within `READY_SECONDS`.

        Not by `--wait`: it gives up at the first look at a container that is unhealthy, and whoever depends on what was
        killed says so until its next check of itself.
        """
        self("up", "-d", "--scale", "execution-consumer=3")
        deadline = time.monotonic() + READY_SECONDS
        while ill := self.ill():
            assert time.monotonic() < deadline, f"not healthy within {READY_SECONDS} s: {ill}"
            time.sleep(0.5)

    def ill(self) -> dict[str, str]:
        """The state of each service's container that does not run, or whose last check of itself did not pass."""
        found = json.loads(docker("inspect", *self("ps", "-q").split()))
        states = {one["Name"].strip("/"): one["State"].get("Health", one["State"])["Status"] for one in found}
        return {name: state for name, state in states.items() if state not in ("running", "healthy")}

    def container(self, service: str) -> str:
        return self("ps", "-q", service).split()[0]


@pytest.fixture(scope="module")
def composed(project: Path, docker_compose: list[str]) -> Composed:
    started = Composed(docker_compose, project)
    started.up()
    return started


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True, timeout=60).stdout


def answer(method: str, path: str, body: Any = None) -> Any:
    response = requests.request(method, f"{API}{path}", json=body, timeout=20)
    assert response.ok, f"{method} {path}: {response.status_code} {response.text}"
    return response.json()


@pytest.fixture(scope="module")
def workflow(composed: Composed) -> str:
    """The id of a workflow of three steps that call the sample agent one after the other."""
    deadline = time.monotonic() + 60
    while not answer("GET", "/agents?name=echo-agent")["items"]:
        assert time.monotonic() < deadline, "the sample agents have not registered within 60 s"
        time.sleep(0.2)
    names = ["a", "b", "c", None]
    steps = {
        name: {
            "id": name, "type": "agent", "agent_name": "echo-agent", "next_step": after,
            "input_mapping": {"x": "$.workflow_input.x"},
        }
        for name, after in itertools.pairwise(names)
    }  # fmt: skip
    return str(answer("POST", "/workflows", {"name": "composed", "start_step": "a", "steps": steps})["id"])


@pytest.mark.parametrize("service", ["execution-consumer", "bridge", "api", "kafka", "postgres"])
def test_nothing_is_lost_when_a_service_is_killed(composed: Composed, workflow: str, service: str) -> None:
    """Runs that were accepted before the kill complete after it, each step once, with what it was given."""
    accepted = [
        answer("POST", f"/workflows/{workflow}/execute", {"input_data": {"x": number}})["run_id"]
        for number in range(RUNS)
    ]
    docker("kill", composed.container(service))
    composed.mend()
    deadline = time.monotonic() + 120
    waiting = dict(enumerate(accepted))
    while waiting:
        for number, run_id in list(waiting.items()):
            run = answer("GET", f"/runs/{run_id}")
            if run["status"] not in ("PENDING", "RUNNING"):
                assert run["status"] == "COMPLETED", run
                del waiting[number]
                steps = answer("GET", f"/runs/{run_id}/steps")
                found = [(step["step_id"], step["status"], step["output_data"]["x"]) for step in steps["items"]]
                assert sorted(found) == [(name, "COMPLETED", number) for name in ("a", "b", "c")]
        assert time.monotonic() < deadline, f"{len(waiting)} runs have not ended: {sorted(waiting.values())[:5]}"


def test_all_stop_in_order_within_ten_seconds(composed: Composed) -> None:
    begun = time.monotonic()
    composed("stop", timeout_seconds=60)
    assert time.monotonic() - begun < STOP_SECONDS + COMPOSE_SECONDS
    containers = json.loads("[" + ",".join(composed("ps", "-a", "--format", "json").split("\n")).strip(",") + "]")
    codes = {one["Name"]: one["ExitCode"] for one in containers if one["Service"] not in ("kafka", "sample-agents")}
    assert len(codes) == 7
    assert set(codes.values()) == {0}, codes
    composed.up()


def test_the_image_is_small_and_its_user_is_nobody_of_note(composed: Composed) -> None:
    image = json.loads(docker("image", "inspect", "plumbline:latest"))[0]
    base = json.loads(docker("image", "inspect", "python:3.11-slim"))[0]
    assert image["Size"] - base["Size"] < BEYOND_BASE_BYTES
    assert image["Config"]["User"] == "10001:10001"
    assert image["Config"]["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_roles_run_with_nothing_to_write_to_and_no_rights(composed: Composed) -> None:
    for service in ("api", "execution-consumer", "bridge", "sample-agents"):
        container = json.loads(docker("inspect", composed.container(service)))[0]
        assert container["HostConfig"]["ReadonlyRootfs"], service
        assert container["HostConfig"]["CapDrop"] == ["ALL"], service
        assert docker("exec", container["Id"], "id", "-u").strip() == "10001"

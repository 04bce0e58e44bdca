"""Where containers cannot be run, that is said at once, in one message with what to do. Needs no engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from requests.exceptions import ConnectionError as NotConnected

from harness.stack import ContainerStack, ExternalStack, NoEngine, NoImage
from harness.stack import engine as engine_module
from harness.subject import Subject, SubjectError

ROOT = Path(__file__).parents[2]
SECONDS = 180


def told(*words: str, **variables: str) -> tuple[int, str]:
    """Exit code and output of a command of the harness's, with these variables set."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name(words[0])), *words[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=os.environ | variables,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("pytest", "scenarios/api/health.yaml", "--stack", "containers"),
        (
            "plumbline",
            "check",
            "subjects/reference.yaml",
            "--stack",
            "containers",
            "--scenarios",
            "scenarios/api/health.yaml",
        ),
        ("plumbline", "faults", "subjects/reference.yaml", "--stack", "containers", "--limit", "1"),
        ("plumbline", "explore", "subjects/reference.yaml", "--stack", "containers", "--for", "1s"),
    ],
    ids=["pytest", "check", "faults", "explore"],
)
def test_without_an_engine_each_command_says_what_to_do(words: tuple[str, ...], tmp_path: Path) -> None:
    code, output = told(*words, DOCKER_HOST=f"unix://{tmp_path}/docker.sock")
    assert code not in (0, 1)
    assert output.count("No Docker engine answers here") == 1
    assert "DOCKER_HOST" in output
    assert "--stack embedded" in output
    assert "Traceback" not in output


def test_without_testcontainers_the_extra_is_named() -> None:
    hidden = "import sys; sys.modules['testcontainers.core.docker_client'] = None; from harness.stack import ContainerStack; "
    done = subprocess.run(
        [sys.executable, "-c", hidden + "ContainerStack().start()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert "NoEngine: Containers need testcontainers, which is not installed" in done.stderr
    assert "pip install 'plumbline[containers]'" in done.stderr


def test_without_the_right_the_group_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's refusal is found in what the libraries beneath wrapped it in."""

    def refused(**_: object) -> None:
        raise NotConnected(("Connection aborted.", PermissionError(13, "Permission denied")))

    monkeypatch.setattr("docker.from_env", refused)
    with pytest.raises(NoEngine, match=r"may not speak to the Docker engine.*group `docker`"):
        engine_module.require_engine()


@pytest.fixture
def kafka_image(engine: None, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "127.0.0.1:1/nobody/kafka:none"
    monkeypatch.setenv("KAFKA_IMAGE", name)
    return name


def test_without_an_image_it_is_named_with_what_else_can_be_done(kafka_image: str) -> None:
    with pytest.raises(
        NoImage, match=rf"The image {kafka_image} is not on this.*cannot be pulled.*KAFKA_IMAGE.*docker load"
    ):
        ContainerStack().start()


def test_a_subject_s_missing_image_is_named(engine: None, tmp_path: Path) -> None:
    """It is told before anything is started, the migration among it."""
    path = tmp_path / "subject.yaml"
    path.write_text(
        "name: nobody-s\nimage: 127.0.0.1:1/nobody/executor:none\nmigration: {command: [migrate]}\n"
        "roles: {consumer: {command: [consume], ready: {log: ready}}}\n"
    )
    with pytest.raises(
        SubjectError, match=r"nobody/executor:none is not on this.*`docker build.*`image` in the subject file"
    ):
        Subject.load(path).start(ExternalStack("postgresql://u:p@127.0.0.1:1/x", "127.0.0.1:2"))


def test_without_the_cleaner_s_image_its_switch_is_named(engine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from testcontainers.core.config import testcontainers_config

    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", False)
    monkeypatch.setattr(testcontainers_config, "ryuk_image", "127.0.0.1:1/nobody/cleaner:none")
    with pytest.raises(NoImage, match=r"nobody/cleaner:none is not on.*TESTCONTAINERS_RYUK_DISABLED=true"):
        ContainerStack().start()

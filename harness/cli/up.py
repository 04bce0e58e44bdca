"""``plumbline up``: everything from one command, until Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from harness.agents import AgentServer
from harness.cli.quick_start import quick_start
from harness.cli.upkeep import GivenUp, Upkeep
from harness.client import ApiClient, ApiError
from harness.document import MistakesFound
from harness.places import SUBJECTS_DIRECTORY
from harness.sample_agents import SCRIPTS, register
from harness.stack import EmbeddedStack, StackError, progress_to
from harness.stack.ports import HeldPort
from harness.subject import RoleName, RunningSubject, Subject, SubjectError

_WATCH_SECONDS = 0.5
_PORT = click.IntRange(1, 65535)


class _Told(BaseException):
    """A signal has told this process to end."""


@click.command()
@click.option(
    "--data",
    "data_directory",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep data and logs in DIR, and find the data there again. Default: temporary ones.",
)
@click.option("--api-port", type=_PORT, default=8000, show_default=True, help="Port of the API.")
@click.option("--consumers", type=click.IntRange(1, 50), help="Execution consumers. Default: as the subject file says.")
@click.option(
    "--subject",
    "subject_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The executor to start. Default: the reference, subjects/reference.yaml.",
)
@click.option("--postgres-port", type=_PORT, help="Default: a free port.")
@click.option("--kafka-port", type=_PORT, help="Default: a free port.")
def up(
    data_directory: Path | None,
    api_port: int,
    consumers: int | None,
    subject_path: Path | None,
    postgres_port: int | None,
    kafka_port: int | None,
) -> None:
    """Start PostgreSQL, Kafka, the executor and two sample agents, and stay until Ctrl-C or SIGTERM.

    Prints where everything is and how to try it. A part that dies is started again; one that dies three times within a
    minute ends everything, with exit code 1.
    """
    # What a client library has to say of a broker that restarts is no news to who reads this terminal.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    running: RunningSubject | None = None
    counts: Mapping[RoleName, int] = {} if consumers is None else {"consumer": consumers}
    try:
        subject = Subject.load(_subject_file(subject_path))
        if "api" in subject.roles:
            # Told now, and not after everything else has been started.
            HeldPort("the API (--api-port)", api_port).close()
        with _until_told(), contextlib.ExitStack() as parts:
            stack = EmbeddedStack(data_directory, postgres_port, kafka_port, progress_to(sys.stderr))
            parts.enter_context(stack)
            agents = parts.enter_context(AgentServer(SCRIPTS, keep_ledger=False))
            click.echo(f"Starting {', '.join(subject.roles)} of the subject {subject.name}", err=True)
            logs = data_directory / "logs" if data_directory is not None else None
            running = parts.enter_context(
                subject.start(stack, counts=counts, ports={"api": api_port}, log_directory=logs)
            )
            _tell(running, agents)
            _stay(stack, running)
    except _Told:
        kept = f" The logs are kept in {running.log_directory}." if running and running.log_directory.exists() else ""
        click.echo(f"Stopped.{kept}", err=True)
    except MistakesFound as error:
        raise click.UsageError(str(error)) from error
    except (StackError, SubjectError, ApiError, GivenUp) as error:
        raise click.ClickException(str(error)) from error


@contextlib.contextmanager
def _until_told() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise `_Told`, once; what comes after it does not disturb the ending."""
    told = threading.Event()

    def tell(_number: int, _frame: object) -> None:
        if not told.is_set():
            told.set()
            click.echo("\nStopping ...", err=True)
            raise _Told

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, tell) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _subject_file(given: Path | None) -> Path:
    path = given or SUBJECTS_DIRECTORY / "reference.yaml"
    if not path.is_file():
        hint = "Correct --subject." if given else "Run from a checkout of the project, or give a --subject FILE."
        raise click.UsageError(f"There is no subject file {path}. {hint}")
    return path


def _tell(running: RunningSubject, agents: AgentServer) -> None:
    has_api = "api" in running.roles
    if has_api:
        with ApiClient(running.api_url) as api:
            register(api, agents.url)
    stack = running.stack
    places = {
        "API": f"{running.api_url}/api/v1" if has_api else "not played by this subject",
        "PostgreSQL": stack.database_url,
        "Kafka": stack.kafka_brokers,
        **{name: agents.url(name) for name in SCRIPTS},
        "logs": str(running.log_directory),
    }
    click.echo("\nEverything runs:\n")
    for name, place in places.items():
        click.echo(f"  {name:<12} {place}")
    if has_api:
        click.echo("\nTry it:\n")
        click.echo("\n".join(f"  {line}".rstrip() for line in quick_start(running.api_url).splitlines()))
        click.echo("\nLook at it: plumbline runs, plumbline show RUN" + _api_hint(running.api_url))
    click.echo("\nCtrl-C ends it all.")
    sys.stdout.flush()


def _api_hint(api_url: str) -> str:
    return "" if api_url.endswith(":8000") else f" (with --api {api_url})"


def _stay(stack: EmbeddedStack, running: RunningSubject) -> None:
    upkeep = Upkeep(stack, running, lambda line: click.echo(line, err=True))
    nothing = threading.Event()
    while True:
        upkeep.look()
        nothing.wait(_WATCH_SECONDS)

"""``python -m harness.stack``: the embedded stack by itself, and the writing of its lock."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import click

from harness.stack.artifacts import LOCK_PATH
from harness.stack.embedded import EmbeddedStack
from harness.stack.errors import StackError
from harness.stack.locking import write_lock
from harness.stack.progress import progress_to

_WATCH_SECONDS = 1.0


class _Told(BaseException):
    """A signal has told this process to end."""


@click.group()
def main() -> None:
    """A real Kafka and a real PostgreSQL, from Python alone."""


@main.command()
@click.option(
    "--data",
    "data_directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data in this directory, and find them there again. Default: temporary data.",
)
@click.option("--postgres-port", type=click.IntRange(1, 65535), help="Default: a free port.")
@click.option("--kafka-port", type=click.IntRange(1, 65535), help="Default: a free port.")
def up(data_directory: Path | None, postgres_port: int | None, kafka_port: int | None) -> None:
    """Start both, print DATABASE_URL and KAFKA_BROKERS, and stay until Ctrl-C or SIGTERM."""
    told = threading.Event()

    def tell(_number: int, _frame: object) -> None:
        told.set()
        raise _Told

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup has SIGHUP ignored, so that the stack outlives its terminal.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, tell)
    try:
        stack = EmbeddedStack(data_directory, postgres_port, kafka_port, progress_to(sys.stderr))
        with stack:
            click.echo(f"DATABASE_URL={stack.database_url}")
            click.echo(f"KAFKA_BROKERS={stack.kafka_brokers}")
            click.echo("Ready. Ctrl-C ends it.", err=True)
            _stay(stack, told)
    except _Told:
        click.echo("Stopped.", err=True)
    except StackError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--path", type=click.Path(dir_okay=False, path_type=Path), default=LOCK_PATH, show_default=True)
def lock(path: Path) -> None:
    """Resolve the broker's jars anew and write their coordinates, sizes and checksums. Needs the network."""
    try:
        jars = write_lock(path)
    except StackError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{path}: {len(jars)} jars, {sum(jar.size_bytes for jar in jars) / 1024 / 1024:.1f} MiB")


def _stay(stack: EmbeddedStack, told: threading.Event) -> None:
    while not told.wait(_WATCH_SECONDS):
        for name, part in (("PostgreSQL", stack.database), ("Kafka", stack.broker)):
            if part.pid is None:
                raise StackError(f"{name} has ended by itself. The end of its log:\n{part.log_tail()}")


if __name__ == "__main__":
    main()

"""Serve the sample agents until SIGTERM or Ctrl-C: `python -m harness.agents --port 9101`."""

from __future__ import annotations

import signal
import sys
import threading

import click

from harness.agents.samples import SAMPLES
from harness.agents.server import AgentServer


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default="a free one", type=click.IntRange(0, 65535), help="Port to listen on.")
def main(host: str, port: int) -> None:
    """Serve the sample agents, one line with name and URL for each."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    agents = AgentServer(SAMPLES, host=host, port=port, keep_ledger=False)
    try:
        agents.start()
    except OSError as error:
        click.echo(f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port", err=True)
        sys.exit(1)
    for name in SAMPLES:
        click.echo(f"{name} {agents.url(name)}")
    sys.stdout.flush()
    ended.wait()
    agents.stop()


if __name__ == "__main__":
    main()

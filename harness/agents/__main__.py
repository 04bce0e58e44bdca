"""Serve the sample agents until SIGTERM or Ctrl-C: `python -m harness.agents --port 9101`.

With `--register`, an API's registry names them as soon as it answers, so that workflows can call them.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable

import click
from tenacity import (
    RetryError,
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential,
)

from harness.agents.server import AgentServer
from harness.client import ApiClient, ApiRefused, ApiUnreachable
from harness.sample_agents import SCRIPTS, register

log = logging.getLogger("harness.agents")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default="a free one", type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--register", "api_url", metavar="API_URL", help="API whose registry shall name the agents.")
@click.option(
    "--reachable-as",
    metavar="HOST",
    show_default="the address listened on",
    help="Host under which the bridge reaches this one.",
)
def main(host: str, port: int, api_url: str | None, reachable_as: str | None) -> None:
    """Serve the sample agents, one line with name and URL for each."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    agents = AgentServer(SCRIPTS, host=host, port=port, keep_ledger=False)
    try:
        agents.start()
    except OSError as error:
        click.echo(f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port", err=True)
        sys.exit(1)

    def url_of(name: str) -> str:
        return agents.url(name).replace(f"//{host}:", f"//{reachable_as or host}:", 1)

    for name in SCRIPTS:
        click.echo(f"{name} {url_of(name)}")
    sys.stdout.flush()
    if api_url is not None:
        _register(api_url, url_of, ended)
    ended.wait()
    agents.stop()


def _register(api_url: str, url_of: Callable[[str], str], ended: threading.Event) -> None:
    """Register the agents, waiting for the API for as long as it takes: it may be started last."""
    attempts = Retrying(
        retry=retry_if_exception_type((ApiUnreachable, ApiRefused)),
        wait=wait_exponential(multiplier=0.5, max=5),
        stop=stop_when_event_set(ended),
        sleep=sleep_using_event(ended),
        before_sleep=before_sleep_log(log, logging.INFO),
    )
    with ApiClient(api_url) as api:
        try:
            attempts(register, api, url_of)
        except RetryError:
            return
    log.info("registered at %s", api_url)


if __name__ == "__main__":
    main()

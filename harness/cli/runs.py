"""``plumbline runs|show|cancel|retry``: looking at runs, and changing their course."""

from __future__ import annotations

import sys

import click
from rich.console import Console

from harness.cli.api import api_option, client, json_option, print_json
from harness.cli.display import run_view, runs_view

_STATUSES = ("PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
_MOST_LISTED = 10_000
_MOST_PAGE_SIZE = 100


@click.command()
@click.option("--status", type=click.Choice(_STATUSES, case_sensitive=False), help="Only runs in this status.")
@click.option("--limit", type=click.IntRange(1, _MOST_LISTED), default=20, show_default=True, help="How many at most.")
@api_option
@json_option
def runs(status: str | None, limit: int, api_url: str, as_json: bool) -> None:
    """List the newest runs."""
    with client(api_url) as api:
        page_size = min(limit, _MOST_PAGE_SIZE)
        found = api.runs(page_size=page_size, status=status)
        listed, page = found["items"], 1
        while len(listed) < limit and page < found["total_pages"]:
            page += 1
            listed += api.runs(page=page, page_size=page_size, status=status)["items"]
    listed = listed[:limit]
    if as_json:
        print_json({"items": listed, "total": found["total"]})
    elif not listed:
        click.echo("No runs. Start one with: plumbline run WORKFLOW.yaml --input '{}'")
    else:
        _console().print(runs_view(listed))
        if found["total"] > len(listed):
            click.echo(f"{len(listed)} of {found['total']} runs; more with --limit.", err=True)


@click.command()
@click.argument("run_id", metavar="RUN")
@api_option
@json_option
def show(run_id: str, api_url: str, as_json: bool) -> None:
    """Show the run RUN with its steps and their outputs."""
    with client(api_url) as api:
        run = api.run(run_id)
        steps = api.steps(run_id)
    if as_json:
        print_json({"run": run, "steps": steps})
    else:
        _console().print(run_view(run, steps, outputs=True, most_steps=len(steps)))


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--reason", help="Kept in the audit log.")
@api_option
@json_option
def cancel(run_id: str, reason: str | None, api_url: str, as_json: bool) -> None:
    """Cancel the run RUN, which is PENDING or RUNNING."""
    with client(api_url) as api:
        run = api.cancel(run_id, reason)
    if as_json:
        print_json(run)
    else:
        click.echo(f"The run {run_id} is {run['status']}.")


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "--from", "step", metavar="STEP", help="This step and all after it run again. Default: what is not COMPLETED."
)
@api_option
@json_option
def retry(run_id: str, step: str | None, api_url: str, as_json: bool) -> None:
    """Let the run RUN, which is FAILED or CANCELLED, go on."""
    with client(api_url) as api:
        accepted = api.retry(run_id, step)
    if as_json:
        print_json(accepted)
    else:
        click.echo(f"The run {run_id} is {accepted['status']} again. Look at it with: plumbline show {run_id}")


def _console() -> Console:
    """Tables keep their width where nobody's window bounds it."""
    return Console() if sys.stdout.isatty() else Console(width=200)

"""``plumbline run``: submit a workflow and follow its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.api import (
    CANCELLED,
    FAILED,
    NOT_ENDED,
    api_option,
    client,
    json_option,
    print_json,
)
from harness.cli.follow import StillRunning, follow
from harness.cli.workflow_file import read_input, read_workflow, refusal_in_file
from harness.client import ApiClient, ApiRefused, Workflow
from harness.document import Document

_EXIT_CODES = {"COMPLETED": 0, "FAILED": FAILED, "CANCELLED": CANCELLED}
_COMPARED = ("name", "description", "start_step", "steps")
_CONFLICT = 409


@click.command()
@click.argument("workflow", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--input", "given", metavar="JSON|@FILE", help="The run's input, a JSON object; @- reads it from standard input."
)
@click.option(
    "--timeout",
    "timeout_seconds",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=3600.0,
    show_default=True,
    help="How long to watch. The run goes on after it.",
)
@api_option
@json_option
def run(workflow: Path, given: str | None, timeout_seconds: float, api_url: str, as_json: bool) -> None:
    """Create WORKFLOW (a file, JSON or YAML), execute it, and follow the run until it has ended.

    The definition of the same name is used when it is the same, and gets a new version when it differs.

    \b
    Exit codes:
      0  the run is COMPLETED
      1  the run is FAILED
      2  the file, the input or the command line cannot be used
      3  the run is CANCELLED
      4  the API does not answer
      5  the run has not ended within --timeout; it goes on
    """
    document = read_workflow(workflow)
    input_data = read_input(given)
    with client(api_url) as api:
        stored, how = _stored(api, document)
        run_id = api.execute(stored["id"], input_data)["run_id"]
        if not as_json:
            click.echo(f"Workflow {stored['name']}, version {stored['version']} ({how})")
            click.echo(f"Run {run_id}")
        try:
            ended, steps = follow(api, run_id, timeout_seconds, quiet=as_json)
        except KeyboardInterrupt:
            click.echo(f"\nNo longer watching; the run goes on. End it with: plumbline cancel {run_id}", err=True)
            raise
        except StillRunning as late:
            if as_json:
                print_json({"run": late.run, "steps": api.steps(run_id)})
            click.echo(
                f"The run {run_id} is {late.run['status']} after {timeout_seconds:g} s and goes on. "
                f"Look at it with: plumbline show {run_id}",
                err=True,
            )
            raise click.exceptions.Exit(NOT_ENDED) from None
    if as_json:
        print_json({"run": ended, "steps": steps})
    raise click.exceptions.Exit(_EXIT_CODES[ended["status"]])


def _stored(api: ApiClient, document: Document) -> tuple[Workflow, str]:
    """The definition as the API has it, and how it came there: created, unchanged, or a new version."""
    definition: dict[str, Any] = document.data
    try:
        known = api.workflow_named(definition["name"])
        if known is None:
            try:
                return api.create_workflow(definition), "created"
            except ApiRefused as error:
                # Somebody else has created it between the question and ours.
                if error.status != _CONFLICT or (known := api.workflow_named(definition["name"])) is None:
                    raise
        if all(known.get(name) == definition.get(name) for name in _COMPARED):
            return known, "unchanged"
        return api.replace_workflow(known["id"], definition), "a new version"
    except ApiRefused as error:
        if error.status >= 500:
            raise
        raise refusal_in_file(document, error) from error

"""The group of all commands; each is imported only when it is called, so that the light ones start fast."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from harness.garbage import collect_seldom

_MODULES = {
    "up": "harness.cli.up",
    "run": "harness.cli.run",
    "runs": "harness.cli.runs",
    "show": "harness.cli.runs",
    "cancel": "harness.cli.runs",
    "retry": "harness.cli.runs",
    "scenario": "harness.cli.scenario",
    "check": "harness.cli.check",
    "explore": "harness.cli.explore",
    "shrink": "harness.cli.shrink",
    "trial": "harness.cli.trial",
    "faults": "harness.cli.faults",
    "soak": "harness.cli.soak",
    "judge": "harness.cli.judge",
    "report": "harness.cli.report",
}
"""Command → the module that has it, as an attribute of the command's name."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _MODULES:
            return None
        command: click.Command = getattr(importlib.import_module(_MODULES[cmd_name]), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _MODULES and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], _MODULES, n=1, cutoff=0.5)
            raise click.UsageError(f"No such command '{args[0]}'{f'; did you mean {near[0]!r}?' if near else '.'}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="plumbline")
def _group() -> None:
    """An executable reference of an event-driven workflow executor, and the harness that judges it and any other.

    \b
    Exit codes of every command:
      0  done; of `run`: the run is COMPLETED
      1  of `run`: the run is FAILED; of `up`: a part could not be started or kept up
      2  the command line or its input cannot be used, or the API refuses the request
      3  of `run`: the run is CANCELLED
      4  the API does not answer, or answers with an error of its own
      5  of `run`: the run has not ended within --timeout; it goes on
      130  stopped by Ctrl-C
    """


def main(arguments: Sequence[str] | None = None) -> Any:
    """Run ``plumbline`` with the command line's arguments, or with the given ones, and exit."""
    collect_seldom()
    try:
        exit_code = _group.main(args=arguments, prog_name="plumbline", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has seen enough. What is left in the buffer goes nowhere, without a complaint.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        exit_code = 0
    sys.exit(exit_code if isinstance(exit_code, int) else 0)

"""``python -m harness.scenario reference``: write docs/scenario-format.md anew from the schema."""

from __future__ import annotations

import click

from harness.scenario.reference import REFERENCE_PATH, write_reference


@click.group()
def _group() -> None:
    """Chores of the scenario format."""


@_group.command()
def reference() -> None:
    """Write the reference of the format from its schema."""
    write_reference()
    click.echo(f"{REFERENCE_PATH} is written.")


if __name__ == "__main__":
    _group()

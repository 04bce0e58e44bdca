"""python -m tests.mutants NAME ROLE: the reference in that role, with what the mutant replaces replaced."""

from __future__ import annotations

import importlib
import sys

import click

from tests.mutants.catalogue import entry
from tests.mutants.patching import PatchError, applied


@click.command()
@click.argument("name")
@click.argument("role", type=click.Choice(["api", "consumer", "bridge"]))
def main(name: str, role: str) -> None:
    """Run ROLE of the mutant or variant NAME. Exits with 3 when its patches do not fit the reference any more."""
    try:
        one = entry(name)
    except KeyError as error:
        raise click.ClickException(str(error.args[0])) from None
    if role not in one.roles:
        raise click.ClickException(f"{name} lives in {', '.join(one.roles)}; its {role} is the reference's own")
    # All that the role is made of, so that every import of a patched function by name is found.
    importlib.import_module(f"system.{role}.service")
    from system.__main__ import main as reference

    try:
        with applied(one.patches):
            click.echo(f"{name}: {len(one.patches)} replaced", err=True)
            reference.main([role], prog_name=f"system (as {name})")
    except PatchError as error:
        click.echo(f"{name} cannot be made: {error}", err=True)
        sys.exit(3)


if __name__ == "__main__":
    main()

"""Variables for a subject's processes on the command line: ``--set NAME=VALUE``."""

from __future__ import annotations

from collections.abc import Sequence

import click


def environment(settings: Sequence[str]) -> dict[str, str]:
    """Names to values. Raises :class:`click.UsageError` for what is no ``NAME=VALUE``."""
    pairs = [one.partition("=") for one in settings]
    if wrong := [name for name, equals, _ in pairs if not equals or not name]:
        raise click.UsageError(f"expected NAME=VALUE, found {wrong[0]!r}")
    return {name: value for name, _, value in pairs}

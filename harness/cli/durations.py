"""Times on the command line, such as ``90s``, ``2m`` or ``1h``."""

from __future__ import annotations

import re
from typing import Any

import click

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


class Duration(click.ParamType):  # type: ignore[type-arg]
    """Gives seconds; a number without a unit is of seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds of a text."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|)", str(value).strip())
        if match is None or float(match[1]) <= 0:
            self.fail(f"expected a time such as 90s, 2m or 1h, found {value!r}", param, ctx)
        return float(match[1]) * _UNITS[match[2]]

"""What the commands that speak to an API share: its address, its errors as one sentence, its answers as JSON."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from harness import settings
from harness.client import ApiClient, ApiRefused, ApiUnreachable

FAILED = 1
UNUSABLE = 2
CANCELLED = 3
UNREACHABLE = 4
NOT_ENDED = 5

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Unusable(click.ClickException):
    """The command's input cannot be used."""

    exit_code = UNUSABLE


class Unreachable(click.ClickException):
    """The API does not answer, or not with what was asked."""

    exit_code = UNREACHABLE


def api_option(command: _Command) -> _Command:
    """The option --api, as the argument ``api_url``."""
    return click.option(
        "--api",
        "api_url",
        metavar="URL",
        default=settings.api_url,
        help=f"Where the API is. Default: ${settings.API_URL_VARIABLE}, else {settings.DEFAULT_API_URL}.",
    )(command)


def json_option(command: _Command) -> _Command:
    """The option --json, as the argument ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON to standard output, for scripts.")(command)


@contextmanager
def client(api_url: str) -> Iterator[ApiClient]:
    """A client for the length of a command; what goes wrong becomes a sentence and an exit code."""
    if not api_url.startswith(("http://", "https://")):
        raise Unusable(f"--api must be an http:// or https:// URL; found {api_url!r}.")
    try:
        with ApiClient(api_url, user=_user()) as opened:
            yield opened
    except ApiUnreachable as error:
        message = f"{error}. Start one with `plumbline up`, or give its address with --api URL."
        raise Unreachable(message[0].upper() + message[1:]) from error
    except ApiRefused as error:
        raise (Unreachable if error.status >= 500 else Unusable)(str(error)) from error


def print_json(value: Any) -> None:
    """Write a value to standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def _user() -> str | None:
    """Who asks, for the audit log; a header takes printable ASCII only."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        return None
    return name if name.isascii() and name.isprintable() and 0 < len(name) <= 200 else None

"""`python -m system retention`: deletes runs that ended long ago, after having archived them if wanted."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from sqlalchemy.exc import SQLAlchemyError

from system import retention
from system.adapters import postgres
from system.settings import Settings

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_MOST_BATCH = 10_000


def _age(ctx: click.Context, param: click.Parameter, value: str) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", value, re.ASCII)
    if found is None:
        expected = "a whole number above 0 and s, m, h or d, such as 30d"
        raise click.BadParameter(f"{value!r} is no age; expected {expected}", ctx, param)
    age = timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        datetime.now(UTC) - age
    except OverflowError as error:
        message = f"{value!r} lies before the first year; take less, such as 30d"
        raise click.BadParameter(message, ctx, param) from error
    return age


def command(read_settings: Callable[[], Settings]) -> click.Command:
    """The command; `read_settings` gives the settings or ends the process."""

    @click.command("retention")
    @click.option(
        "--older-than",
        callback=_age,
        required=True,
        metavar="AGE",
        help="Runs that ended longer ago than this, such as 30d or 12h. Take more than Kafka keeps requests for: a "
        "request that is delivered again after its run was deleted starts it anew.",
    )
    @click.option(
        "--archive",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Append each run to this file, as a line of JSON, before it is deleted.",
    )
    @click.option(
        "--batch", type=click.IntRange(1, _MOST_BATCH), default=500, show_default=True, help="Runs in one transaction."
    )
    @click.option("--dry-run", is_flag=True, help="Say how many runs would be deleted, and delete none.")
    def run(older_than: timedelta, archive: Path | None, batch: int, dry_run: bool) -> None:
        """Delete runs that ended long ago, with all that belongs to them; everything else goes on meanwhile."""
        settings = read_settings()
        ended_before = datetime.now(UTC) - older_than
        engine = postgres.connect(settings.database_url, pool_size=1, application_name="plumbline-retention")
        try:
            if dry_run:
                found = retention.count(engine, ended_before)
                click.echo(f"{found} runs that ended before {ended_before:%Y-%m-%dT%H:%M:%SZ} would be deleted")
                return
            with retention.Archive(archive) if archive is not None else nullcontext() as opened:
                deleted = 0
                for number in retention.delete(engine, ended_before, batch, opened):
                    deleted += number
                    _progress(deleted)
            click.echo(f"{deleted} runs deleted" + (f", archived in {archive}" if archive is not None else ""))
        except retention.ArchiveError as error:
            raise click.ClickException(f"archive: {error}") from error
        except SQLAlchemyError as error:
            raise click.ClickException(
                f"database: {postgres.reason_of(error)}; batches committed before stay deleted, run the command again"
            ) from error
        finally:
            engine.dispose()

    return run


def _progress(deleted: int) -> None:
    """One line that is written over in a terminal, a line for each batch elsewhere."""
    if sys.stderr.isatty():
        click.echo(f"\r{deleted} runs deleted so far\033[K", err=True, nl=False)
    else:
        click.echo(f"{deleted} runs deleted so far", err=True)

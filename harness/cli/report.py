"""``plumbline report``: reports of several subjects, or of several times, in one."""

from __future__ import annotations

from pathlib import Path

import click

from harness import report as reports


@click.command()
@click.argument("results", metavar="RESULTS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Where the report is written.",
)
def report(results: tuple[Path, ...], directory: Path) -> None:
    """Join RESULTS (folders that `check` wrote, or their report.json or outcomes.jsonl) into one report of all subjects.

    Two results of subjects of one name are told apart by a number.
    """
    read: list[reports.Report] = []
    for path in results:
        try:
            read.append(reports.load(path))
        except OSError as error:
            raise click.UsageError(
                f"{path}: expected a folder of results, a report.json or an outcomes.jsonl, but it cannot be read: "
                f"{error.strerror or error}"
            ) from None
        except reports.ReportError as error:
            raise click.UsageError(str(error)) from None
    try:
        joined = reports.join(read)
        reports.write_report(joined, directory)
    except reports.ReportError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.UsageError(f"{directory} cannot be written: {error.strerror or error}") from None
    names = ", ".join(subject.name for subject in joined.subjects)
    click.echo(f"{directory / 'report.html'} is written, of {names}.")

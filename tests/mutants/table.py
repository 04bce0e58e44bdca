"""The table of a session: for the terminal, and as a page of the documentation."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.mutants.tally import Exposure, Fate, Tally

_HEAD = """# Mutants, impostors and legal variants

Written by `nox -s mutants`; do not edit it. It shows that the suite notices what goes wrong in executors, and accuses
nobody who keeps the contract.

A *mutant* is the reference with one behaviour wrong in a known way, made in memory while it starts; its clause names the
fault. Scenarios judge it until one fails, those that bind the clause first. What may also come of a machine with too much
to do, as something that is late, counts only when it is seen a second time with nothing else under way; and a scenario that
the reference fails too has killed nobody. An *impostor* does not execute at all and faces the whole suite; the clauses that
it claims are those of the scenarios that could judge it. *Variants* behave unusually within the contract, face the whole
suite too, and must not raise an alarm.

`nox -s mutants -- --only NAME` judges one, `-- --list` says what there is, and `-- --resume` goes on with a session that was
interrupted.
"""


def show(tally: Tally, console: Console) -> None:
    """Print the tables and what falls short."""
    if tally.fates:
        table = Table("mutant", "clause", "killed by", "clauses", "tried", "s")
        for fate in tally.fates:
            mark = "" if fate.by_its_clause else "[yellow]" if fate.is_killed else "[red]"
            table.add_row(
                f"{mark}{fate.mutant}",
                fate.clause,
                _killer(fate),
                _clauses(fate),
                str(len(fate.tried)),
                f"{fate.seconds:.0f}",
            )
        console.print(table)
    for title, exposures in (("impostor", tally.impostors), ("variant", tally.variants)):
        if exposures:
            table = Table(title, "scenarios", "clauses judged", "failed", "s")
            for one in exposures:
                table.add_row(
                    one.name,
                    str(len(one.judged)),
                    str(len(one.claimed)),
                    f"{len(one.failed)} ({one.share_failed:.1%})",
                    f"{one.seconds:.0f}",
                )
            console.print(table)
    for sentence in tally.shortcomings():
        console.print(f"[red]✗[/red] {sentence}", markup=True, highlight=False)
    console.print(summary(tally))


def summary(tally: Tally) -> str:
    """One line."""
    killed = len(tally.fates) - len(tally.survivors)
    named = sum(fate.is_named for fate in tally.fates)
    return (
        f"{killed} of {len(tally.fates)} mutants killed, {tally.share_by_their_clause:.1%} by a scenario or a finding of the "
        f"clause that names their fault ({named} by a finding of it); {len(tally.impostors)} impostors, "
        f"{len(tally.variants)} variants with {sum(len(one.alarms) for one in tally.variants)} false alarms"
    )


def write_page(tally: Tally, path: Path) -> None:
    """Write the page of the documentation."""
    lines = [_HEAD, summary(tally) + ".", "", "## Mutants", ""]
    lines += [
        "| mutant | lives in | what is wrong | clause | killed by | which binds or names |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for fate in tally.fates:
        lines.append(
            f"| `{fate.mutant}` | {', '.join(fate.roles)} | {_cell(fate.wrong)} | {fate.clause} "
            f"| {_cell(_killer(fate))} | {_clauses(fate)} |"
        )
    lines += [
        "",
        "## Impostors",
        "",
        "| impostor | what it does | clauses judged | failed | passed all the same |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [_exposure(one) for one in tally.impostors]
    lines += [
        "",
        "## Legal variants",
        "",
        "| variant | what it does | clauses judged | failed | alarms |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in tally.variants:
        alarms = ", ".join(judged.scenario for judged in one.alarms) or "none"
        lines.append(f"| `{one.name}` | {_cell(one.about)} | {len(one.claimed)} | {len(one.failed)} | {alarms} |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _exposure(one: Exposure) -> str:
    passed = ", ".join(sorted(one.claimed - one.failed)) or "none"
    return f"| `{one.name}` | {_cell(one.about)} | {len(one.claimed)} | {len(one.failed)} ({one.share_failed:.1%}) | {passed} |"


def _killer(fate: Fate) -> str:
    return fate.killer.scenario if fate.killer is not None else fate.trouble or "survives"


def _clauses(fate: Fate) -> str:
    killer = fate.killer
    return "" if killer is None else ", ".join(dict.fromkeys((*killer.broken, *killer.clauses)))


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())

"""Results as rows of a table, and those as terminal table, Markdown and JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from benchmarks.contender import Contender
from benchmarks.measurement import Measurement, Spread, paired_ratios
from benchmarks.reference import Reference
from benchmarks.trial import Results

_SERVERS: Final = ("postgresql", "kafka")
_SURROUNDINGS: Final = (*_SERVERS, "agent", "driver")
_ONLY_OF_THE_FIRST: Final = (
    "accepted while draining, runs/s",
    "CPU of the engine, submission, ms/run",
    "CPU of PostgreSQL and Kafka, submission, ms/run",
)
Value = Callable[[Measurement], float | None]


@dataclass(frozen=True)
class Row:
    """A line of the table: what is shown, and how it is had from a measurement. `peer_value` where a peer's differs."""

    title: str
    measure: str
    value: Value
    peer_value: Value | None = None
    digits: int = 1


def _of(name: str) -> Value:
    return lambda measured: measured.values.get(name)


def _engine_cpu(measured: Measurement) -> float:
    return sum(ms for role, ms in measured.cpu_ms_per_run.items() if role not in _SURROUNDINGS)


def _server_cpu(measured: Measurement) -> float:
    return sum(measured.cpu_ms_per_run.get(role, 0.0) for role in _SERVERS)


def _engine_memory(measured: Measurement) -> float:
    return sum(mib for role, mib in measured.peak_mib.items() if role not in _SURROUNDINGS)


ROWS: Final = (
    Row("one run, p50, ms", "latency", _of("p50_ms")),
    Row("one run, p99, ms", "latency", _of("p99_ms")),
    Row("one run, p50, ms, peer called directly", "latency", _of("p50_ms"), _of("direct_p50_ms")),
    Row("one run, p99, ms, peer called directly", "latency", _of("p99_ms"), _of("direct_p99_ms")),
    Row("backlog drained, runs/s", "backlog", _of("runs_per_second")),
    Row("submitted while draining, runs/s", "submission", _of("runs_per_second")),
    Row("accepted while draining, runs/s", "submission", _of("submitted_per_second")),
    Row("CPU of the engine, backlog, ms/run", "backlog", _engine_cpu, digits=2),
    Row("CPU of PostgreSQL and Kafka, backlog, ms/run", "backlog", _server_cpu, digits=2),
    Row("CPU of the engine, submission, ms/run", "submission", _engine_cpu, digits=2),
    Row("CPU of PostgreSQL and Kafka, submission, ms/run", "submission", _server_cpu, digits=2),
    Row("peak memory of the engine, backlog, MiB", "backlog", _engine_memory, digits=0),
)

# What is shown of each workload besides the first.
FURTHER_ROWS: Final = tuple(row for row in ROWS if row.peer_value is None and row.title not in _ONLY_OF_THE_FIRST)


def values_of(results: Results, contender: Contender, row: Row) -> dict[int, float]:
    """By repetition, what a row shows of a contender."""
    value = row.value if row.peer_value is None or contender.name == Reference.name else row.peer_value
    found = {
        measured.repetition: value(measured)
        for measured in results.measurements
        if measured.contender == contender.name and measured.measure == row.measure
    }
    return {repetition: number for repetition, number in found.items() if number is not None}


def lines(results: Results, rows: Sequence[Row] = ROWS) -> Iterator[list[str]]:
    """The table: a heading, then a line for each row that was measured; ratios are the first contender's to a peer's."""
    first, *peers = results.present
    yield [
        "",
        *(f"{contender.name} {contender.version}" for contender in results.present),
        *(f"{first.name} : {peer.name}" for peer in peers),
    ]
    for row in rows:
        own = values_of(results, first, row)
        if not own:
            continue
        cells = [_cell(values_of(results, contender, row), row.digits) for contender in results.present]
        ratios = [paired_ratios(own, values_of(results, peer, row)) for peer in peers]
        yield [row.title, *cells, *(shown(Spread.of(found), 2, "×") if found else "" for found in ratios)]


def further_lines(further: Sequence[Results]) -> Iterator[list[str]]:
    """The same for other workloads, all in one table: their titles stand in the first column."""
    for number, results in enumerate(further):
        heading, *rows = lines(results, FURTHER_ROWS)
        if not number:
            yield ["workload", "measure", *heading[1:]]
        # Every table has the same columns: who is absent is absent from all.
        yield from ([results.trial.workload.title, *cells] for cells in rows)


def configurations(contenders: Sequence[Contender]) -> str:
    """How each contender is set up, as Markdown: a line for each thing that one of them says of itself."""
    return markdown_table(_configuration_lines(contenders), "---") + "\n"


def _configuration_lines(contenders: Sequence[Contender]) -> Iterator[list[str]]:
    yield ["", *(contender.name for contender in contenders)]
    subjects = dict.fromkeys(subject for contender in contenders for subject in contender.configuration)
    for subject in subjects:
        yield [subject, *(contender.configuration.get(subject, "") for contender in contenders)]


def role_lines(results: Results, measure: str) -> Iterator[list[str]]:
    """The cost of each role under a measure: contender, role, CPU in ms a run, peak memory in MiB."""
    yield ["", "role", "CPU, ms/run", "peak MiB"]
    for contender in results.present:
        found = [m for m in results.measurements if m.contender == contender.name and m.measure == measure]
        for role in found[0].cpu_ms_per_run if found else ():
            cpu = Spread.of([measured.cpu_ms_per_run[role] for measured in found])
            peak = Spread.of([measured.peak_mib[role] for measured in found])
            yield [contender.name, role, shown(cpu, 2), shown(peak, 0)]


def terminal_table(rows: Iterator[list[str]], title: str) -> Table:
    """For rich."""
    table = Table(title=title)
    heading = next(rows)
    for index, name in enumerate(heading):
        table.add_column(name, justify="left" if index == 0 else "right")
    for cells in rows:
        table.add_row(*cells)
    return table


def markdown(results: Results, further: Sequence[Results] = ()) -> str:
    """Everything that the documentation shows of a run of the benchmark."""
    trial = results.trial
    foreign = Spread.of([measured.foreign_cores for each in (results, *further) for measured in each.measurements])
    parts = [
        f"{trial.workload.title}; {trial.repetitions} interleaved repetitions, {trial.sizes.runs:,} runs in each measure "
        f"of throughput, {trial.sizes.latency_runs:,} in that of latency, {trial.sizes.submitters} submitting clients. "
        "Medians, with lowest and highest in brackets; ratios are paired by repetition.",
        markdown_table(lines(results)),
        *(f"**Skipped: {name}** ({reason})." for name, reason in results.skipped.items()),
    ]
    if "backlog" in trial.measures:
        parts += ["By process, backlog:", markdown_table(role_lines(results, "backlog"))]
    if "submission" in trial.measures:
        parts += ["By process, submitted while draining:", markdown_table(role_lines(results, "submission"))]
    if further:
        parts += ["Other workloads:", markdown_table(further_lines(further)), _sizes_told(further)]
    parts += [
        "Machine: " + "; ".join(f"{name} {value}" for name, value in results.machine.items()) + ".",
        f"Busy elsewhere on the machine meanwhile: {shown(foreign, 2)} cores.",
        f"The agent alone answers {results.agent_calls_per_second:,.0f} calls/s; the most that was asked of it is "
        f"{max(_most_calls(each) for each in (results, *further)):,.0f} calls/s.",
    ]
    return "\n\n".join(parts) + "\n"


def as_json(results: Results) -> dict[str, Any]:
    """Everything, raw."""
    trial = results.trial
    return {
        "workload": dataclasses.asdict(trial.workload),
        "sizes": dataclasses.asdict(trial.sizes),
        "repetitions": trial.repetitions,
        "contenders": {c.name: {"version": c.version, "configuration": dict(c.configuration)} for c in results.present},
        "skipped": results.skipped,
        "machine": results.machine,
        "agent_calls_per_second": results.agent_calls_per_second,
        "measurements": [dataclasses.asdict(measured) for measured in results.measurements],
    }


def write_json(trials: Sequence[Results], path: Path) -> None:
    """One file for a run of the benchmark: a trial for each workload."""
    path.write_text(json.dumps({"trials": [as_json(each) for each in trials]}, indent=1) + "\n", encoding="utf-8")


def put_between(document: Path, mark: str, text: str) -> None:
    """Replace what stands between `<!-- mark -->` and `<!-- /mark -->`. Raises ValueError when these are not there."""
    before, begin, rest = document.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(f"<!-- /{mark} -->")
    if not begin or not end:
        raise ValueError(f"{document}: expected the lines <!-- {mark} --> and <!-- /{mark} -->; write them in first")
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def _sizes_told(further: Sequence[Results]) -> str:
    sizes = [
        f"{each.trial.workload.title}: {each.trial.sizes.runs:,} and {each.trial.sizes.latency_runs:,}"
        for each in further
    ]
    return f"Runs in each measure of throughput, and in that of latency: {'; '.join(sizes)}."


def _most_calls(results: Results) -> float:
    rates = [measured.values.get("runs_per_second", 0.0) for measured in results.measurements]
    return max(rates, default=0.0) * results.trial.workload.steps


def _cell(values: Mapping[int, float], digits: int) -> str:
    return shown(Spread.of(list(values.values())), digits) if values else ""


def shown(spread: Spread, digits: int, unit: str = "") -> str:
    """The middle, and the lowest and highest where there is more than one value."""
    middle = f"{spread.median:,.{digits}f}{unit}"
    return middle if spread.count == 1 else f"{middle} [{spread.lowest:,.{digits}f}–{spread.highest:,.{digits}f}]"


def markdown_table(rows: Iterator[list[str]], alignment: str = "---:") -> str:
    """A heading and its lines as Markdown. The alignment is that of all columns but the first."""
    heading = next(rows)
    text = [f"| {' | '.join(heading)} |", f"| --- |{f' {alignment} |' * (len(heading) - 1)}"]
    return "\n".join([*text, *(f"| {' | '.join(cells)} |" for cells in rows)])

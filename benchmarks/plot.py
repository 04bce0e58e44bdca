"""A picture of the results, where matplotlib is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from benchmarks.measurement import Spread
from benchmarks.report import ROWS, values_of
from benchmarks.trial import Results

_COLUMNS = 3


def draw(results: Results, path: Path, say: Callable[[str], None]) -> None:
    """A panel for each row of the table: medians as bars, lowest and highest as whiskers."""
    if importlib.util.find_spec("matplotlib") is None:
        say("no plot: matplotlib is not installed here; `nox -s bench` installs it")
        return
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    rows = [row for row in ROWS if values_of(results, results.present[0], row)]
    height = -(-len(rows) // _COLUMNS)
    figure, axes = pyplot.subplots(height, _COLUMNS, figsize=(11, 2.6 * height), squeeze=False)
    for panel in axes.flat[len(rows) :]:
        panel.set_visible(False)
    for panel, row in zip(axes.flat, rows, strict=False):
        for place, contender in enumerate(results.present):
            values = values_of(results, contender, row)
            if not values:
                continue
            spread = Spread.of(list(values.values()))
            whiskers = [[spread.median - spread.lowest], [spread.highest - spread.median]]
            panel.bar(place, spread.median, yerr=whiskers, capsize=4, width=0.6)
        panel.set_xticks(
            range(len(results.present)), [contender.name.replace(", ", ",\n") for contender in results.present]
        )
        panel.set_title(row.title, fontsize=9)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(results.trial.workload.title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)

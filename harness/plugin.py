"""A pytest plugin that collects scenario files and carries them out: `pytest scenarios --subject subjects/x.yaml`.

Each worker of xdist has a stack, a subject and a crew of its own. The scenarios that disturb nobody are dealt out to a third of
the workers, in one group each, so that a worker can have all of its own under way at the same time; every other one is a group
by itself, and runs alone. The other workers begin with those at once: they mostly wait, for sessions that end and processes
that start, while the others keep the cores busy.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import contract
from harness.document import MistakesFound
from harness.places import SCENARIOS_DIRECTORY, SUBJECTS_DIRECTORY
from harness.runner import records, reporting, selection
from harness.runner.crew import Crew
from harness.runner.place import STACK_KINDS, bench_maker, require_stack
from harness.runner.run import RANDOM_ELSEWHERE
from harness.scenario import Scenario, load
from harness.scenario.parts import COMMON
from harness.stack import StackError
from harness.subject import Subject
from harness.verdict import Outcome

_SUBJECT = SUBJECTS_DIRECTORY / "reference.yaml"
_CREW = pytest.StashKey[Crew]()
_OUTCOMES = pytest.StashKey[list[Outcome]]()
_OUTCOME = pytest.StashKey[Outcome]()
_GROUP_SUFFIX = re.compile(r"@(?:shared|alone)-\d+$")
_TIMEOUT_SECONDS = 900


class ScenarioFailed(Exception):
    """A scenario that is red; what there is to say stands in its outcome."""

    def __init__(self, outcome: Outcome, told: str) -> None:
        super().__init__(told)
        self.outcome = outcome


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of scenarios."""
    group = parser.getgroup("scenarios", "scenarios of a conformance suite")
    group.addoption("--subject", type=Path, default=_SUBJECT, metavar="FILE", help="The subject file.")
    group.addoption("--stack", choices=STACK_KINDS, default="embedded", help="Whose Kafka and PostgreSQL.")
    group.addoption("--clause", action="append", default=[], metavar="ID", help="Only scenarios of this clause.")
    group.addoption("--level", type=int, choices=(1, 2, 3, 4), help="Only scenarios of clauses up to this level.")
    group.addoption("--seed", type=int, default=0, metavar="N", help="Of what is drawn.")
    group.addoption("--results", type=Path, default=Path("results"), metavar="DIR", help="Where outcomes are written.")
    group.addoption(
        "--shrink",
        type=_seconds,
        default=0.0,
        metavar="TIME",
        help="Make the first failures smaller, for so long in all.",
    )
    group.addoption("--keep-histories", action="store_true", help="Keep the histories of what passed, too.")


def _seconds(said: str) -> float:
    from click import BadParameter

    from harness.cli.durations import Duration

    try:
        return Duration().convert(said, None, None)
    except BadParameter as error:
        raise argparse.ArgumentTypeError(error.message) from error


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers, and let xdist keep groups together."""
    config.addinivalue_line("markers", "alone: a scenario that disturbs others, and so runs alone")
    for clause in contract.clauses():
        config.addinivalue_line("markers", f"{_mark(clause.id)}: {clause.title}")
    if wrong := selection.unknown_clauses(config.getoption("--clause")):
        raise pytest.UsageError("; ".join(wrong))
    config.stash[_OUTCOMES] = []
    # Of kafka-python, while its broker is away on purpose; and of Hypothesis, about random numbers of other threads.
    config.addinivalue_line("filterwarnings", "ignore:unclosed <socket:ResourceWarning")
    config.addinivalue_line("filterwarnings", f"ignore:{RANDOM_ELSEWHERE}")
    if getattr(config.option, "dist", "no") == "load":
        config.option.dist = "loadgroup"
    if hasattr(config, "workerinput"):
        # A worker goes by the command line, which may have left the word to the line above.
        config.option.loadgroup = True
    try:
        require_stack(config.getoption("--stack"))
    except (LookupError, StackError) as error:
        raise pytest.UsageError(str(error)) from error
    if getattr(config.option, "numprocesses", None) and config.getoption("--stack") == "external":
        raise pytest.UsageError(
            "an external stack serves one subject at a time: leave -n away, or take --stack embedded"
        )
    if getattr(config.option, "numprocesses", None) and not hasattr(pytest.Item, "_nodeid"):
        # Every worker would carry out the scenarios of all groups, and write over the histories of the others.
        raise pytest.UsageError(
            f"pytest-xdist does not keep groups of tests together with pytest {pytest.__version__}: "
            "leave -n away, or install pytest below 9.2"
        )


def pytest_report_header(config: pytest.Config) -> str:
    """The subject, and the seed that draws the same once more."""
    subject, seed = config.getoption("--subject"), config.getoption("--seed")
    return f"scenarios: subject {subject}, seed {seed} (--seed {seed} draws the same values again)"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Scenario files, below a folder `scenarios` or named themselves."""
    if file_path.suffix not in (".yaml", ".yml") or COMMON in file_path.parent.parts:
        return None
    if SCENARIOS_DIRECTORY.name in file_path.parent.parts or parent.session.isinitpath(file_path):
        return ScenarioFile.from_parent(parent, path=file_path)
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take what --clause and --level select, and deal it out: before xdist writes the groups into the names of the items."""
    clauses, level = config.getoption("--clause"), config.getoption("--level")
    left = [
        item
        for item in items
        if not isinstance(item, ScenarioItem) or selection.is_selected(item.scenario, clauses, level)
    ]
    if len(left) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in left])
        items[:] = left
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    shared = [item for item in _scenarios(items) if not item.scenario.alone]
    sharing = max(1, workers // 3)
    for index, item in enumerate(shared):
        item.add_marker(pytest.mark.xdist_group(f"shared-{index % sharing}"))
    for index, item in enumerate(item for item in _scenarios(items) if item.scenario.alone):
        item.add_marker(pytest.mark.xdist_group(f"alone-{index}"))
    # Those that are under way together come first; what runs alone waits for their end.
    items.sort(key=lambda item: isinstance(item, ScenarioItem) and item.scenario.alone)


class ScenarioFile(pytest.File):
    """A scenario file."""

    def collect(self) -> Iterable[ScenarioItem]:
        """One item for each of its variants."""
        try:
            scenarios = load(self.path)
        except MistakesFound as found:
            raise self.CollectError(str(found)) from None
        for scenario in scenarios:
            name = scenario.id.rpartition("/")[2]
            yield ScenarioItem.from_parent(self, name=name, scenario=scenario)


class ScenarioItem(pytest.Item):
    """A scenario."""

    def __init__(self, *, scenario: Scenario, **rest: Any) -> None:
        super().__init__(**rest)
        self.scenario = scenario
        for clause in scenario.clauses:
            self.add_marker(_mark(clause))
        area = scenario.id.partition("/")[0]
        self.config.addinivalue_line("markers", f"{_mark_of_area(area)}: scenarios about {area}")
        self.add_marker(_mark_of_area(area))
        self.add_marker(pytest.mark.timeout(_TIMEOUT_SECONDS))
        if scenario.alone:
            self.add_marker("alone")

    def runtest(self) -> None:
        """Wait for its outcome, or carry it out."""
        crew = _crew(self.config)
        if not self.scenario.alone:
            crew.begin(self._companions())
        outcome = crew.outcome(self.scenario)
        self.stash[_OUTCOME] = outcome
        if outcome.verdict == "not supported":
            pytest.skip(f"not supported: {outcome.reason}")
        if outcome.verdict == "passed" and outcome.known_failure is None:
            return
        if outcome.verdict == "failed" and outcome.known_failure is not None:
            pytest.xfail(f"known failure: {outcome.known_failure}")
        raise ScenarioFailed(outcome, _told(self.config, outcome))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What is wrong, instead of a stack trace of the runner's."""
        if isinstance(excinfo.value, ScenarioFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """File, line and name for pytest's reports."""
        return self.path, None, self.scenario.id

    def _companions(self) -> Iterator[Scenario]:
        """The scenarios that this worker has to carry out and that can be under way together with this one."""
        group = _group(self)
        for item in _scenarios(self.session.items):
            if not item.scenario.alone and _group(item) == group:
                yield item.scenario


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Give the report the outcome and the scenario's own time."""
    report = yield
    if isinstance(item, ScenarioItem) and call.when == "call" and _OUTCOME in item.stash:
        outcome = item.stash[_OUTCOME]
        report.duration = outcome.seconds
        report.plumbline_outcome = records.to_json(outcome)
    return report


class _Collecting:
    """Collects the outcomes of all workers, in the process that has them."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the group out of the name that people and machines read. An outcome comes with its report."""
        report.nodeid = _GROUP_SUFFIX.sub("", report.nodeid)
        told = getattr(report, "plumbline_outcome", None)
        if told is not None:
            self._config.stash[_OUTCOMES].append(records.from_json(told))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin with no histories of an earlier session."""
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(_Collecting(session.config), "plumbline-outcomes")
        reporting.clear(_results(session.config))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the worker's bench; write what came of all."""
    crew = session.config.stash.get(_CREW, None)
    if crew is not None:
        crew.stop()
    outcomes = session.config.stash.get(_OUTCOMES, [])
    if outcomes and not hasattr(session.config, "workerinput"):
        config = session.config
        subject = Subject.load(config.getoption("--subject"))
        reporting.write(outcomes, subject, _results(config), lambda outcome: _again(config, outcome))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say how many scenarios had which verdict, and where to read on."""
    outcomes = config.stash.get(_OUTCOMES, [])
    if outcomes:
        counts = Counter(outcome.verdict for outcome in outcomes)
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
        terminalreporter.write_line(f"scenarios: {told}; outcomes and histories in {_results(config)}")
    if outcomes and config.getoption("--shrink"):
        from harness.minimizing import shrink_failures

        shrink_failures(
            outcomes,
            config.getoption("--subject"),
            config.getoption("--stack"),
            _results(config),
            config.getoption("--shrink"),
            terminalreporter.write_line,
            lambda outcome: _smaller(config, outcome),
        )


def _crew(config: pytest.Config) -> Crew:
    if _CREW not in config.stash:
        subject = Subject.load(config.getoption("--subject"))
        config.stash[_CREW] = Crew(
            subject,
            bench_maker(subject, config.getoption("--stack")),
            history_directory=_results(config) / reporting.HISTORIES,
            seed=config.getoption("--seed"),
            keep_passed=config.getoption("--keep-histories"),
        )
    return config.stash[_CREW]


def _again(config: pytest.Config, outcome: Outcome) -> str:
    """The command that runs a scenario again."""
    item = f"{outcome.scenario_file}::{outcome.scenario.rpartition('/')[2]}"
    words = ["pytest", item, "--subject", str(config.getoption("--subject")), "--seed", str(outcome.seed)]
    return shlex.join([*words, "--stack", config.getoption("--stack")])


def _told(config: pytest.Config, outcome: Outcome) -> str:
    told = reporting.told(outcome, _again(config, outcome))
    if outcome.verdict != "failed" or outcome.history is None:
        return told
    return f"{told}\n  smaller:   {_smaller(config, outcome)}"


def _smaller(config: pytest.Config, outcome: Outcome) -> str:
    """The command that makes a failed scenario smaller."""
    words = ["plumbline", "shrink", str(outcome.history), "--subject", str(config.getoption("--subject"))]
    return shlex.join([*words, "--stack", config.getoption("--stack")])


def _results(config: pytest.Config) -> Path:
    path: Path = config.getoption("--results")
    return path if path.is_absolute() else config.invocation_params.dir / path


def _scenarios(items: Iterable[pytest.Item]) -> Iterator[ScenarioItem]:
    return (item for item in items if isinstance(item, ScenarioItem))


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return str(marker.args[0]) if marker is not None and marker.args else ""


def _mark(clause: str) -> str:
    return f"clause_{clause.replace('-', '_')}"


def _mark_of_area(area: str) -> str:
    return f"area_{re.sub(r'[^A-Za-z0-9_]', '_', area)}"

"""What a report's files hold, without a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from harness import report
from harness.report.excerpt import MOST_EVENTS, MOST_RELEVANT, Excerpts
from harness.report.writing import FILES
from harness.runner import records


def test_all_files_are_written(make_outcome: Any, tmp_path: Path) -> None:
    """A report is its five files, and nothing else."""
    report.write([make_outcome()], "reference", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)


def test_hostile_text_is_only_text(make_outcome: Any, tmp_path: Path) -> None:
    """No tag and no template of a history's text reaches the page as such, not in its data either."""
    outcome = make_outcome(reason="<b>bold</b> <script>window.pwned=3</script>", polls=3)
    report.write([outcome], "ref</title><script>window.pwned=4</script>", tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "window.pwned" in page
    assert not re.search(r"<script>window|<img|<b>bold", page)
    assert len(re.findall(r"<script\b", page)) == page.count("</script>") == 3
    assert "{{ 7*7 }}" in page


def test_page_asks_for_nothing(make_outcome: Any, tmp_path: Path) -> None:
    """The page refers to nothing outside itself, and its policy forbids all but its own style and script."""
    report.write([make_outcome()], "reference", tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    visible = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=\"(?!#)[^\"]*\"", visible)
    assert "default-src 'none'" in page
    assert "url(" not in page
    assert "@import" not in page


def test_scenario_is_told(make_outcome: Any, tmp_path: Path) -> None:
    """A failed scenario says its finding with the scenario's names, marks the witnesses, and says how to run it again."""
    report.write([make_outcome("aaa/fine", "passed"), make_outcome()], "reference", tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "run r was read COMPLETED and later RUNNING, without a retry that explains it" in page
    assert re.findall(r'href="#e0-(\d+)" class="row witness"', page.partition("<template>")[0]) == ["7", "8"]
    assert "plumbline check SUBJECT.yaml --scenarios scenarios/resume/ended.yaml -k resume/ended --seed 7" in page
    assert "kill consumer" in page
    assert page.index("<b>resume/ended</b>") < page.index("<b>aaa/fine</b>"), "what failed comes first"


def test_long_history_is_bounded(make_outcome: Any, tmp_path: Path) -> None:
    """Of a long history at most 2,000 events are taken, the witnesses among them, and the report says so."""
    outcome = make_outcome(polls=MOST_EVENTS + 500)
    excerpt = Excerpts().of(outcome)
    assert excerpt is not None
    assert len(excerpt.events) == MOST_EVENTS
    assert excerpt.total == MOST_EVENTS + 510
    assert set(outcome.findings[0].events) <= {event.seq for event in excerpt.events if event.is_relevant}
    assert "2,000 of 2,510 events" in str(excerpt.note)
    report.write([outcome], "reference", tmp_path)
    assert "2,000 of 2,510 events" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_relevant_events_are_bounded(make_outcome: Any) -> None:
    """Offsets and readings are not shown by default, and never more than the bound is."""
    excerpt = Excerpts().of(make_outcome(polls=400))
    assert excerpt is not None
    relevant = [event for event in excerpt.events if event.is_relevant]
    assert 0 < len(relevant) <= MOST_RELEVANT
    assert not any("committed" in event.text for event in relevant)


def test_spent_budget_leaves_what_is_relevant(make_outcome: Any) -> None:
    """A report that is full takes only the relevant events of further histories, and says so."""
    excerpt = Excerpts(budget=0).of(make_outcome(polls=20))
    assert excerpt is not None
    assert all(event.is_relevant for event in excerpt.events)
    assert excerpt.note is not None


@pytest.mark.parametrize("content", [None, "no history\n", '{"seq": 4}\n', ""])
def test_lost_history_is_told(make_outcome: Any, tmp_path: Path, content: str | None) -> None:
    """A history that is gone or broken does not hinder the report, which says that it could not be read."""
    outcome = make_outcome()
    if content is None:
        outcome.history.unlink()
    else:
        outcome.history.write_text(content)
    report.write([outcome], "reference", tmp_path)
    assert "The history cannot be read" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_surrogates_are_written(tmp_path: Path, make_outcome: Any) -> None:
    """Half of a surrogate pair in a history or a subject's reason breaks no file."""
    outcome = make_outcome()
    text = outcome.history.read_text().replace("window.pwned=2", "\\ud800")
    outcome.history.write_text(text)
    report.write([outcome, make_outcome("x/y", "unknown", reason="half \ud800")], "reference", tmp_path)
    ElementTree.parse(tmp_path / "junit.xml")
    assert report.load(tmp_path).subjects[0].entries[1].outcome.reason == "half \ud800"


def test_json_is_read_back(make_outcome: Any, tmp_path: Path) -> None:
    """What is loaded equals what was written, and makes the same page."""
    report.write([make_outcome(polls=3), make_outcome("x/y", "not supported", reason="no loop")], "ref", tmp_path / "a")
    loaded = report.load(tmp_path / "a" / "report.json")
    report.write_report(loaded, tmp_path / "b")
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_outcome_lines_are_loaded(make_outcome: Any, tmp_path: Path) -> None:
    """Lines of outcomes make a report as well, with the histories that are still there."""
    records.write_lines([make_outcome(), make_outcome(subject="other")], tmp_path / "outcomes.jsonl")
    loaded = report.load(tmp_path / "outcomes.jsonl")
    assert [subject.name for subject in loaded.subjects] == ["reference", "other"]
    assert all(entry.excerpt and entry.excerpt.events for subject in loaded.subjects for entry in subject.entries)
    assert loaded == report.load(tmp_path)


@pytest.mark.parametrize(
    "content", ["", "[1, 2]", "{}", '{"format": "other"}', '{"format": "plumbline-report-1"}', "\x00"]
)
def test_no_report_is_refused(tmp_path: Path, content: str) -> None:
    """A file that is no report is refused, with its name."""
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(report.ReportError, match=re.escape(str(path))):
        report.load(path)


def test_join_keeps_subjects_apart(make_outcome: Any, tmp_path: Path) -> None:
    """Joined reports have a column for each subject, those of one name told apart by a number."""
    for name, verdict in (("one", "passed"), ("two", "failed"), ("three", "passed")):
        report.write([make_outcome(verdict=verdict)], "mine" if name != "three" else "yours", tmp_path / name)
    joined = report.join(report.load(tmp_path / name) for name in ("one", "two", "three"))
    report.write_report(joined, tmp_path / "joined")
    page = (tmp_path / "joined" / "report.html").read_text(encoding="utf-8")
    row = re.search(r'<tr id="c-RES-14".*?</tr>', page, re.DOTALL)
    assert row is not None
    assert re.findall(r"[✓✗·] (\w+)</td>", row.group()) == ["passed", "failed", "passed"]
    assert re.findall(r"<th>(mine|mine \(2\)|yours)</th>", page) == ["mine", "mine (2)", "yours"]
    with pytest.raises(report.ReportError, match="found none"):
        report.join([])


def test_junit_has_a_case_for_each_scenario(make_outcome: Any, tmp_path: Path) -> None:
    """Red is a failure, unknown an error, not supported and a known failure are skipped, an unexpected pass is a failure."""
    report.write(
        [
            make_outcome("a/passed", "passed"),
            make_outcome("a/failed", "failed"),
            make_outcome("a/unknown", "unknown", reason="the stack \x07 broke"),
            make_outcome("a/lacking", "not supported", reason="no loop"),
            make_outcome("a/known", "failed", known_failure="issue 3"),
            make_outcome("a/surprise", "passed", known_failure="issue 4"),
        ],
        "reference",
        tmp_path,
    )
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()[0]
    found = {case.get("name"): [child.tag for child in case if child.tag != "properties"] for case in suite}
    assert found == {
        "passed": [],
        "failed": ["failure"],
        "unknown": ["error"],
        "lacking": ["skipped"],
        "known": ["skipped"],
        "surprise": ["failure"],
    }
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6",
        "failures": "2",
        "errors": "1",
        "skipped": "2",
    }


def test_summary_is_plain(make_outcome: Any, tmp_path: Path) -> None:
    """The summary names what is red, on one line of its table, and takes nothing for markup."""
    report.write([make_outcome("x/y", "unknown", reason="a | b\n# no *heading* <img>")], "reference", tmp_path)
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "| x/y | reference | unknown | RES-14 | a \\| b \\# no \\*heading\\* \\<img\\> |" in text
    assert "1 unknown." in text


@pytest.mark.parametrize(
    ("verdict", "told"), [("failed", "1 failed"), ("passed", "1 passed, in part"), ("unknown", "no level")]
)
def test_badge_tells_how_it_stands(make_outcome: Any, tmp_path: Path, verdict: Any, told: str) -> None:
    """The badge never says more than was shown."""
    report.write([make_outcome(verdict=verdict)], "reference", tmp_path)
    assert ElementTree.parse(tmp_path / "badge.svg").getroot().get("aria-label") == f"plumbline: {told}"


def test_report_says_its_format(make_outcome: Any, tmp_path: Path) -> None:
    """The JSON names its format and the version of the contract."""
    report.write([make_outcome()], "reference", tmp_path)
    data = json.loads((tmp_path / "report.json").read_text())
    assert (data["format"], data["contract"]) == ("plumbline-report-1", "1")

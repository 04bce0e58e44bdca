"""The page in a headless Chromium, where there is one."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness import report

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_TIMEOUT_SECONDS = 90

pytestmark = pytest.mark.skipif(_CHROMIUM is None, reason="no Chromium is installed: chromium is not on the PATH")


def _run(page: str, tmp_path: Path, *options: str) -> tuple[str, str]:
    """What Chromium prints of the page and on its console."""
    assert _CHROMIUM is not None
    done = subprocess.run(
        [
            _CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'chromium'}",
            *options,
            page,
        ],
        capture_output=True,
        timeout=_TIMEOUT_SECONDS,
        check=True,
    )
    console = [line for line in done.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
    return done.stdout.decode(errors="replace"), "\n".join(console)


@pytest.fixture
def page(make_outcome: Any, tmp_path: Path) -> Path:
    """A report with a failed scenario of 30 events, and a passed one."""
    report.write([make_outcome(polls=20), make_outcome("a/fine", "passed")], "reference", tmp_path / "out")
    return tmp_path / "out" / "report.html"


def test_renders_without_errors(page: Path, tmp_path: Path) -> None:
    """The page loads with nothing on the console, and shows the finding, its witnesses and the command."""
    dom, console = _run(page.as_uri(), tmp_path, "--dump-dom")
    assert console == ""
    text = html.unescape(re.sub(r"<[^>]+>", "", dom))
    assert "run r was read COMPLETED and later RUNNING, without a retry that explains it" in text
    assert "plumbline check SUBJECT.yaml" in text
    assert len(re.findall(r'class="row witness"', dom.split("<template>")[0])) == 2
    assert dom.startswith("<!DOCTYPE html>") or "<html" in dom


def test_hostile_text_does_nothing(page: Path, tmp_path: Path) -> None:
    """Scripts and images in what an executor wrote are no elements of the page."""
    dom, _ = _run(page.as_uri(), tmp_path, "--dump-dom")
    assert "<img" not in dom
    assert len(re.findall(r"<script\b", dom)) == 3


def test_link_opens_an_event(page: Path, tmp_path: Path) -> None:
    """A link to an event that is not shown loads all events, opens it and what it lies in, with no script in the way."""
    dom, console = _run(f"{page.as_uri()}#e0-12", tmp_path, "--dump-dom")
    assert console == ""
    assert re.search(r'<details id="e0-12" class="event" open="">', dom)
    assert dom.count('<details id="e0-') + dom.count('id="e0-') >= 30
    assert re.search(r"<pre>[^<]*committed[^<]*</pre>", dom)


def test_screenshot_has_the_red_of_a_finding(page: Path, tmp_path: Path) -> None:
    """The page is drawn: its picture is no blank one, in the light and in the dark."""
    sizes = []
    for scheme in ("1", "0"):
        path = tmp_path / f"{scheme}.png"
        options = ("--hide-scrollbars", "--window-size=1300,1800", f"--blink-settings=preferredColorScheme={scheme}")
        _run(page.as_uri(), tmp_path, *options, f"--screenshot={path}")
        sizes.append(path.stat().st_size)
    assert min(sizes) > 50_000, "a blank picture of this size takes some 10 kB"


_HANDS = """<script>
const events = () => document.querySelectorAll("#s0 svg.timeline a").length;
const told = { before: events() };
document.querySelector("#s0 template").parentElement.open = true;
setTimeout(() => {
  told.whole = events();
  document.querySelector("button[data-all]").click();
  told.history = document.querySelectorAll("#history-0 > details").length;
  told.order = [...document.querySelectorAll("#history-0 > details")].every((one, index) => one.id === `e0-${index}`);
  const field = document.getElementById("filter");
  field.value = "fine passed";
  field.dispatchEvent(new Event("input"));
  told.shown = [...document.querySelectorAll("details.scenario:not([hidden])")].map((one) => one.id);
  field.value = "";
  field.dispatchEvent(new Event("input"));
  told.again = document.querySelectorAll("details.scenario:not([hidden])").length;
  dispatchEvent(new Event("beforeprint"));
  told.printed = [...document.querySelectorAll("#s0 details.witness")].every((one) => one.open);
  told.reached = [...document.querySelectorAll("#s0 svg a")].filter((one) => one.tabIndex === 0).length;
  told.pwned = window.pwned ?? null;
  document.body.textContent = JSON.stringify(told);
}, 0);
</script></body>"""


def test_page_works_by_hand(page: Path, tmp_path: Path) -> None:
    """The whole timeline and history come when asked for, in order; the filter hides the rest; print opens the proof; the
    tabulator key reaches the witnesses alone."""
    text = page.read_text(encoding="utf-8")
    without_policy, number = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    assert number == 1
    page.with_name("by-hand.html").write_text(without_policy.replace("</body>", _HANDS), encoding="utf-8")
    dom, console = _run(page.with_name("by-hand.html").as_uri(), tmp_path, "--dump-dom", "--virtual-time-budget=5000")
    assert console == ""
    body = re.search(r"<body>(.*)</body>", dom, re.DOTALL)
    assert body is not None
    told = json.loads(html.unescape(body.group(1)))
    assert told.pop("before") < 30
    # A witness is drawn in both timelines, and reached in both.
    assert told.pop("whole") > 30
    assert told == {
        "history": 30,
        "order": True,
        "shown": ["s1"],
        "again": 2,
        "printed": True,
        "reached": 4,
        "pwned": None,
    }

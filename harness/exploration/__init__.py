"""Generated runs on a real subject, many at once, judged by the oracle and every checker; what fails is made smaller."""

from harness.exploration.files import document, expectations, scenario_of, text_of
from harness.exploration.fleet import Fleet, Landed
from harness.exploration.judging import Judged, judge
from harness.exploration.profiles import PROFILES, Drawn, Profile
from harness.exploration.session import Counts, Explorer, Failure
from harness.exploration.shrinking import Shrunk, replay, shrink

__all__ = [
    "PROFILES",
    "Counts",
    "Drawn",
    "Explorer",
    "Failure",
    "Fleet",
    "Judged",
    "Landed",
    "Profile",
    "Shrunk",
    "document",
    "expectations",
    "judge",
    "replay",
    "scenario_of",
    "shrink",
    "text_of",
]

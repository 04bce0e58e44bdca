"""Where the suite and the subjects' files are: in the checkout, or, when the package was installed from a wheel, in it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parent
_ROOT: Final = next(
    (root for root in (_PACKAGE.parent, _PACKAGE / "suite") if (root / "scenarios" / "scenario.schema.json").is_file()),
    _PACKAGE.parent,
)

SCENARIOS_DIRECTORY: Final = _ROOT / "scenarios"
"""The suite and the schema of its files."""

SUBJECTS_DIRECTORY: Final = _ROOT / "subjects"
"""The subjects' files that come with the project, and their schema."""


def suite() -> Path:
    """The suite as it is named when nobody names one: `scenarios` below the current folder, else the project's own."""
    here = Path("scenarios")
    return here if here.is_dir() else SCENARIOS_DIRECTORY

"""How these pages become HTML: Sphinx reads them as MyST Markdown; every warning is an error, and nothing is fetched."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

project = "Plumbline"
author = "The Plumbline authors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_build"]

# Every heading down to the fourth level can be linked to, under the name that GitHub gives it.
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
nitpicky = True
# What is quoted stays as it is typed.
smartquotes = False

html_theme = "furo"
html_title = "Plumbline"
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"


def _without_empty_places(app: Sphinx, docname: str, source: list[str]) -> None:
    """A pattern in the navigation keeps a place for a page that another command writes; until then it is no entry."""
    if docname == root_doc:
        folder = Path(app.srcdir)
        source[0] = re.sub(
            r"^(\S+\*)\n", lambda match: match[0] if any(folder.glob(f"{match[1]}.md")) else "", source[0], flags=re.M
        )


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _without_empty_places)

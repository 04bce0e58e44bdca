"""Every link between the pages, and from them into the project, leads somewhere."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.docs.blocks import ROOT, pages

_DOCS = ROOT / "docs"


def _links(page: Path) -> list[tuple[int, str]]:
    """(line, target) of each link and picture."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        for child in token.children or ():
            target = child.attrs.get("href") or child.attrs.get("src")
            if target:
                assert token.map is not None
                found.append((token.map[0] + 1, str(target)))
    return found


@cache
def _anchors(page: Path) -> set[str]:
    """The names of a page's headings in links, as GitHub makes them."""
    tokens: list[Token] = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    titles = [tokens[number + 1] for number, token in enumerate(tokens) if token.type == "heading_open"]
    found: dict[str, int] = {}
    names = set()
    for title in titles:
        text = "".join(child.content for child in title.children or () if child.type in ("text", "code_inline"))
        slug = re.sub(r"[^\w\- ]", "", text.lower().strip()).replace(" ", "-")
        number = found.get(slug, 0)
        found[slug] = number + 1
        names.add(f"{slug}-{number}" if number else slug)
    return names


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file of the project, and to a heading of it where one is named. Addresses of other sites are not asked."""
    lost = []
    for line, target in _links(page):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists():
            lost.append(f"{page.name}:{line}: {target}: there is no {name}")
        elif not file.is_relative_to(ROOT):
            lost.append(f"{page.name}:{line}: {target} leads out of the project")
        elif anchor and file.suffix == ".md" and anchor not in _anchors(file):
            lost.append(f"{page.name}:{line}: {target}: {file.name} has no heading of this name")
    assert not lost, "\n".join(lost)


def test_every_page_is_in_the_navigation() -> None:
    """docs/index.md lists each page once, by name or by a pattern, and no name that is not there."""
    listed = re.findall(r"^```\{toctree\}\n(.*?)^```", (_DOCS / "index.md").read_text(encoding="utf-8"), re.M | re.S)
    names = [line for block in listed for line in block.splitlines() if line and not line.startswith(":")]
    there = {page.stem for page in _DOCS.glob("*.md")} - {"index"}
    assert {name for name in names if "*" not in name} <= there
    assert {page: [name for name in names if fnmatch(page, name)] for page in there} == {
        page: [name] for page in there for name in names if fnmatch(page, name)
    }

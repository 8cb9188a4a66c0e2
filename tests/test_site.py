"""The built pages: they search without a server, and their tables fit a screen of 1280 pixels."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIM = ROOT / "docs" / "javascripts" / "iframe-worker" / "shim.js"
# In pixels: the page's column beside both sidebars of a window of 1280, and the sizes of docs/stylesheets/tables.css.
COLUMN, FONT = 733, 12.8
CELL_PADDING, CODE_PADDING = 2 * 0.6 * FONT, 2 * 0.3 * 0.85 * FONT
TEXT, CODE = 0.6 * FONT, 0.62 * 0.85 * FONT
# A browser breaks a line at a space and after a hyphen between letters.
BREAK = re.compile(r"\s+|(?<=\w-)(?=\w)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once."""
    pytest.importorskip("material")
    folder = tmp_path_factory.mktemp("site")
    arguments = ["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


class Tables(HTMLParser):
    """The least width of each column of each table of a page, in pixels."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[float]] = []
        self.column, self.cell, self.code, self.highlight = -1, False, False, False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.highlight = dict(attributes).get("class") is not None  # line numbers of code
            self.tables += [] if self.highlight else [[]]
        elif tag == "tr":
            self.column = -1
        elif tag in ("td", "th") and not self.highlight:
            self.column, self.cell = self.column + 1, True
        self.code = self.code or tag == "code"

    def handle_endtag(self, tag: str) -> None:
        self.cell = self.cell and tag not in ("td", "th")
        self.code = self.code and tag != "code"

    def handle_data(self, text: str) -> None:
        if not self.cell:
            return
        widths = self.tables[-1]
        widths += [0.0] * (self.column + 1 - len(widths))
        longest = max(map(len, BREAK.split(text)), default=0)
        width = CELL_PADDING + (longest * CODE + CODE_PADDING if self.code else longest * TEXT)
        widths[self.column] = max(widths[self.column], width)


def too_wide(text: str) -> list[float]:
    """Least widths of the tables of a page that do not fit its column."""
    return [sum(widths) for widths in Tables(text).tables if sum(widths) > COLUMN]


def test_the_estimate_finds_a_table_that_is_too_wide() -> None:
    row = "".join(f"<td><code>{'x' * length}</code></td>" for length in (30, 40, 40))
    assert too_wide(f"<table><tr>{row}</tr></table>")
    assert not too_wide(f"<table><tr>{row.replace('xx', 'x ')}</tr></table>")
    assert not too_wide(f'<table class="highlighttable"><tr>{row}</tr></table>')


@pytest.mark.slow
def test_every_table_fits_a_screen_of_1280_pixels(site: Path) -> None:
    pages = {page.relative_to(site): page.read_text("utf-8") for page in site.rglob("*.html")}
    assert sum(len(Tables(text).tables) for text in pages.values()) > 50
    assert {page: widths for page, text in pages.items() if (widths := too_wide(text))} == {}


@pytest.mark.slow
def test_the_search_needs_no_server(site: Path) -> None:
    """Pages from disk may not fetch: the index is a script, and the worker that searches runs in a frame."""
    index = (site / "search" / "search_index.js").read_text("utf-8")
    assert index.startswith("var __index = ")
    locations = {entry["location"] for entry in json.loads(index.removeprefix("var __index = "))["docs"]}
    assert {"arithmetic.html", "glossary.html", "extending/neuron.html"} <= locations
    assert (site / SHIM.relative_to(ROOT / "docs")).read_bytes() == SHIM.read_bytes()
    assert (site / SHIM.relative_to(ROOT / "docs")).with_name("LICENSE").is_file()
    for page in site.rglob("*.html"):
        scripts = re.findall(r'<script src="([^"]+)"', page.read_text("utf-8"))
        shims = [script for script in scripts if "iframe-worker" in script]
        assert len(shims) == 1 and (page.name == "404.html" or (page.parent / shims[0]).resolve().is_file()), page

"""Links between the documents lead somewhere."""

import re
from pathlib import Path

import pytest
from tests.pages import ROOT

PAGES = sorted(
    page
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "deploy/**/*.md",
        "clients/*.md",
        "clients/*/README.md",
        "examples/*.md",
        "benchmarks/**/README.md",
    )
    for page in ROOT.glob(pattern)
    if "node_modules" not in page.parts
)  # fmt: skip
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
DOCS = ROOT / "docs"


def text_of(page: Path) -> str:
    """Return a page without its blocks, in which neither links nor headings are meant."""
    return FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(text_of(page)))
    return {heading.replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in LINK.findall(text_of(page)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def linked(page: Path) -> list[Path]:
    """Return the pages that a page links to."""
    return [
        (page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(text_of(page)) if "://" not in link
    ]


def test_the_index_has_every_page_of_the_documentation_once() -> None:
    """Decision records have an index of their own; `index.md` is the site's."""
    index = DOCS / "README.md"
    expected = {page for page in DOCS.rglob("*.md") if page.parent != DOCS / "adr"} - {index, DOCS / "index.md"}
    expected |= {DOCS / "adr" / "README.md", *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY"))}
    assert sorted(linked(index)) == sorted(expected)
    records = {page for page in (DOCS / "adr").glob("*.md") if page.name != "README.md"}
    assert records <= set(linked(DOCS / "adr" / "README.md"))
    assert index in linked(ROOT / "README.md")


def test_every_line_of_the_index_says_what_its_page_is_about() -> None:
    rows = [line for line in (DOCS / "README.md").read_text().splitlines() if line.startswith("| [")]
    assert rows
    assert [row for row in rows if not re.fullmatch(r"\| \[[^]]+\]\([^)]+\) \| .{5,} \|", row)] == []

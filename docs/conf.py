"""The pages of docs/ as a static site: `make site` builds it by Sphinx; index.md has the order of the pages.

The pages are written for a reader of the repository, and the site shows them unchanged. Only links that leave docs/ get
another address: that of the file in the repository, which has to be there.
"""

import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from docutils import nodes
from sphinx.util.logging import getLogger

DOCS: Final = Path(__file__).resolve().parent
ROOT: Final = DOCS.parent
SCHEME: Final = "source:"
SOURCE: Final = os.environ.get("SITE_SOURCE", "../..")
"""The folder of the repository's files: relative to the site, or the address of a published copy."""
ACCESSIBLE: Final = {
    "<pre>": '<pre tabindex="0">',  # a region that scrolls has to be reached by the keyboard (WCAG 2.1.1)
    '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
    'role="heading">': 'role="heading" aria-level="2">',  # WAI-ARIA requires the level
}
_CORNER: Final = re.compile(r'<th class="head[^"]*"><p></p></th>')
"""An empty head of a column, which heads nothing: a screen reader would read it as one."""
_LINK: Final = re.compile(r"(\]\()(?![a-z]+:)([^)\s#]+)")
_log: Final = getLogger(__name__)

project = "tokenmint"
extensions = ["myst_parser"]
suppress_warnings = ["misc.highlighting_failure"]
myst_heading_anchors = 4
myst_url_schemes = ["http", "https", SCHEME.removesuffix(":")]
html_theme = "furo"
templates_path = ["_templates"]
html_title = project
html_copy_source = False
html_use_index = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"footer_icons": []}


def setup(app: Any) -> None:
    """Register the two steps of a link that leaves docs/, and the repairs of the theme."""
    app.connect("source-read", mark_links)
    app.connect("doctree-resolved", place_links)
    app.connect("html-page-context", make_accessible, priority=900)  # after the theme's own


def mark_links(_: Any, page: str, source: list[str]) -> None:
    """Give the links of a page that leave the site a scheme of their own."""
    folder = posixpath.dirname(page)

    def marked(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(DOCS.name, folder, link[2]))
        if target.startswith(f"{DOCS.name}/"):
            if (ROOT / target).is_file():
                return link[0]
            if (ROOT / target / "README.md").is_file():
                return f"{link[1]}{link[2]}/README.md"
        if not (ROOT / target).exists():
            _log.warning("there is no %s in the repository", target, location=page)
        return f"{link[1]}{SCHEME}{target}"

    source[0] = "\n".join(line if code else _LINK.sub(marked, line) for code, line in _lines(source[0]))


def place_links(_: Any, tree: nodes.document, page: str) -> None:
    """Let these links lead to the files of the repository."""
    source = (
        SOURCE if "://" in SOURCE else posixpath.join(posixpath.relpath(".", posixpath.dirname(page) or "."), SOURCE)
    )
    for link in tree.findall(nodes.reference):
        if link.get("refuri", "").startswith(SCHEME):
            link["refuri"] = posixpath.join(source, link["refuri"].removeprefix(SCHEME))


def make_accessible(_: Any, __: str, ___: str, context: dict[str, Any], ____: Any) -> None:
    """Repair the faults of the theme's markup that axe-core finds."""
    for part in ("body", "furo_navigation_tree"):
        for before, after in ACCESSIBLE.items():
            context[part] = context.get(part, "").replace(before, after)
    context["body"] = _CORNER.sub("<td></td>", context["body"])


def _lines(text: str) -> Iterator[tuple[bool, str]]:
    """Yield each line, and whether it is one of a fenced block."""
    inside = False
    for line in text.splitlines():
        fence = line.lstrip().startswith("```")
        yield inside or fence, line
        inside ^= fence

"""The site of docs/ in a real browser: axe-core finds nothing on its main pages, and none is wider than the window.

`make site` has built it.
"""

from typing import TYPE_CHECKING, Any

import pytest
from tests.browser.conftest import AXE
from tests.pages import ROOT

if TYPE_CHECKING:
    from playwright.async_api import Browser

SITE = ROOT / "build" / "site"
PICTURES = ROOT / "build" / "site-pictures"
PAGES = (
    "index", "README", "tutorial", "explanation", "configuration", "cli", "refusals", "metrics", "providers",
    "standards", "architecture", "security", "performance", "releasing", "guides/README", "guides/kubernetes",
    "guides/console", "runbooks/alerts", "adr/README", "search",
)  # fmt: skip
"""Tables, code, pictures, long pages, and the pages that the theme makes."""


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [("wide", 1280, "light"), ("narrow", 360, "light"), ("dark", 1280, "dark"), ("narrow-dark", 360, "dark")],
)
async def test_axe_finds_nothing_on_the_pages_and_none_is_wider_than_the_window(
    browser: "Browser", name: str, width: int, scheme: Any
) -> None:
    assert SITE.is_dir(), "run `make site` first"
    context = await browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = await context.new_page()
    found: list[str] = []
    PICTURES.mkdir(parents=True, exist_ok=True)
    for one in PAGES:
        await page.goto((SITE / f"{one}.html").as_uri())
        await page.screenshot(path=PICTURES / f"{name}-{one.replace('/', '-')}.png")
        await page.evaluate(AXE.read_text())
        told = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        found += [
            f"{one}: {rule['id']}: {len(rule['nodes'])} times, first {rule['nodes'][0]['html'][:160]}: "
            f"{rule['nodes'][0]['failureSummary']}"
            for rule in told["violations"]
        ]
        wide = await page.evaluate("document.documentElement.scrollWidth")
        found += [f"{one}: {wide} pixels wide"] if wide > width else []
    await context.close()
    assert not found, "\n".join(found)

"""The guides, followed: every command, every configuration, every answer and every refusal that they show."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import outside
from tests.guide_refusals import REFUSED
from tests.guide_settings import GOOGLE, SETTINGS, keys
from tests.guides import (
    ANSWERS,
    GUIDES,
    KINDS,
    LANES,
    Setting,
    Walk,
    check_configuration,
    check_rows,
)
from tests.issuer import Issuer
from tests.pages import ROOT, blocks_of

pytestmark = pytest.mark.processes

EXCERPTS = {"envoy": "envoy/envoy.yaml", "kubernetes": "helm/examples/minimal.yaml"}
"""The tested files, below `deploy`, of which the pages show parts."""
PAGES = sorted(page for page in GUIDES.glob("*.md") if page.name != "README.md")


@pytest.fixture
def walk(request: pytest.FixtureRequest, tmp_path: Path, issuer: Issuer) -> Iterator[Walk]:
    page: Path = request.param
    walking = Walk(page, tmp_path, issuer, SETTINGS[page.stem])
    try:
        with outside.standing_in(walking):
            yield walking
    finally:
        walking.stop()


each_guide = pytest.mark.parametrize("walk", PAGES, ids=lambda page: page.stem, indirect=True)


@each_guide
def test_a_guide_does_what_it_says(walk: Walk) -> None:
    check_configuration(walk)
    walk.serve()
    assert walk.follow() > 0
    check_rows(walk, REFUSED[walk.page.stem])


def test_where_the_guides_begin(tmp_path: Path, issuer: Issuer) -> None:
    page = GUIDES / "README.md"
    google = {**GOOGLE, "aud": "1234.apps.googleusercontent.com"}
    walk = Walk(page, tmp_path, issuer, Setting((), lambda issuer, now: {"id-token.txt": issuer.token(now, **google)}))
    for name in ("web", "admin"):
        (tmp_path / f"{name}.secret").unlink()
    try:
        for index, block in enumerate(walk.blocks):
            if block.kind != "sh":
                continue
            following = walk.blocks[index + 1] if index + 1 < len(walk.blocks) else None
            walk.step(block, following if following is not None and following.kind in ANSWERS else None)
            if "tokenmint init" in block.text:
                before, after = keys("google")
                text = walk.config.read_text().replace(before, after.replace("{issuer}", issuer.url))
                walk.config.write_text(text.replace("CHANGE-ME", "1234"))  # as the page says
        assert walk.service is not None
    finally:
        walk.stop()


# --- nothing in them is left unexecuted ---------------------------------------------------------------------------


@pytest.mark.parametrize("page", [*PAGES, GUIDES / "README.md"], ids=lambda page: page.stem)
def test_every_block_is_one_that_something_executes(page: Path) -> None:
    blocks = blocks_of(page)
    for index, block in enumerate(blocks):
        place = f"{page.name}, line {block.line}"
        if not block.kind:
            picture = re.search(
                r"^\s*(\$|tokenmint|curl|make|npm|npx|pip|export|echo|openssl)\b", block.text, re.MULTILINE
            )
            assert picture is None, f"{place}: commands in a picture"
            continue
        assert block.kind in KINDS, f"{place}: nothing executes {block.kind}"
        if block.kind in ("sh", "python"):
            assert block.mark in ("", *LANES), f"{place}: there is no lane {block.mark!r}"
        elif block.kind == "toml":
            assert block.mark in ("", "alternative", *LANES), f"{place}: nothing loads it"
        elif block.kind in ANSWERS:
            assert index > 0, f"{place}: what is this the answer of?"
            assert blocks[index - 1].kind in ("sh", "python"), f"{place}: what is this the answer of?"
        elif block.kind == "yaml":
            shown = [line.strip() for line in block.text.splitlines()]
            whole = [line.strip() for line in (ROOT / "deploy" / EXCERPTS[page.stem]).read_text().splitlines()]
            held = any(whole[at : at + len(shown)] == shown for at in range(len(whole)))
            assert held, f"{place}: is no excerpt of deploy/{EXCERPTS[page.stem]}"
        if block.mark in LANES:
            assert page.name in (ROOT / LANES[block.mark]).read_text(), f"{place}: its lane does not read this page"


def test_every_guide_is_listed_and_has_its_stand_ins_and_its_refusals() -> None:
    listed = (GUIDES / "README.md").read_text()
    assert all(f"({page.name})" in listed for page in PAGES)
    assert "(docs/guides/README.md)" in (ROOT / "README.md").read_text()
    assert {page.stem for page in PAGES} == SETTINGS.keys() == REFUSED.keys()


def test_every_guide_leads_a_reader_to_the_first_steps() -> None:
    elsewhere = {"kubernetes.md"}  # the chart writes the configuration
    assert all("](README.md#before-you-start)" in page.read_text() for page in PAGES if page.name not in elsewhere)


@pytest.mark.parametrize(
    ("page", "lane"),
    sorted({(page.name, block.mark) for page in PAGES for block in blocks_of(page) if block.mark in LANES}),
)
def test_what_needs_more_than_python(page: str, lane: str) -> None:
    target = {
        "firebase": "test-firebase",
        "envoy": "test-interop",
        "gateways": "test-gateways",
        "kubernetes": "test-processes",
        "relying-parties": "test-relying-parties",
    }[lane]
    pytest.skip(f"the blocks of {page} that are marked {lane!r} are executed by `make {target}`")


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target

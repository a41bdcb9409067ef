"""The console in a real browser: what an operator sees and does, and what the browser is kept from doing."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.browser.conftest import AXE
from tests.rig import Rig, refusal

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Route

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "console"
HOSTILE = "<img src=x onerror=window.hit=1><script>window.hit=1</script>"
PATIENCE = 30_000  # milliseconds, on a busy machine
WIDER = """(width) => [...document.querySelectorAll("body *")]
    .filter((one) => one.getBoundingClientRect().right > width + 1 && !one.parentElement.closest(".scroll, nav, .skip"))
    .map((one) => one.outerHTML.slice(0, 100))"""
"""The elements that reach beyond the window, except within those that scroll by themselves."""
PARTS = ("keys", "exchanges", "refusals", "health", "access")


async def sign_in(page: "Page", rig: Rig, operator: str = "root") -> None:
    await page.get_by_label("Operator").fill(operator)
    await page.get_by_label("Secret").fill(rig.secrets[operator].reveal())
    await page.get_by_role("button", name="Sign in").click()
    await page.locator("#board").wait_for(timeout=PATIENCE)


async def filled(page: "Page") -> None:
    """Wait until every part has its data."""
    for part in PARTS:
        await page.locator(f"#{part} [data-body] > *").first.wait_for(timeout=PATIENCE)


async def paste(page: "Page", token: str, client: str = "web", audience: str = "https://orders.example") -> None:
    await page.get_by_label("Client", exact=True).last.fill(client)
    await page.get_by_label("Audience", exact=True).fill(audience)
    await page.get_by_label("Subject token").fill(token)
    await page.get_by_role("button", name="Explain").click()


async def text_of(page: "Page", selector: str) -> str:
    found = page.locator(selector)
    await found.first.wait_for(timeout=PATIENCE)
    return " ".join((await found.first.inner_text()).split())


async def test_a_refused_token_is_pasted_and_its_reason_and_line_are_read(page: "Page", world: Rig) -> None:
    await sign_in(page, world)
    await paste(page, world.issuer.token(world.clock.now(), aud="another-app"))
    shown = await text_of(page, "#explain-result h3")
    assert shown == "Refused: WRONG_AUDIENCE"
    decided = await text_of(page, "#explain-result .decided")
    number = 1 + world.config.read_text().split("\n").index('audiences = ["app"]')
    assert decided == f'providers.idp.audiences line {number} audiences = ["app"]'
    assert "another-app" in await text_of(page, "#explain-result .failed")
    assert "aud" in await text_of(page, "#explain-result h4 + p")


async def test_every_part_has_its_data(page: "Page", world: Rig) -> None:
    await sign_in(page, world)
    await filled(page)
    assert "orders-api/2.1" in await text_of(page, "#keys .columns")
    states = await page.locator("#keys .timeline .key .state").all_inner_texts()
    assert sorted(states) == sorted(str(key.state) for key in world.parts.signing_keys.ring.keys)
    assert {"prepared", "active", "revoked"} <= set(states)
    labels = [await one.get_attribute("aria-label") for one in await page.locator("#keys .bars").all()]
    assert all("from 20" in (label or "") for label in labels)
    rows = await page.locator("#exchanges tbody tr").all_inner_texts()
    assert len(rows) == 7
    assert "WRONG_AUDIENCE" in rows[0]
    reasons = await page.locator("#refusals summary > code").all_inner_texts()
    assert sorted(reason.strip("▸▾ ") for reason in reasons) == ["AUDIENCE_DENIED", "MALFORMED", "WRONG_AUDIENCE"]
    assert "no usable keys" in await text_of(page, "#health table")
    heads = await page.locator("#access thead th .audience").all_inner_texts()
    assert heads == ["legacy.example", "open.example", "orders.example", "reports.example"]


async def test_exchanges_come_in_live_and_are_filtered(page: "Page", world: Rig) -> None:
    await sign_in(page, world)
    await page.locator("#exchanges tbody tr").first.wait_for(timeout=PATIENCE)
    answer = await world.exchange.ExchangeToken(world.request(), **world.auth("web"))
    await world.parts.audit.flush()
    await page.get_by_text(answer.token_id).wait_for(timeout=PATIENCE)
    await page.get_by_label("Token id (jti)").fill(answer.token_id)
    await page.locator("#exchanges tbody tr").nth(1).wait_for(state="detached", timeout=PATIENCE)
    assert await page.locator("#exchanges tbody tr").count() == 1
    await page.get_by_label("Token id (jti)").fill("none")
    await page.get_by_text("No exchange matches.").wait_for(timeout=PATIENCE)
    await page.locator("#filters").get_by_role("button", name="Clear").click()
    await page.locator("#exchanges tbody tr").nth(7).wait_for(timeout=PATIENCE)


@pytest.mark.parametrize("body", ["<html>Sign in at the proxy</html>", '{"events": [', "null", "7", ""])
async def test_an_answer_of_something_else_is_told_and_asked_again(page: "Page", world: Rig, body: str) -> None:
    """A proxy answers 200 with a page of its own, or the service stops in the middle of an answer."""
    await sign_in(page, world)
    await filled(page)

    async def other(route: "Route") -> None:
        await route.fulfill(status=200, body=body)

    await page.route("**/api/exchanges", other)
    told = page.locator("#exchanges [data-fault]")
    await told.wait_for(timeout=PATIENCE)
    assert "Not up to date: the answer is not the console's" in await told.inner_text()
    await page.unroute("**/api/exchanges")
    await told.wait_for(state="detached", timeout=PATIENCE)


async def test_the_way_out_of_a_refusal_unfolds_and_stays_open(page: "Page", world: Rig) -> None:
    await sign_in(page, world)
    malformed = page.locator("#refusals details[data-reason=MALFORMED]")
    await malformed.locator("summary").click(timeout=PATIENCE)
    assert (await malformed.locator("p").inner_text()).startswith("The text is not a compact JWS")
    async with page.expect_response("**/api/refusals", timeout=PATIENCE):
        pass
    assert await malformed.get_attribute("open") is not None


async def test_hostile_claims_are_shown_as_text(page: "Page", world: Rig) -> None:
    hostile: list[dict[str, Any]] = [{"aud": HOSTILE}, {"iss": f"https://{HOSTILE}"}, {"sub": HOSTILE}]
    for claims in hostile:
        token = world.issuer.token(world.clock.now(), **claims)
        await refusal(world.exchange.ExchangeToken(world.request(token), **world.auth("web")))
    await world.parts.audit.flush()
    await sign_in(page, world)
    await filled(page)
    await paste(page, world.issuer.token(world.clock.now(), aud=HOSTILE))
    assert HOSTILE in await text_of(page, "#explain-result .failed")
    assert HOSTILE in (await page.locator("#exchanges tbody").inner_text())
    assert await page.locator("img").count() == 1  # the icon
    assert await page.locator("body script").count() == 0
    assert await page.evaluate("window.hit") is None


async def test_what_the_policy_forbids_does_not_run(browser: "Browser", world: Rig) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(world.url("console", "/"))
    run = """() => {
        const tried = document.createElement("script");
        try { tried.textContent = "window.hit = 1"; } catch (error) { return error.name; }
        document.body.append(tried);
        return String(window.hit);
    }"""
    assert await page.evaluate(run) in ("TypeError", "undefined")
    markup = (
        "() => { try { document.body.innerHTML = '<b>x</b>'; return 'set'; } catch (error) { return error.name; } }"
    )
    assert await page.evaluate(markup) == "TypeError"
    await context.close()


async def test_another_page_can_neither_frame_nor_read_it(browser: "Browser", world: Rig) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(world.url("http", "/.well-known/openid-configuration"))  # a page of another origin
    console = world.url("console", "")
    asks = """async ([url, headers]) => {
        try { return String((await fetch(url, { headers })).status); } catch (error) { return error.name; }
    }"""
    headers = {"tokenmint-console": "1", "tokenmint-client-id": "root"}
    headers["tokenmint-client-secret"] = world.secrets["root"].reveal()
    assert await page.evaluate(asks, [f"{console}/api/session", headers]) == "TypeError"
    frames = """async (url) => {
        const frame = document.createElement("iframe");
        frame.src = url;
        const loaded = new Promise((done) => frame.addEventListener("load", done));
        document.documentElement.append(frame);
        await loaded;
        try { return frame.contentDocument === null ? "foreign" : frame.contentDocument.title; }
        catch (error) { return error.name; }
    }"""
    assert await page.evaluate(frames, console) == "foreign"
    assert [frame.url for frame in page.frames[1:]] == ["chrome-error://chromewebdata/"]
    await context.close()


async def test_the_secret_is_in_memory_alone_and_gone_with_the_page(page: "Page", world: Rig) -> None:
    await sign_in(page, world)
    await filled(page)
    secret = world.secrets["root"].reveal()
    kept = await page.evaluate(
        """async () => JSON.stringify([
            { ...localStorage }, { ...sessionStorage }, document.cookie, location.href, history.state,
            (await indexedDB.databases()).length, await caches.keys(),
            document.documentElement.outerHTML,
            [...document.querySelectorAll("input, textarea")].map((one) => one.value),
            Object.values(window).filter((value) => typeof value === "string"),
        ])"""
    )
    assert secret not in kept
    assert json.loads(kept)[:3] == [{}, {}, ""]
    assert await page.context.cookies() == []
    await page.reload()
    await page.get_by_role("button", name="Sign in").wait_for(timeout=PATIENCE)
    assert await page.locator("#board").is_hidden()
    await sign_in(page, world)
    await filled(page)
    await page.get_by_role("button", name="Sign out").click()
    assert await page.locator("#board").is_hidden()
    assert "ada" not in await page.content()
    await page.go_back()
    assert await page.locator("#board").is_hidden()


async def test_a_wrong_secret_is_told_and_a_viewer_sees_no_explanation(page: "Page", world: Rig) -> None:
    await page.get_by_label("Operator").fill("guest")
    await page.get_by_label("Secret").fill("tms_wrong")
    await page.get_by_role("button", name="Sign in").click()
    assert "the name or the secret is wrong" in await text_of(page, "#login-error")
    assert await page.locator("#board").is_hidden()
    await sign_in(page, world, "guest")
    await paste(page, world.issuer.token(world.clock.now()))
    assert "lacks the role 'security'" in await text_of(page, "#explain-error")


async def test_a_huge_paste_is_told_without_being_sent(page: "Page", world: Rig) -> None:
    await sign_in(page, world)
    await page.locator("#explain-token").evaluate("(field) => { field.value = 'x'.repeat(5000000); }")
    await page.get_by_label("Client", exact=True).last.fill("web")
    await page.get_by_label("Audience", exact=True).fill("https://orders.example")
    await page.get_by_role("button", name="Explain").click()
    assert "no token is that long" in await text_of(page, "#explain-error")


async def test_it_is_used_by_keyboard_alone(page: "Page", world: Rig) -> None:
    await page.keyboard.type("root")  # the first field has the focus
    await page.keyboard.press("Tab")
    await page.keyboard.type(world.secrets["root"].reveal())
    await page.keyboard.press("Enter")
    await page.locator("#board").wait_for(timeout=PATIENCE)
    await filled(page)
    reached = []
    for _ in range(40):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert "sign-out" in reached
    assert "live" in reached
    assert "filter-client" in reached
    assert "scroll" in reached  # a wide table is scrolled by keys
    assert "explain-token" in reached


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [("wide", 1280, "light"), ("narrow", 360, "light"), ("dark", 1280, "dark"), ("narrow-dark", 360, "dark")],
)
async def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(
    browser: "Browser", world: Rig, name: str, width: int, scheme: Any
) -> None:
    context = await browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce"
    )
    page = await context.new_page()
    await page.goto(world.url("console", "/"))
    await judge(page, width, f"{name}-login")
    await sign_in(page, world)
    await filled(page)
    await page.locator("#refusals summary").first.click()
    await paste(page, world.issuer.token(world.clock.now(), aud="another-app"))
    await page.locator("#explain-result .decided").wait_for(timeout=PATIENCE)
    await judge(page, width, name)
    await context.close()


async def judge(page: "Page", width: int, name: str) -> None:
    """Take a picture of the page, and have it checked."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    await page.evaluate("scrollTo(0, 0)")
    await page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    told = [f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}" for one in found["violations"]]
    assert told == []
    assert await page.evaluate(WIDER, width) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= width

"""A real browser for the tests of the console: a chromium of the machine, driven by playwright.

`make test-console` installs playwright and axe-core. Without them, or without chromium, the tests say what is missing.
"""

import importlib.util
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from tests.console import LISTEN
from tests.rig import Rig, Serve, person, refusal

from tokenmint.v1 import key_admin_service_pb2 as keys_pb

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WORLD = """
[providers.ci]
issuer = "{issuer}/ci"
audiences = ["deploy"]
allow_private = true

[audiences."https://reports.example"]
clients = ["batch", "spa"]
providers = ["idp", "ci"]
scopes = ["read"]
public_clients = true
reexchange_from = ["https://orders.example"]
condition = "assertion.sub != 'nobody'"
single_use = true

[audiences."https://reports.example".actors]
providers = ["ci"]
audiences = ["https://open.example"]
without_may_act = true

[clients.spa]
public = true
"""


def missing() -> str:
    """Return what the lane needs and the machine lacks; "" if nothing."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright: make test-console installs it"
    if not AXE.exists():
        return "axe-core: make test-console installs it with npm"
    if not any(map(shutil.which, PROGRAMS)):
        return "chromium: apt-get install chromium"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the lane where it can't run; fail where it has to."""
    lacks = missing()
    if lacks and os.environ.get("TOKENMINT_REQUIRE_LANES"):
        raise pytest.UsageError(f"make test-console needs {lacks}")
    for item in items:
        if lacks and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=f"needs {lacks}"))


async def rotate(rig: Rig) -> None:
    """Give the keys a past: one has retired, one was revoked, and a verifier lacks the next one."""
    for days in (9, 6):
        await rig.set_time(rig.clock.now() + days * 86400)
        await rig.let_pass(1.0)
        await rig.keys.RotateSigningKey(keys_pb.RotateSigningKeyRequest(force=True), **rig.auth("root"))
    [prepared] = [key for key in rig.parts.signing_keys.ring.keys if key.state == "prepared"]
    revoke = keys_pb.RevokeSigningKeyRequest(key_id=prepared.key_id, reason="a copy was found in a backup")
    await rig.set_time(rig.clock.now() + 2 * 86400)
    await rig.let_pass(1.0)
    async with httpx2.AsyncClient() as http:
        await http.get(rig.url("http", "/.well-known/jwks.json"), headers={"user-agent": "orders-api/2.1"})
    await rig.keys.RevokeSigningKey(revoke, **rig.auth("root"))
    await rig.set_time(rig.clock.now() + 86400)
    await rig.let_pass(1.0)


@pytest.fixture
async def world(serve: Serve) -> AsyncIterator[Rig]:
    """A service with a console, and with something to see in it."""
    async with serve(WORLD.format(issuer=serve.issuer.url), listen=LISTEN) as rig:
        await rotate(rig)
        await rig.create(person("ada", "1842", "clerk"))
        for _ in range(3):
            await rig.exchange.ExchangeToken(rig.request(), **rig.auth("web"))
        for token, audience in ((None, "https://none.example"), ("opaque", None)):
            request = rig.request(token) if audience is None else rig.request(audience=audience)
            await refusal(rig.exchange.ExchangeToken(request, **rig.auth("web")))
        for _ in range(2):
            token = rig.issuer.token(rig.clock.now(), aud="another-app")
            await refusal(rig.exchange.ExchangeToken(rig.request(token), **rig.auth("web")))
        await rig.parts.audit.flush()
        yield rig


@pytest.fixture
async def browser() -> AsyncIterator["Browser"]:
    """A browser without a profile."""
    from playwright.async_api import async_playwright

    program = next(filter(None, map(shutil.which, PROGRAMS)))
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        await opened.close()


@pytest.fixture
async def page(browser: "Browser", world: Rig) -> AsyncIterator["Page"]:
    """The console in a window; a complaint of the browser fails the test."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    opened = await context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda said: complaints.append(said.text) if _is_complaint(said) else None)
    await opened.goto(world.url("console", "/"))
    yield opened
    await context.close()
    assert complaints == []


def _is_complaint(said: Any) -> bool:
    """Return whether a line of the browser's console is a fault of the page, and not the answer to a request."""
    return said.type in ("error", "warning") and "Failed to load resource" not in said.text

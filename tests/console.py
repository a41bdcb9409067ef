"""An operator's calls of the console over real HTTP."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from tests.rig import Rig

from tokenmint.admission import audit

LISTEN = 'console = "127.0.0.1:0"\n'
MARK = {"tokenmint-console": "1"}
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ASKED = ("/api/session", "/api/keys", "/api/refusals", "/api/health", "/api/access")
SENT = ("/api/exchanges", "/api/explain")


class Page:
    """Asks as the page does."""

    def __init__(self, rig: Rig, http: httpx2.AsyncClient, base: str = "") -> None:
        self.rig = rig
        self.http = http
        self._base = base

    def headers(self, operator: str | None = "guest") -> dict[str, str]:
        """The headers of an operator's requests; None: of a request without credentials."""
        if operator is None:
            return dict(MARK)
        secret = self.rig.secrets[operator].reveal()
        return MARK | {"tokenmint-client-id": operator, "tokenmint-client-secret": secret}

    async def ask(self, path: str, operator: str | None = "guest", **form: str) -> httpx2.Response:
        """Ask one route."""
        headers = self.headers(operator)
        if path in SENT:
            return await self.http.post(self._base + path, data={"outcome": "", **form}, headers=headers)
        return await self.http.get(self._base + path, headers=headers)

    async def document(self, path: str, operator: str = "guest", **form: str) -> dict[str, Any]:
        """Ask one route that has to answer."""
        answer = await self.ask(path, operator, **form)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def explain(self, token: str, **changes: str) -> dict[str, Any]:
        """Explain a token, as the operator with every role."""
        return await self.document("/api/explain", "root", **explained(token, **changes))


def explained(token: str, **changes: str) -> dict[str, str]:
    """The form of an explanation."""
    return {
        "grant_type": GRANT, "client_id": "web", "audience": "https://orders.example",
        "subject_token": token, "subject_token_type": ID_TOKEN, **changes,
    }  # fmt: skip


@asynccontextmanager
async def page_of(rig: Rig, **options: Any) -> AsyncIterator[Page]:
    """Open the console of a service."""
    async with httpx2.AsyncClient(base_url=rig.url("console", ""), timeout=20, **options) as http:
        yield Page(rig, http)


async def stream(rig: Rig, key: str = audit.ADMIN) -> list[dict[str, Any]]:
    """The events of an audit stream."""
    await rig.parts.audit.flush()
    store = rig.parts.store
    return [json.loads(fields[b"event"]) for _, fields in await store.server.client.xrange(store.prefix + key)]

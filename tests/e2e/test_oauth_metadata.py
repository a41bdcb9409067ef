"""The OAuth endpoints in the metadata, and with their switch off: RFC 6749, 8414."""

from typing import Any

import pytest
from tests import plain_http
from tests.e2e.sharing import Start
from tests.rig import Rig, Serve

pytestmark = pytest.mark.asyncio(loop_scope="module")

ISSUER = "https://tokens.example"


@pytest.fixture(scope="module")
def start() -> Start:
    def started(serve: Serve) -> Any:
        return serve("[oauth]\nenabled = true\n")

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


async def test_rfc_6749_4_1_2_1_an_authorization_request_is_refused_and_never_redirected(rig: Rig) -> None:
    """The metadata name the endpoint, which clients of the MCP SDK want. It serves no response type."""
    async with plain_http.client(timeout=20, base_url=rig.url("http", "")) as http:
        for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
            document = (await http.get(path)).json()
            assert document["authorization_endpoint"] == "https://tokens.example/oauth2/authorize"
            assert document["response_types_supported"] == ["none"]
        query = {"response_type": "code", "client_id": "web", "redirect_uri": "https://evil.example", "state": "s<b>"}
        for answer in (await http.get("/oauth2/authorize", params=query), await http.get("/oauth2/authorize")):
            assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_response_type")
            assert "location" not in answer.headers
            assert answer.headers["cache-control"] == "no-store"
            assert "evil" not in answer.text
            assert "s<b>" not in answer.text
        assert (await http.post("/oauth2/authorize", data=query)).status_code == 405


async def test_switched_off_there_is_nothing(serve: Serve) -> None:
    async with (
        serve() as service,
        plain_http.client(timeout=20) as http,
    ):
        for path in ("token", "introspect", "revoke"):
            assert (await http.post(service.url("http", f"/oauth2/{path}"))).status_code == 404
        document = (await http.get(service.url("http", "/.well-known/openid-configuration"))).json()
        assert "token_endpoint" not in document

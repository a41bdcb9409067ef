"""tokenmint's own client, over gRPC: its ID-JAGs at other projects' servers, and theirs in its hands."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx2
import jwt
from tests.process import CLIENT, Service
from tests.sts.clients import check
from tests.sts.rows import Row, granted, minted
from tests.sts.table import Outcome
from tests.sts.world import BEARER, World

from tokenmint.model.tokens import ID_JAG
from tokenmint_client import Client, ClientSecret, TokenmintError

NAME: Final = "tokenmint's client (Python, gRPC)"
LEG_ONE: Final = minted(NAME, claims={"resource": None})
SERVERS: Final = {"authlib_server": "Authlib's server", "mcp_server": "the MCP SDK's server"}


def outcomes(live: World) -> list[Outcome]:
    """Exchange for ID-JAGs, present them to other servers, and exchange an ID-JAG that Authlib signed."""
    played = [_played(LEG_ONE, lambda: {"token": _id_jag(live, "away")}, live)]
    for server, title in SERVERS.items():
        row = Row(NAME, f"its ID-JAG is taken by {title}", issuer="")
        played.append(_played(row, lambda server=server: _presented(live, server), live))  # type: ignore[misc]
    row = granted(NAME, "exchanges the ID-JAG of Authlib", claims={"scope": "tools.list"})
    return [*played, _played(row, lambda: {"token": _exchanged(live)}, live)]


def _played(row: Row, run: Callable[[], Mapping[str, Any]], live: World) -> Outcome:
    fault = ""
    try:
        check(row, run(), live)
    except (AssertionError, KeyError, OSError, TokenmintError, httpx2.HTTPError, jwt.PyJWTError) as error:
        fault = f"{type(error).__name__}: {error}"
    return Outcome(row.client, row.flow, fault, row.remark)


def _client(live: World, service: Service, client_id: str) -> Client:
    credential = ClientSecret(client_id, CLIENT.reveal())
    return Client(service.listen["grpc"], credential, ca_file=live.path("ca.pem"))


def _id_jag(live: World, server: str) -> str:
    with _client(live, live.home, "web") as client:
        token = client.exchange(
            live.user(), live.urls[server], scopes=["tools.call"], requested_token_type=ID_JAG
        )  # fmt: skip
    return token.value


def _presented(live: World, server: str) -> Mapping[str, Any]:
    form = {"grant_type": BEARER, "assertion": _id_jag(live, server), "client_id": "mcp-client"}
    answer = live.http.post(f"{live.urls[server]}/token", data=form, auth=("mcp-client", CLIENT.reveal()))
    assert answer.status_code == 200, answer.text
    return {}


def _exchanged(live: World) -> str:
    assertion = live.path("authlib-id-jag").read_text()
    with _client(live, live.away, "mcp-client") as client:
        return client.exchange(assertion, live.urls["mcp"], subject_token_type=ID_JAG).value

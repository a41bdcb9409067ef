"""A service whose tokens are in status lists, and a reader of lists without code of the service or of a client."""

import asyncio
import base64
import zlib
from typing import Any

import httpx2
import jwt
from tests.e2e.revocation_rig import claims, extra
from tests.rig import DEADLINE, Rig

from tokenmint.model.drafts import STATUS_LIST

ACT = "https://act.example"
CONFIGURED = f"""
[oauth]
enabled = true
drafts = ["{STATUS_LIST}"]

[status_lists]
size = 1000

[audiences."{ACT}"]
clients = ["web"]
providers = ["idp"]
status_list = true
[audiences."{ACT}".actors]
providers = ["idp"]
without_may_act = true
"""


def with_status_lists() -> str:
    """Return the further configuration; the tokens of an audience of `rig` and its descendants are in lists."""
    listed = extra().replace('scopes = ["read"]', 'scopes = ["read"]\nstatus_list = true')
    return listed + CONFIGURED


def place(token: str) -> tuple[int, str]:
    """The index of a token, and the URI of its list."""
    status = claims(token)["status"]["status_list"]
    assert status.keys() == {"idx", "uri"}
    return status["idx"], status["uri"]


async def fetch(rig: Rig, uri: str, **options: Any) -> httpx2.Response:
    """Fetch a list from the service, whose issuer is no real host."""
    path = uri.removeprefix("https://tokens.example")
    async with httpx2.AsyncClient(timeout=DEADLINE) as client:
        return await client.get(rig.url("http", path), **options)


def segment(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def read(rig: Rig, uri: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Header and claims of a list, whose signature verifies, and its bits."""
    answer = await fetch(rig, uri)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/statuslist+jwt"
    header = jwt.get_unverified_header(answer.text)
    async with httpx2.AsyncClient(timeout=DEADLINE) as client:
        keys = jwt.PyJWKSet.from_json((await client.get(rig.url("http", "/.well-known/jwks.json"))).text)
    options: Any = {"verify_aud": False, "verify_exp": False, "verify_iat": False}
    found = jwt.decode(answer.text, keys[header["kid"]], algorithms=[header["alg"]], options=options)
    assert found["status_list"]["bits"] == 1
    return header, found, zlib.decompress(segment(found["status_list"]["lst"]))


async def invalid(rig: Rig, token: str) -> bool:
    """Whether the list of a token shows it as INVALID."""
    index, uri = place(token)
    _, _, statuses = await read(rig, uri)
    return bool(statuses[index // 8] >> index % 8 & 1)


async def until_invalid(rig: Rig, *tokens: str) -> None:
    """Let time pass until the lists show all of these tokens as INVALID."""
    async with asyncio.timeout(DEADLINE):
        for token in tokens:
            while not await invalid(rig, token):
                await rig.let_pass(0.5)

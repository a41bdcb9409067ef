"""Firebase custom tokens: the limits that the SDK leaves to Google's answer, and what becomes of the claims."""

import asyncio
import json
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from tests.fakes import FakeEntropy
from tests.issuer import rsa_key

from tokenmint.base.errors import ClaimsTooLarge, FormatDenied, KeySetUnavailable, SignerUnavailable
from tokenmint.firebase.clients import FirebaseClients, ask_about_user
from tokenmint.formats.firebase import FORMAT, MAX_CLAIMS, MAX_UID, RESERVED, FirebaseOptions, check_custom_token
from tokenmint.formats.format import Kit
from tokenmint.keys.signers.local import LocalSigner
from tokenmint.model.firebase import FirebaseProject
from tokenmint.model.policy import TokenGrant
from tokenmint.model.reserved_claims import is_reserved

AUDIENCE = "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit"
PATIENCE = 20.0  # seconds
EMAIL = "sa@demo-app.iam.gserviceaccount.com"


class Signer:
    """A `google.auth.crypt.Signer` whose key is at hand."""

    key_id = None

    def sign(self, message: bytes) -> bytes:
        return rsa_key(7).sign(message, padding.PKCS1v15(), hashes.SHA256())


class Hanging(Signer):
    """Google, which does not answer until it is told to."""

    def __init__(self) -> None:
        self.answers = threading.Event()

    def sign(self, message: bytes) -> bytes:
        self.answers.wait(PATIENCE)
        return super().sign(message)

    def get_user(self, _: str) -> Any:
        self.answers.wait(PATIENCE)
        return SimpleNamespace(disabled=False, tokens_valid_after_timestamp=0)


class Unreachable(Signer):
    def sign(self, message: bytes) -> bytes:
        raise OSError("no route to iamcredentials.googleapis.com with canary-4711")


def grant(**changes: Any) -> TokenGrant:
    fields: dict[str, Any] = {
        "principal": "ada", "audience": "demo-app", "client_id": "web", "scopes": (), "algorithm": "ES256",
        "token_type": FORMAT.traits.token_types[0], "format": FORMAT.traits, "claims": {}, "issued_at": 1_800_000_000,
        "expires_at": 1_800_003_600, "max_token_bytes": 8192, "uid": "ada",
    }  # fmt: skip
    return TokenGrant(**(fields | changes))


def no_ring(_: str) -> LocalSigner:
    raise AssertionError("Google signs")


async def minted(signer: Any = None, tenant: str | None = None, **changes: Any) -> dict[str, Any]:
    form = replace(FORMAT.traits, options=FirebaseOptions(FirebaseProject("demo-app", service_account=EMAIL), tenant))
    kit = Kit("https://me", no_ring, FakeEntropy(), firebase=FirebaseClients(signer or Signer()))
    made = await FORMAT.mint(grant(format=form, **changes), kit)
    claims: dict[str, Any] = jwt.decode(
        made.token.reveal(), rsa_key(7).public_key(), algorithms=["RS256"], audience=AUDIENCE
    )
    assert made.expires_at == claims["exp"]
    return claims


@pytest.mark.parametrize(
    ("uid", "fits"),
    [("u", True), ("u" * MAX_UID, True), ("ü" * MAX_UID, True), ("a/b c", True), ("", False), ("u" * 129, False)],
)
async def test_a_uid_has_1_to_128_characters(uid: str, fits: bool) -> None:
    if fits:
        assert (await minted(uid=uid))["uid"] == uid
    else:
        with pytest.raises(FormatDenied, match="1 to 128 characters"):
            check_custom_token(grant(uid=uid))
        with pytest.raises(FormatDenied):
            await minted(uid=uid)


def padded(size: int, letter: str = "x") -> dict[str, str]:
    """Claims that are ``size`` bytes of compact JSON."""
    room = size - len('{"a":""}')
    claims = {"a": letter * (room // len(letter.encode()))}
    claims["a"] += "x" * (room - len(claims["a"].encode()))
    assert len(json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode()) == size
    return claims


@pytest.mark.parametrize("letter", ["x", "ü", "\u20ac", "\U0001f600"])
async def test_claims_are_1000_bytes_of_json_and_no_more(letter: str) -> None:
    fitting = padded(MAX_CLAIMS, letter)
    assert (await minted(claims=fitting))["claims"] == fitting
    with pytest.raises(ClaimsTooLarge, match="1000 bytes, and these have 1001"):
        check_custom_token(grant(claims=padded(MAX_CLAIMS + 1, letter)))
    with pytest.raises(ClaimsTooLarge):
        await minted(claims=padded(MAX_CLAIMS + 1, letter))


async def test_structure_counts_as_it_is_sent() -> None:
    claims = {"roles": ["a"] * 200, "nested": {"deep": [1, 2.5, True, None]}}
    assert (await minted(claims=claims))["claims"] == claims
    with pytest.raises(ClaimsTooLarge):
        check_custom_token(grant(claims={"roles": ["a"] * 250}))
    assert "claims" not in await minted(claims={})


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_firebases_reserved_names_are_reserved_here_too(name: str) -> None:
    assert is_reserved(name)
    with pytest.raises(ValueError, match="reserved claims"):
        check_custom_token(grant(claims={name: "x"}))


@pytest.mark.parametrize("name", ["tm_lineage", "scope", "client_id", "may_act"])
def test_ours_are_not_carried_to_firebase(name: str) -> None:
    with pytest.raises(ValueError, match="reserved claims"):
        check_custom_token(grant(claims={name: "x"}))


async def test_a_custom_token_is_of_the_account_for_an_hour_and_a_tenant() -> None:
    claims = await minted(tenant="acme-1", claims={"role": "clerk"})
    assert (claims["iss"], claims["sub"], claims["aud"]) == (EMAIL, EMAIL, AUDIENCE)
    assert claims["exp"] - claims["iat"] == 3600
    assert (claims["tenant_id"], claims["claims"]) == ("acme-1", {"role": "clerk"})
    assert "tenant_id" not in await minted()


async def test_a_signer_out_of_reach_is_told_without_its_words() -> None:
    with pytest.raises(SignerUnavailable) as refused:
        await minted(Unreachable())
    assert "canary" not in repr(vars(refused.value))
    assert refused.value.detail == "Firebase's SDK: OSError"


@pytest.mark.parametrize("asked", ["for a signature", "about a user"])
async def test_google_that_hangs_keeps_nobody_else_from_a_thread_and_few_callers_waiting(asked: str) -> None:
    """More callers than the event loop has threads: those are what signs RS256."""
    google, project = Hanging(), FirebaseProject("demo-app", service_account=EMAIL)
    clients = FirebaseClients(google, most=3)
    form = replace(FORMAT.traits, options=FirebaseOptions(project, None))
    kit = Kit("https://me", no_ring, FakeEntropy(), firebase=clients)
    if asked == "about a user":
        clients.client = lambda *_: google  # type: ignore[method-assign]

    async def ask() -> None:
        if asked == "about a user":
            await ask_about_user(clients, project, "ada", None, 1.0)
        else:
            await FORMAT.mint(grant(format=form), kit)

    calls = [asyncio.ensure_future(ask()) for _ in range(40)]
    try:
        async with asyncio.timeout(PATIENCE):
            waiting = set(calls)
            while len(waiting) > 3:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                assert {type(call.exception()) for call in done} <= {SignerUnavailable, KeySetUnavailable}
            assert await asyncio.to_thread(int) == 0
    finally:
        google.answers.set()
    await asyncio.gather(*waiting)

"""The main job and its refusals, over real gRPC and HTTP."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import jwt
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from tests.e2e.sharing import Start
from tests.fakes import FakeClock
from tests.issuer import Issuer, b64, ec_key, jwk, rsa_key, segment
from tests.rig import AUDIENCE, LEGACY_AUDIENCE, OPEN_AUDIENCE, Rig, Serve, person, refusal

from tokenmint.base.errors import SignerUnavailable
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def start(transport: str) -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        async with serve(transport=transport) as service:
            await service.create(person("ada", "1842", "clerk", tenant="engines"))
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


async def verified(rig: Rig, token: str, audience: str = AUDIENCE) -> dict[str, Any]:
    """Verify as another service would, but for the time, which is the test's."""
    client = jwt.PyJWKClient(rig.url("http", "/.well-known/jwks.json"))
    keys = await asyncio.to_thread(client.get_signing_key_from_jwt, token)
    claims: dict[str, Any] = jwt.decode(
        token,
        keys,
        algorithms=["ES256", "RS256"],
        audience=audience,
        issuer="https://tokens.example",
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )
    return claims


async def test_a_providers_token_becomes_ours_enriched(rig: Rig) -> None:
    answer = await rig.exchange.ExchangeToken(rig.request(scopes=["read"]), **rig.auth("web"))
    claims = await verified(rig, answer.token)
    now = int(rig.clock.now())
    assert claims == {
        "iss": "https://tokens.example",
        "sub": "ada",
        "aud": AUDIENCE,
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "jti": answer.token_id,
        "client_id": "web",
        "scope": "read",
        "email": "ada@example.com",
        "tenant": "engines",
        "roles": ["clerk"],
    }
    header = jwt.get_unverified_header(answer.token)
    assert header == {"alg": "ES256", "typ": "at+jwt", "kid": answer.key_id}
    assert (answer.token_type, answer.subject, list(answer.scopes)) == ("Bearer", "ada", ["read"])
    assert answer.issued_token_type == "urn:ietf:params:oauth:token-type:access_token"
    assert answer.expire_time.seconds == now + 600


@pytest.mark.rsa
@pytest.mark.alone
async def test_rs256_and_plain_jwt_for_consumers_that_need_them(rig: Rig) -> None:
    token = rig.issuer.token(rig.clock.now(), sub="nobody")
    answer = await rig.exchange.ExchangeToken(rig.request(token, LEGACY_AUDIENCE), **rig.auth("web"))
    header = jwt.get_unverified_header(answer.token)
    assert (header["alg"], header["typ"]) == ("RS256", "JWT")
    claims = await verified(rig, answer.token, LEGACY_AUDIENCE)
    assert claims["sub"].startswith("p_")  # without a profile: a principal of its own, the same every time
    again = await rig.exchange.ExchangeToken(rig.request(token, LEGACY_AUDIENCE), **rig.auth("web"))
    assert again.subject == claims["sub"]


async def test_both_secrets_of_a_client_are_valid_while_they_roll_over(rig: Rig) -> None:
    for name in ("web", "old"):
        assert (await rig.exchange.ExchangeToken(rig.request(), **rig.auth(name))).token


@pytest.mark.alone
async def test_a_batch_is_proved_once_and_each_target_decided_alone(rig: Rig) -> None:
    before = len(rig.issuer.requests)
    token = rig.issuer.token(rig.clock.now())
    batch = pb.BatchExchangeTokensRequest(
        subject_token=token,
        targets=[
            pb.BatchExchangeTarget(audience=AUDIENCE, lifetime=Duration(seconds=60)),
            pb.BatchExchangeTarget(audience="https://unknown.example"),
            pb.BatchExchangeTarget(audience=LEGACY_AUDIENCE),
        ],
    )
    answer = await rig.exchange.BatchExchangeTokens(batch, **rig.auth("web"))
    outcomes = [result.WhichOneof("outcome") for result in answer.results]
    assert outcomes == ["token", "error", "token"]
    assert (await verified(rig, answer.results[0].token.token))["exp"] == int(rig.clock.now()) + 60
    info = error_details_pb2.ErrorInfo()
    assert answer.results[1].error.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("AUDIENCE_DENIED", "tokenmint.dev")
    assert len(rig.issuer.requests) == before


def _hmac_token(issuer: Issuer, now: float) -> str:
    """CVE-2016-10555 and its kind: HS256 with the public key as the secret."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signing_input = f"{segment({'alg': 'HS256', 'kid': 'k1'})}.{segment(issuer.claims(now))}"
    return f"{signing_input}.{b64(hmac.new(pem, signing_input.encode(), hashlib.sha256).digest())}"


def _bad_tokens(rig: Rig) -> dict[str, tuple[str, str]]:
    issuer, now = rig.issuer, rig.clock.now()
    good = issuer.token(now)
    header, payload, signature = good.split(".")
    forged = base64.urlsafe_b64decode(payload + "==").replace(b"1842", b"1843")
    stranger = Issuer(url=issuer.url, key=rsa_key(1))
    return {
        "expired": (issuer.token(now - 400), "EXPIRED"),
        "wrong audience": (issuer.token(now, aud="other"), "WRONG_AUDIENCE"),
        "wrong issuer": (issuer.token(now, iss=issuer.url + "/"), "UNKNOWN_ISSUER"),
        "wrong key": (stranger.token(now), "BAD_SIGNATURE"),
        "none": (f"{segment({'alg': 'none', 'kid': 'k1'})}.{payload}.", "ALGORITHM_NOT_ALLOWED"),
        "HMAC with the public key": (_hmac_token(issuer, now), "ALGORITHM_NOT_ALLOWED"),
        "tampered": (f"{header}.{b64(forged)}.{signature}", "BAD_SIGNATURE"),
        "five parts": (f"{good}.AAAA.AAAA", "MALFORMED"),
        "empty": ("", "INVALID_REQUEST"),
        "20 KiB": ("A" * 20 * 1024, "INVALID_REQUEST"),
    }


async def test_a_client_that_proved_itself_is_told_what_was_expected_and_what_came(rig: Rig) -> None:
    now = rig.clock.now()
    for changes, parts in (
        ({"aud": "other"}, ("aud ['other']", "accepted ['app']")),
        ({"iss": "https://evil.example"}, ("iss 'https://evil.example'", f"accepted ['{rig.issuer.url}']")),
        ({"aud": ["x" * 5000] * 2}, ("accepted ['app']",)),
    ):
        asked = rig.request(rig.issuer.token(now, **changes))
        told = await refusal(rig.exchange.ExchangeToken(asked, **rig.auth("web")))
        assert all(part in told.message for part in parts), told.message
        assert len(told.message) < 700


async def test_a_token_that_is_too_long_is_told_its_limit(rig: Rig) -> None:
    token = rig.issuer.token(rig.clock.now(), roles=["orders"] * 3000)
    told = await refusal(rig.exchange.ExchangeToken(rig.request(token), **rig.auth("web")))
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert f"has {len(token)} bytes, and at most 16384 are accepted (limits.token_bytes)" in told.message


@pytest.mark.alone
async def test_twelve_bad_tokens_get_the_tables_status_and_reason(rig: Rig) -> None:
    for name, (token, reason) in _bad_tokens(rig).items():
        told = await refusal(rig.exchange.ExchangeToken(rig.request(token), **rig.auth("web")))
        expected = grpc.StatusCode.INVALID_ARGUMENT if reason == "INVALID_REQUEST" else grpc.StatusCode.UNAUTHENTICATED
        assert (told.code, told.reason, told.domain) == (expected, reason, "tokenmint.dev"), name
        assert not any(word in told.message for word in ("Traceback", "Error", "Exception")), name
        assert not token or token[:40] not in str(told.status), name
    # The eleventh: our own token, which is never a provider's.
    ours = (await rig.exchange.ExchangeToken(rig.request(), **rig.auth("web"))).token
    told = await refusal(rig.exchange.ExchangeToken(rig.request(ours), **rig.auth("web")))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNKNOWN_ISSUER")
    assert "tokenmint itself minted this token" in told.message
    # The twelfth: no kid while the provider has two keys, and none of them is of the token's algorithm.
    keys = [jwk(rig.issuer.key, kid="k1", alg="PS256"), jwk(rsa_key(1), kid="k2", alg="PS256")]
    rig.issuer.documents["/jwks.json"] = json.dumps({"keys": keys}).encode()
    from tokenmint.v1.provider_admin_service_pb2 import RefreshProviderKeysRequest

    await rig.providers.RefreshProviderKeys(RefreshProviderKeysRequest(provider="idp"), **rig.auth("root"))
    token = rig.issuer.token(rig.clock.now(), headers={"kid": None})
    told = await refusal(rig.exchange.ExchangeToken(rig.request(token), **rig.auth("web")))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNKNOWN_KEY")


async def test_every_violation_is_listed_at_once(rig: Rig) -> None:
    wrong = pb.ExchangeTokenRequest(
        subject_token_type="urn:x",
        resources=["/orders"],
        scopes=["a b"],
        lifetime=Duration(seconds=90000),
        actor_token="x",
        dpop_jkt="y",
        request_id="1",
    )
    told = await refusal(rig.exchange.ExchangeToken(wrong, **rig.auth("web")))
    assert told.code is grpc.StatusCode.INVALID_ARGUMENT
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in told.status.details)
    assert {item.field for item in bad.field_violations} == {
        "subject_token", "subject_token_type", "resources", "scopes[0]", "lifetime", "actor_token_type", "dpop_jkt",
        "request_id",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ((), "nothing"),
        ((("tokenmint-client-id", "web"),), "no secret"),
        ((("tokenmint-client-id", "web"), ("tokenmint-client-secret", "tms_wrong")), "wrong secret"),
        ((("tokenmint-client-id", "nobody"), ("tokenmint-client-secret", "tms_x")), "unknown client"),
        ((("tokenmint-client-id", "web"), ("tokenmint-client-id", "batch"), ("tokenmint-client-secret", "x")), "twice"),
        ((("tokenmint-client-id", ""), ("tokenmint-client-secret", "")), "empty"),
    ],
)
async def test_an_unauthenticated_caller_learns_only_whether_a_secret_came(rig: Rig, metadata: Any, why: str) -> None:
    told = await refusal(rig.exchange.ExchangeToken(rig.request(), metadata=metadata, timeout=20))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED"), why
    sent = why in ("wrong secret", "unknown client")
    assert told.message == (
        "the caller is not authenticated: client id or secret is not accepted"
        if sent
        else "the caller is not authenticated: send tokenmint-client-id and tokenmint-client-secret"
    )


async def test_a_credential_that_is_sent_twice_proves_nobody(rig: Rig) -> None:
    """Or two parsers could read two callers out of one call."""
    (name, secret) = rig.auth("web")["metadata"]
    for metadata in ((name, name, secret), (name, secret, secret), (("tokenmint-client-id", "batch"), name, secret)):
        told = await refusal(rig.exchange.ExchangeToken(rig.request(), metadata=metadata, timeout=20))
        assert told.reason == "CALLER_UNAUTHENTICATED"


@pytest.mark.alone
async def test_what_could_not_be_signed_leaves_a_single_use_token_unused(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sign, claim, then answer: a claim for a token that nobody got would lock its owner out."""
    token = rig.issuer.token(rig.clock.now(), jti="kept")

    async def broken(*_: object, **__: object) -> None:
        raise SignerUnavailable()

    with monkeypatch.context() as patch:
        patch.setattr(rig.parts.exchange.minter, "mint", broken)
        told = await refusal(rig.exchange.ExchangeToken(rig.request(token, OPEN_AUDIENCE), **rig.auth("web")))
        assert told.reason == "SIGNER_UNAVAILABLE"
    assert (await rig.exchange.ExchangeToken(rig.request(token, OPEN_AUDIENCE), **rig.auth("web"))).token


async def test_operators_are_not_clients_and_clients_are_not_operators(rig: Rig) -> None:
    told = await refusal(rig.exchange.ExchangeToken(rig.request(), **rig.auth("root")))
    assert told.reason == "CALLER_UNAUTHENTICATED"
    told = await refusal(rig.profiles.GetProfile(profiles_pb.GetProfileRequest(principal="ada"), **rig.auth("web")))
    assert told.reason == "CALLER_UNAUTHENTICATED"
    # The data plane does not serve operators' methods at all, nor the other way round.
    from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub

    stub = ProfileAdminServiceStub(rig.data)
    told = await refusal(stub.GetProfile(profiles_pb.GetProfileRequest(principal="ada"), **rig.auth("root")))
    assert told.code is grpc.StatusCode.UNIMPLEMENTED
    told = await refusal(TokenExchangeServiceStub(rig.admin).ExchangeToken(rig.request(), **rig.auth("web")))
    assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "METHOD_DENIED")


@pytest.mark.parametrize(
    ("client", "fields", "reason"),
    [
        ("web", {"audience": "https://unknown.example"}, "AUDIENCE_DENIED"),
        ("batch", {}, "AUDIENCE_DENIED"),
        ("web", {"scopes": ["admin"]}, "SCOPE_DENIED"),
        ("batch", {"audience": OPEN_AUDIENCE, "scopes": ["read"]}, "SCOPE_DENIED"),
        ("web", {"lifetime": Duration(seconds=3601)}, "LIFETIME_DENIED"),
        ("web", {"requested_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "FORMAT_DENIED"),
        (
            "web",
            {"audience": LEGACY_AUDIENCE, "requested_token_type": "urn:ietf:params:oauth:token-type:access_token"},
            "FORMAT_DENIED",
        ),
    ],
)
async def test_policy_denies_by_default(rig: Rig, client: str, fields: dict[str, Any], reason: str) -> None:
    told = await refusal(rig.exchange.ExchangeToken(rig.request(**fields), **rig.auth(client)))
    assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, reason)


@pytest.mark.alone
async def test_an_identity_without_a_profile_is_denied_unless_the_audience_says_otherwise(rig: Rig) -> None:
    token = rig.issuer.token(rig.clock.now(), sub="newcomer", jti="n1")
    told = await refusal(rig.exchange.ExchangeToken(rig.request(token), **rig.auth("web")))
    assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PRINCIPAL_UNKNOWN")
    created = await rig.exchange.ExchangeToken(rig.request(token, OPEN_AUDIENCE), **rig.auth("web"))
    stored = await rig.profiles.GetProfile(
        profiles_pb.GetProfileRequest(identity=Identity(provider="idp", subject="newcomer")), **rig.auth("root")
    )
    assert stored.profile.principal == created.subject
    token = rig.issuer.token(rig.clock.now(), sub="newcomer", jti="n2")  # now there is one
    assert (await rig.exchange.ExchangeToken(rig.request(token), **rig.auth("web"))).subject == created.subject


@pytest.mark.alone
async def test_a_deleted_principal_does_not_come_back_by_just_in_time_creation(rig: Rig) -> None:
    await rig.profiles.DeleteProfile(profiles_pb.DeleteProfileRequest(principal="ada"), **rig.auth("root"))
    for audience in (AUDIENCE, LEGACY_AUDIENCE, OPEN_AUDIENCE):
        told = await refusal(rig.exchange.ExchangeToken(rig.request(None, audience), **rig.auth("web")))
        assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PRINCIPAL_DISABLED"), audience


@pytest.mark.alone
async def test_single_use_is_single_but_a_retry_of_the_same_request_is_safe(rig: Rig) -> None:
    token = rig.issuer.token(rig.clock.now(), jti="once")
    retry = "6f1c0c5e-8a0e-4f6c-9d35-0123456789ab"
    first = rig.request(token, OPEN_AUDIENCE, request_id=retry)
    assert (await rig.exchange.ExchangeToken(first, **rig.auth("web"))).token
    assert (await rig.exchange.ExchangeToken(first, **rig.auth("web"))).token
    for other, client in ((rig.request(token, OPEN_AUDIENCE), "web"), (first, "batch")):
        told = await refusal(rig.exchange.ExchangeToken(other, **rig.auth(client)))
        assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "REPLAYED")


@pytest.mark.alone
async def test_a_request_id_is_for_a_retry_and_not_for_another_request(rig: Rig) -> None:
    token = rig.issuer.token(rig.clock.now(), jti="again")
    retry = "6f1c0c5e-8a0e-4f6c-9d35-0123456789ac"
    first = rig.request(token, OPEN_AUDIENCE, request_id=retry)
    assert (await rig.exchange.ExchangeToken(first, **rig.auth("web"))).token
    others = [
        rig.request(token, OPEN_AUDIENCE, request_id=retry, scopes=["read"]),
        rig.request(token, OPEN_AUDIENCE, request_id=retry, lifetime=Duration(seconds=3600)),
    ]
    for other in others:
        assert (await refusal(rig.exchange.ExchangeToken(other, **rig.auth("web")))).reason == "REPLAYED"
    targets = [pb.BatchExchangeTarget(audience=OPEN_AUDIENCE), pb.BatchExchangeTarget(audience=LEGACY_AUDIENCE)]
    batch = pb.BatchExchangeTokensRequest(subject_token=token, targets=targets, request_id=retry)
    assert (await refusal(rig.exchange.BatchExchangeTokens(batch, **rig.auth("web")))).reason == "REPLAYED"


async def test_the_nonce_is_compared_where_the_request_names_one(rig: Rig) -> None:
    token = rig.issuer.token(rig.clock.now(), nonce="n-1")
    assert (await rig.exchange.ExchangeToken(rig.request(token, nonce="n-1"), **rig.auth("web"))).token
    for given, expected in ((token, "n-2"), (rig.issuer.token(rig.clock.now()), "n-1")):
        told = await refusal(rig.exchange.ExchangeToken(rig.request(given, nonce=expected), **rig.auth("web")))
        assert told.reason == "WRONG_NONCE"


@pytest.mark.alone
async def test_a_reload_changes_who_may_and_a_bad_file_changes_nothing(rig: Rig) -> None:
    text = rig.config.read_text()
    rig.config.write_text(text.replace('scopes = ["read", "write"]', 'scopes = ["read", "write", "admin"]'))
    await rig.app.reload(rig.settings())
    assert (await rig.exchange.ExchangeToken(rig.request(scopes=["admin"]), **rig.auth("web"))).token
    rig.config.write_text(text.replace('max_lifetime = "1h"', 'max_lifetime = "12h"'))
    from tokenmint.base.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="restart"):
        await rig.app.reload(rig.settings())
    assert (await rig.exchange.ExchangeToken(rig.request(scopes=["admin"]), **rig.auth("web"))).token


@pytest.mark.alone
async def test_the_provider_may_use_ec_keys(rig: Rig) -> None:
    other = Issuer(url=rig.issuer.url, key=ec_key(), key_id="e1", algorithm="ES256")
    rig.issuer.documents["/jwks.json"] = other.jwks()
    answer = await rig.exchange.ExchangeToken(rig.request(other.token(rig.clock.now())), **rig.auth("web"))
    assert answer.subject == "ada"  # the unknown kid made the service look again, once


async def test_who_calls_too_often_is_told_when_to_come_back(serve: Serve, issuer: Issuer, clock: FakeClock) -> None:
    limits = "\n[limits]\neach_client = { per_second = 0.01, burst = 3 }\n"
    async with serve(limits) as service:
        service.parts.limiter.patience = 20.0
        asked = service.request(issuer.token(clock.now()), LEGACY_AUDIENCE)
        targets = [pb.BatchExchangeTarget(audience=LEGACY_AUDIENCE)] * 2
        batch = pb.BatchExchangeTokensRequest(subject_token=asked.subject_token, targets=targets)
        assert await service.exchange.ExchangeToken(asked, **service.auth("web"))
        assert await service.exchange.BatchExchangeTokens(batch, **service.auth("web"))
        told = await refusal(service.exchange.ExchangeToken(asked, **service.auth("web")))
        assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        assert told.details == ("RetryInfo",)

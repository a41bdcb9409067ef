"""Text from outside, at its greatest length, leaves a bounded trace: in each event, log line and answer."""

import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import grpc
import jwt
import pytest
import structlog
from google.protobuf.field_mask_pb2 import FieldMask
from tests import plain_http
from tests.issuer import Issuer, ec_key, jwk
from tests.rig import AUDIENCE, Rig, Serve
from tests.unit.verification.test_dpop import proof

from tokenmint.base.logs import _json_line
from tokenmint.envoy.v3 import external_authorization_pb2 as envoy
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import provider_admin_service_pb2 as providers_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile

LINE = 2048  # bytes of a log line, and of an event in the store
BATCH = 8192  # the same, of sixteen exchanges in one call
ADMIN = 4096  # the same, of an operator's action, who may give a reason
ANSWER = 6 * 1024  # bytes of a refusal as it is sent: half of it twice, in the message and in the details
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXTRA = """
[oauth]
enabled = true

[envoy]
enabled = true

[clients.keys]
jwks = '''{jwks}'''

[clients.spa]
public = true

[clients.load]
workloads = [{{{{ provider = "idp", subject = "nobody" }}}}]

[audiences."https://public.example"]
clients = ["keys", "spa"]
providers = ["idp"]
public_clients = true
on_missing_profile = "without"
"""
TEXTS = ["x" * 11_000, "\U0001f600" * 2_700, "\x1b[2J\n\x00\x7f" * 500, "é" * 5_500]
CLAIMS = ["iss", "sub", "aud", "azp", "nonce", "jti", "exp", "iat", "nbf", "act", "may_act", "cnf", "email", "events"]
HEADERS = ["typ", "alg", "kid", "cty", "jku", "x5u", "nonce", "crit", "other"]


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Everything that is logged, as the service writes it."""
    text, before = io.StringIO(), structlog.get_config()
    structlog.configure(
        processors=[_json_line], logger_factory=structlog.PrintLoggerFactory(text), cache_logger_on_first_use=False
    )
    yield text
    structlog.configure(**before)


@pytest.fixture
async def rig(serve: Serve, transport: str, lines: io.StringIO) -> AsyncIterator[Rig]:
    extra = EXTRA.format(jwks=json.dumps({"keys": [jwk(ec_key(5), kid="c")]})).replace("{{", "{").replace("}}", "}")
    async with serve(extra, transport=transport) as service:
        lines.truncate(0)
        lines.seek(0)
        yield service


async def events(rig: Rig) -> list[bytes]:
    await rig.parts.audit.flush()
    store = rig.parts.store
    return [fields[b"event"] for _, fields in await store.server.client.xrange(f"{store.prefix}audit")]


async def bounded(rig: Rig, lines: io.StringIO, least: int, limit: int = LINE) -> None:
    """Assert that what happened has left at least so many lines, and none, nor an event, that is longer."""
    written = [line for line in lines.getvalue().splitlines() if '"audit"' in line]
    assert len(written) >= least
    for line in lines.getvalue().splitlines():
        assert line.isascii()
        assert len(line) <= limit, line[:400]
    assert max(map(len, await events(rig)), default=0) <= limit


async def refused(call: Any) -> None:
    """Await a call that has to fail, and see how much its answer repeats."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    trailing = dict(error.value.trailing_metadata() or ())
    size = len((error.value.details() or "").encode()) + len(trailing.get("grpc-status-details-bin", b""))
    assert size <= ANSWER


def hostile(rig: Rig, issuer: Issuer, **members: Any) -> Iterator[str]:
    """Tokens with one header or claim that is as long as a token may be; signed where that is possible, and not."""
    now = rig.clock.now()
    for text in TEXTS:
        for value in (text, [text], {"sub": text[:900], "iss": text[:900], "jkt": text[:900]}):
            for claim in CLAIMS:
                claims = json.dumps({**issuer.claims(now, **members), claim: value}, ensure_ascii=False)
                token = jwt.api_jws.encode(claims.encode(), issuer.key, issuer.algorithm, {"kid": issuer.key_id})
                yield token
                yield token.rpartition(".")[0] + "." + "A" * 342
        for header in HEADERS:
            head = jwt.utils.base64url_encode(json.dumps({"alg": "RS256", "kid": "k1", header: text}).encode()).decode()
            yield f"{head}.{issuer.token(now, **members).partition('.')[2]}"


async def test_subject_tokens_and_actor_tokens(rig: Rig, lines: io.StringIO) -> None:
    count = 0
    for number, token in enumerate(hostile(rig, rig.issuer)):
        audience = "https://public.example" if number % 2 else AUDIENCE
        request = pb.ExchangeTokenRequest(subject_token=token, audience=audience)
        if number % 5 == 0:
            request = pb.ExchangeTokenRequest(
                subject_token=rig.issuer.token(rig.clock.now()), audience=audience,
                actor_token=token, actor_token_type=ID_TOKEN,
            )  # fmt: skip
        auth = {"metadata": (("tokenmint-client-id", "spa"),), "timeout": 20.0} if number % 2 else rig.auth("web")
        with contextlib.suppress(grpc.aio.AioRpcError):  # some are good tokens, with a long claim that is nobody's
            await rig.exchange.ExchangeToken(request, **auth)
        count += 1
    assert "internal error" not in lines.getvalue()
    await bounded(rig, lines, count)


async def test_client_assertions_forms_and_proofs(rig: Rig, lines: io.StringIO) -> None:
    good = rig.issuer.token(rig.clock.now())
    keys = Issuer("keys", ec_key(5), "c", "ES256")
    posts: list[tuple[dict[str, str], dict[str, str]]] = []
    base = {"grant_type": GRANT, "subject_token": good, "subject_token_type": ID_TOKEN, "audience": AUDIENCE}
    for number, token in enumerate(hostile(rig, keys, sub="keys", aud="https://tokens.example")):
        if number % 3 == 0:
            posts.append(({**base, "client_assertion": token, "client_assertion_type": JWT_BEARER}, {}))
    for text in TEXTS:
        posts += [({**base, name: text}, {}) for name in (*base, "client_id", "client_secret", "resource", "scope")]
        posts += [({**base, "client_assertion": good, "client_assertion_type": text}, {}), ({text: text}, {})]
        posts += [({**base, "client_id": "spa", "requested_token_type": text, "actor_token": text}, {})]
        for claim in ("jti", "htm", "htu", "iat", "ath"):
            posts.append(
                ({**base, "client_id": "spa"}, {"DPoP": proof(None, None, "ES256", **{claim: text[:5000]}).reveal()})
            )
    judged = 0
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as http:
        for form, headers in posts:
            answer = await http.post("/oauth2/token", data=form, headers=headers)
            judged += answer.text != "Invalid HTTP request received."  # a head of more than 16 KiB
            assert answer.status_code in (400, 401, 502, 503), answer.text
            assert len(answer.content) <= LINE
        twice = urlencode([(f"{number}{TEXTS[1][:200]}", "x") for number in range(32)] * 2)
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        assert len((await http.post("/oauth2/token", content=twice, headers=kind)).content) <= ANSWER
        for text in TEXTS[:1]:
            basic = {"Authorization": f"Basic {jwt.utils.base64url_encode((text + ':x').encode()).decode()}"}
            assert (await http.post("/oauth2/token", data=base, headers=basic)).status_code in (400, 401, 431)
    assert judged > 150
    await bounded(rig, lines, judged, ADMIN)


async def test_fields_and_metadata_of_calls(rig: Rig, lines: io.StringIO) -> None:
    good, spa = rig.issuer.token(rig.clock.now()), (("tokenmint-client-id", "spa"),)
    exchange, many = rig.exchange, [f"{number}" + "s" * 120 for number in range(64)]
    for text in TEXTS:
        wide = text[:255]
        for request in (
            pb.ExchangeTokenRequest(subject_token=good, audience=text),
            pb.ExchangeTokenRequest(subject_token=good, audience=wide),
            pb.ExchangeTokenRequest(subject_token=good, audience=AUDIENCE, scopes=[text] * 100),
            pb.ExchangeTokenRequest(subject_token=good, audience=AUDIENCE, scopes=many),
            pb.ExchangeTokenRequest(subject_token=good, audience=AUDIENCE, requested_token_type=wide, nonce=wide),
            pb.ExchangeTokenRequest(subject_token=good, audience=AUDIENCE, subject_token_type=text, request_id=text),
            pb.ExchangeTokenRequest(subject_token=good, audience=AUDIENCE, actor_token_type=text, dpop_jkt=text),
            pb.ExchangeTokenRequest(subject_token=text, audience=AUDIENCE),
        ):
            for auth in (rig.auth("web"), {"metadata": spa, "timeout": 20.0}):
                await refused(exchange.ExchangeToken(request, **auth))
        await refused(exchange.RevokeToken(pb.RevokeTokenRequest(token=good, token_type_hint=text), **rig.auth("web")))
    printable = "y" * 4000
    for metadata in (
        (("tokenmint-client-id", printable), ("tokenmint-client-secret", printable)),
        (("tokenmint-client-id", printable),),
        (("tokenmint-client-assertion", printable),),
        (("tokenmint-workload-token", printable),),
        (("tokenmint-client-id", "web"), ("tokenmint-client-assertion", rig.issuer.token(0, iss="x" * 3000))),
        (("tokenmint-workload-token", rig.issuer.token(rig.clock.now(), sub="s" * 255)),),
        (("tokenmint-workload-token", rig.issuer.token(rig.clock.now(), headers={"typ": "t" * 3000})),),
    ):
        request = pb.ExchangeTokenRequest(subject_token=good, audience=AUDIENCE)
        await refused(exchange.ExchangeToken(request, metadata=metadata, timeout=20))
    await bounded(rig, lines, 8 * 2 * len(TEXTS))


async def test_a_batch(rig: Rig, lines: io.StringIO) -> None:
    good = rig.issuer.token(rig.clock.now())
    for text in TEXTS:
        bad = [pb.BatchExchangeTarget(audience=text[:255], scopes=[text[:150]] * 3) for _ in range(16)]
        batch = pb.BatchExchangeTokensRequest(subject_token=good, targets=bad)
        await refused(rig.exchange.BatchExchangeTokens(batch, **rig.auth("web")))
        targets = [pb.BatchExchangeTarget(audience=text[:255]) for _ in range(16)]
        batch = pb.BatchExchangeTokensRequest(subject_token=good, targets=targets)
        await rig.exchange.BatchExchangeTokens(batch, **rig.auth("web"))
    await bounded(rig, lines, 2 * len(TEXTS), BATCH)


async def test_a_gateways_checks(rig: Rig, lines: io.StringIO) -> None:
    check: Callable[..., Any] = rig.data.unary_unary(
        "/envoy.service.auth.v3.Authorization/Check",
        request_serializer=envoy.CheckRequest.SerializeToString,
        response_deserializer=envoy.CheckResponse.FromString,
    )
    for text in TEXTS:
        for host, extensions, header in (
            (text, {}, f"Bearer {rig.issuer.token(rig.clock.now())}"),
            ("h", {"tokenmint.audience": text}, f"Bearer {rig.issuer.token(rig.clock.now())}"),
            ("h", {"tokenmint.audience": AUDIENCE, "tokenmint.scope": text}, "Bearer x.y.z"),
            ("h", {"tokenmint.audience": AUDIENCE, "tokenmint.subject_token_type": text}, "Bearer x.y.z"),
            ("h", {"tokenmint.audience": AUDIENCE}, f"Bearer {text}"),
            ("h", {"tokenmint.audience": AUDIENCE}, text),
        ):
            request = envoy.CheckRequest()
            request.attributes.request.http.host = host
            request.attributes.request.http.headers["authorization"] = header
            for name, value in extensions.items():
                request.attributes.context_extensions[name] = value
            answer = await check(request, **rig.auth("web"))
            assert answer.denied.status.code in (401, 403)
            assert answer.ByteSize() <= ANSWER
    await bounded(rig, lines, 6 * len(TEXTS))


async def test_what_operators_write(rig: Rig, lines: io.StringIO) -> None:
    root, ada, count = rig.auth("root"), Profile(principal="ada"), 0
    for text in TEXTS:
        for call in (
            rig.keys.RevokeSigningKey(keys_pb.RevokeSigningKeyRequest(key_id=text, reason=text), **root),
            rig.keys.GetSigningKey(keys_pb.GetSigningKeyRequest(key_id=text), **root),
            rig.keys.RotateSigningKey(keys_pb.RotateSigningKeyRequest(algorithm=text), **root),
            rig.profiles.GetProfile(profiles_pb.GetProfileRequest(principal=text), **root),
            rig.profiles.GetProfile(
                profiles_pb.GetProfileRequest(identity=Identity(provider="idp", subject=text[:500])), **root
            ),
            rig.profiles.CreateProfile(profiles_pb.CreateProfileRequest(profile=Profile(principal=text)), **root),
            rig.profiles.UpdateProfile(
                profiles_pb.UpdateProfileRequest(profile=ada, update_mask=FieldMask(paths=[text] * 4)), **root
            ),
            rig.profiles.DeleteProfile(profiles_pb.DeleteProfileRequest(principal=text), **root),
            rig.providers.RefreshProviderKeys(providers_pb.RefreshProviderKeysRequest(provider=text), **root),
        ):
            await refused(call)
            count += 1
    await refused(rig.keys.ListSigningKeys(keys_pb.ListSigningKeysRequest(), metadata=(
        ("tokenmint-client-id", "y" * 4000), ("tokenmint-client-secret", "z"),
    ), timeout=20))  # fmt: skip
    await bounded(rig, lines, count // 2, ADMIN)


async def test_who_fetches_the_key_set(rig: Rig, lines: io.StringIO) -> None:
    async with plain_http.client(base_url=rig.url("http", ""), timeout=20) as http:
        for agent in ("a" * 7000, "\xe9" * 3000, "\x7f" * 50):
            await http.get("/.well-known/jwks.json", headers=[(b"User-Agent", agent.encode("latin-1"))])
    await rig.parts.signing.jwks_clients.flush()
    seen = [one.sighting for one in await rig.parts.signing.jwks_clients.known()]
    assert all(one.agent.isascii() and len(one.agent) <= 100 for one in seen)
    assert seen
    await bounded(rig, lines, 0)


async def test_numbers_have_no_label_that_somebody_outside_chose(rig: Rig) -> None:
    good = rig.issuer.token(rig.clock.now())
    for number in range(30):
        request = pb.ExchangeTokenRequest(subject_token=good, audience=f"https://{number}.example")
        await refused(rig.exchange.ExchangeToken(request, **rig.auth("web")))
        await refused(rig.exchange.ExchangeToken(request, metadata=(("tokenmint-client-id", f"{number}"),), timeout=20))
    assert len([key for key in rig.base.metrics._of_calls if "ExchangeToken" in key[0]]) == 2
    assert ACCESS_TOKEN not in rig.base.metrics.render().decode()

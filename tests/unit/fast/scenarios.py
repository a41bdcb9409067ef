"""What both ways have to agree about, each scenario by itself. A mutation of the fast way has to make one of them fail.

A scenario leaves the service as it found it. It asserts that refusals are refused by the full way too, so that none of
its cases is one by mistake.
"""

import base64
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from tests.both_ways import SMALL_AUDIENCE, BothWays
from tests.issuer import Issuer, b64, rsa_key, segment
from tests.rig import LEGACY_AUDIENCE, OPEN_AUDIENCE

from tokenmint.base.errors import ClockWrong, SignerUnavailable, StoreWentBack
from tokenmint.model import profile as profile_model
from tokenmint.profiles import records
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile
from tokenmint.v1.provider_admin_service_pb2 import RefreshProviderKeysRequest

Scenario = Callable[[BothWays], Awaitable[None]]
LATEST = 253402300799
SKEW = 30  # seconds, of the provider


async def plain_exchanges(ways: BothWays) -> None:
    """What most calls are is recognised."""
    for request in (
        ways.request(),
        ways.request(scopes=["read"]),
        ways.request(scopes=["write", "read"], lifetime=Duration(seconds=60)),
        ways.request(requested_token_type="urn:ietf:params:oauth:token-type:jwt"),
        ways.request(subject_token_type="urn:ietf:params:oauth:token-type:id_token"),
        ways.request(audience=LEGACY_AUDIENCE),
    ):
        outcome = await ways.check(request, recognised=True)
        assert outcome.spent["rate:client:web"] == 1
    await ways.check(metadata=ways.metadata("old"), recognised=True)
    await ways.check(metadata=(("user-agent", "x"), *ways.metadata(), ("x-bin", b"\x00")), recognised=True)


# --- tokens ----------------------------------------------------------------------------------------------------------


def raw_token(issuer: Issuer, payload: bytes, **headers: object) -> str:
    """A token whose payload is these bytes, signed by the provider."""
    return jwt.api_jws.encode(payload, issuer.key, algorithm="RS256", headers={"kid": issuer.key_id, **headers})


def signed_as(issuer: Issuer, algorithm: str, payload: bytes) -> str:
    """A token with a signature of RS256 that its header calls one of another algorithm."""
    unsigned = f"{segment({'alg': algorithm, 'kid': issuer.key_id})}.{b64(payload)}"
    assert isinstance(issuer.key, rsa.RSAPrivateKey)
    return f"{unsigned}.{b64(issuer.key.sign(unsigned.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def bad_times(now: int) -> dict[str, dict[str, Any]]:
    return {
        "expired": {"iat": now - 400, "exp": now - SKEW},
        "beyond all times": {"exp": LATEST + 1},
        "exp before the epoch": {"exp": -1},
        "exp is a text": {"exp": str(now + 300)},
        "exp is a truth": {"exp": True},
        "no exp": {"exp": None},
        "no iat": {"iat": None},
        "iat ahead": {"iat": now + SKEW + 1},
        "iat before the epoch": {"iat": -1},
        "nbf ahead": {"nbf": now + SKEW + 1},
        "nbf before the epoch": {"nbf": -1},
        "nbf is a text": {"nbf": "0"},
        "nbf is a truth": {"nbf": True},
    }


def bad_claims(now: int) -> dict[str, dict[str, Any]]:
    return bad_times(now) | {
        "another audience": {"aud": "other"},
        "no audience": {"aud": None},
        "an empty audience": {"aud": ""},
        "an empty list": {"aud": []},
        "a list of others": {"aud": ["other"]},
        "several without azp": {"aud": ["app", "other"]},
        "several and another azp": {"aud": ["app", "other"], "azp": "other"},
        "an audience that is a number": {"aud": 5},
        "no subject": {"sub": None},
        "an empty subject": {"sub": ""},
        "a long subject": {"sub": "s" * 256},
        "a subject that is a number": {"sub": 1842},
        "another subject": {"sub": "1843"},
        "an empty jti": {"jti": ""},
        "a jti that is a number": {"jti": 5},
        "a logout token": {"events": {}},
        "a bound token": {"cnf": {"jkt": "x" * 43}},
        "a delegated token": {"act": {"sub": "x"}},
        "another issuer": {"iss": "https://other.example"},
    }


def bad_forms(ways: BothWays) -> dict[str, str]:
    issuer, good = ways.rig.issuer, ways.token()
    header, payload, signature = good.split(".")
    claims = json.dumps(issuer.claims(ways.rig.clock.now()), separators=(",", ":")).encode()
    forged = base64.urlsafe_b64decode(payload + "==").replace(b"ada@", b"eve@")
    last = signature[:-1] + chr(ord(signature[-1]) + 1)
    return {
        "tampered": f"{header}.{b64(forged)}.{signature}",
        "signed by another key": Issuer(url=issuer.url, key=rsa_key(1)).token(ways.rig.clock.now()),
        "without a signature": f"{header}.{payload}.",
        "unsigned": f"{segment({'alg': 'none', 'kid': 'k1'})}.{payload}.",
        "a signature with stray bits": f"{header}.{payload}.{last}",
        "a signature that is padded": f"{good}==",
        "four parts": f"{good}.AAAA",
        "two parts": f"{header}.{payload}",
        "no header": f".{payload}.{signature}",
        "no payload": f"{header}..{signature}",
        "a space": f"{good} ",
        "a member twice": raw_token(issuer, claims[:-1] + b',"sub":"1842"}'),
        "a list": raw_token(issuer, b"[" + claims + b"]"),
        "no JSON": raw_token(issuer, claims + b"}"),
        "a number without end": raw_token(issuer, claims[:-1] + b',"x":1e999}'),
        "deep": raw_token(issuer, claims[:-1] + b',"x":' + b"[" * 17 + b"]" * 17 + b"}"),
        "another algorithm than the key's": jwt.encode(
            issuer.claims(ways.rig.clock.now()), issuer.key, algorithm="RS384", headers={"kid": "k1"}
        ),
        "another algorithm's name": signed_as(issuer, "ES256", claims),
        "an unknown key": issuer.token(ways.rig.clock.now(), headers={"kid": "k9"}),
        "another kind": issuer.token(ways.rig.clock.now(), headers={"typ": "at+jwt"}),
        "a critical header": issuer.token(ways.rig.clock.now(), headers={"crit": ["x"]}),
        "long": ways.token(x="x" * 17_000),
    }


async def tokens_that_are_refused(ways: BothWays) -> None:
    """No token that the full way refuses is recognised, whatever is wrong with it."""
    issuer, now = ways.rig.issuer, int(ways.rig.clock.now())
    tokens = {name: issuer.token(now, **changes) for name, changes in bad_claims(now).items()}
    for name, member in (("nbf is null", {"nbf": None}), ("an issuer that is a number", {"iss": 5})):
        tokens[name] = raw_token(issuer, json.dumps(issuer.claims(now) | member).encode())
    for name, token in (tokens | bad_forms(ways)).items():
        outcome = await ways.check(ways.request(token), recognised=False)
        assert outcome.answer is None, name


async def tokens_that_are_taken(ways: BothWays) -> None:
    """Tokens at the edges, and odd ones: what is recognised is what the full way takes."""
    issuer, now = ways.rig.issuer, int(ways.rig.clock.now())
    claims = issuer.claims(now, email="ada@example.com")
    for changes in (
        {"iat": now - 400, "exp": now - SKEW + 1}, {"iat": now + SKEW}, {"nbf": now + SKEW}, {"exp": LATEST},
        {"aud": ["app"]}, {"aud": ["app", "other"], "azp": "app"}, {"jti": "j"}, {"nbf": 0}, {"iat": now - 0.5},
        {"exp": now + 299.5}, {"x": {"y": [1, 2.5, None, True]}}, {"name": "Ada \u00e4 \U0001f600"}, {"x": 2**70},
        {"email": {"of": ["several"]}}, {"email": ""}, {"email": 2**70}, {"may_act": {"sub": "x"}},
    ):  # fmt: skip
        outcome = await ways.check(ways.request(issuer.token(now, **(claims | changes))))
        assert outcome.answer is not None, changes
    for text in (json.dumps(claims), json.dumps(claims, indent=1), json.dumps(claims | {"jti": None, "email": None})):
        outcome = await ways.check(ways.request(raw_token(issuer, text.encode())))
        assert outcome.answer is not None, text
    for _ in range(2):  # the second time its signature is remembered
        await ways.check(ways.request(ways.token(jti="again")), recognised=True)


async def a_signature_that_was_good_for_another_token(ways: BothWays) -> None:
    """A signature is remembered for one token: a copy that differs in its signature alone is checked."""
    good = ways.token(jti="remembered")
    await ways.check(ways.request(good), recognised=True)
    unsigned, _, signature = good.rpartition(".")
    other = "B" if signature[0] == "A" else "A"
    outcome = await ways.check(ways.request(f"{unsigned}.{other}{signature[1:]}"), recognised=False)
    assert outcome.answer is None


# --- callers and requests --------------------------------------------------------------------------------------------


async def callers_that_are_refused(ways: BothWays) -> None:
    """No caller is recognised that the full way does not prove."""
    await ways.check(recognised=True)
    (key, web), (secret_key, secret) = ways.metadata()
    other = ways.metadata("batch")[1][1]
    for metadata in (
        (), ((key, web),), ((secret_key, secret),), ((key, web), (secret_key, "tms_wrong")), ((key, web), (secret_key, "")),
        ((key, web), (secret_key, other)), ((key, "batch"), (secret_key, secret)), ((key, "nobody"), (secret_key, secret)),
        ((key, ""), (secret_key, secret)),
        ((key, web), (key, web), (secret_key, secret)), ((key, web), (secret_key, secret), (secret_key, secret)),
        ((key, web), (secret_key, secret), ("tokenmint-client-assertion", "x")),
        ((key, web), (secret_key, secret), ("tokenmint-workload-token", "x")),
        ((key, web), (secret_key, secret), ("content-type", "text/plain")),
        ((key, web), (secret_key, "\ud800")),
    ):  # fmt: skip
        outcome = await ways.check(metadata=metadata, recognised=False)
        assert outcome.answer is None, metadata
    outcome = await ways.check(ways.request(), ways.metadata("batch"), recognised=False)  # not the audience's client
    assert outcome.answer is None


def field(number: int, value: bytes) -> bytes:
    """A field of a message, shorter than 128 bytes."""
    return bytes((number << 3 | 2, len(value))) + value


async def requests_that_are_refused(ways: BothWays) -> None:
    """No request is recognised that the full way refuses."""
    whole = ways.request()
    for name, request in {
        "no message": b"",
        "no token": ways.request(token=""),
        "a token that ends it": whole + field(1, b""),
        "another token after it": whole + field(1, b"x"),
        "a probe after it": whole + field(1, b"p"),
        "another token before it": field(1, b"x") + whole + field(1, b"x"),
        "cut off": whole[:200],
        "cut off in the length": whole[:2],
        "a length beyond the end": b"\x0a\xff\x7f" + whole[3:],
        "a rest that is cut off": whole[:-1],
        "a nonce that is not the token's": ways.request(nonce="n"),
        "a scope that is nobody's": ways.request(scopes=["admin"]),
        "a scope that is none": ways.request(scopes=["a b"]),
        "a lifetime beyond the most": ways.request(lifetime=Duration(seconds=3601)),
        "a lifetime with a fraction": ways.request(lifetime=Duration(seconds=5, nanos=1)),
        "an unknown audience": ways.request(audience="https://unknown.example"),
        "a kind of token that is not served": ways.request(requested_token_type="urn:x"),
        "a kind of subject token that there is not": ways.request(subject_token_type="urn:x"),
        "an access token that is none": ways.request(
            subject_token_type="urn:ietf:params:oauth:token-type:access_token"
        ),
        "an actor": ways.request(actor_token=ways.token(), actor_token_type="urn:ietf:params:oauth:token-type:jwt"),
        "an actor's kind alone": ways.request(actor_token_type="urn:ietf:params:oauth:token-type:jwt"),
        "no UUID": ways.request(request_id="1"),
        "no thumbprint": ways.request(dpop_jkt="x"),
        "a long rest": ways.request(scopes=["read"] * 65),
    }.items():
        outcome = await ways.check(request, recognised=False)
        assert outcome.answer is None, name


async def requests_in_other_spellings(ways: BothWays) -> None:
    """Protobuf's spellings of one message are that message."""
    whole = ways.request()
    token = ways.token().encode()
    size = len(token)
    assert 128 <= size < 2**14
    overlong = bytes((0x0A, size & 127 | 128, size >> 7 | 128, 0)) + token
    audience = pb.ExchangeTokenRequest(audience="https://orders.example").SerializeToString()
    for request in (
        whole, overlong + audience, overlong + field(15, b"unknown") + audience, audience + overlong,
        overlong + field(3, b"https://unknown.example") + audience, overlong + field(2, b"") + audience,
        overlong + field(4, b"read") + audience + field(4, b"read"),
    ):  # fmt: skip
        outcome = await ways.check(request)
        assert outcome.answer is not None
    for request in (
        ways.request(token=ways.token(nonce="n"), nonce="n"),
        ways.request(request_id="3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
        ways.request(dpop_jkt="A" * 43),
        ways.request(audience=OPEN_AUDIENCE, token=ways.token(jti=b64(request_id()))),
    ):
        outcome = await ways.check(request, recognised=False)
        assert outcome.answer is not None


def request_id(_: list[int] = [0]) -> bytes:  # noqa: B006  # a counter
    """Bytes that no other call got."""
    _[0] += 1
    return b"once %d" % _[0]


# --- limits, audit, clock --------------------------------------------------------------------------------------------


async def calls_beyond_the_limits(ways: BothWays) -> None:
    """A call without a place in a lot is not recognised, and takes none."""
    limiter = ways.rig.parts.limiter
    request = ways.request()
    for left, until in ((0, float("inf")), (5, ways.rig.clock.monotonic())):
        ways.stock()
        for lot in limiter._lots.values():
            lot.left, lot.until = left, until
        assert ways.by_fast(request, ways.metadata()).nothing
    before = limiter.limits
    limiter.limits = type(before)(each=type(before.each)(1.0, 7), together=None)  # type: ignore[misc]  # set below
    ways.stock()
    assert ways.by_fast(request, ways.metadata()).nothing, "a lot of another rate"
    limiter.limits = before


@contextmanager
def replaced(target: object, name: str, value: object) -> Iterator[None]:
    """Replace a member of an object, frozen or not, for a while."""
    before = getattr(target, name)
    object.__setattr__(target, name, value)
    try:
        yield
    finally:
        object.__setattr__(target, name, before)


async def times_when_nothing_is_served(ways: BothWays) -> None:
    """While the clock, the store, the signer or the trail fails, nothing is recognised."""
    parts = ways.rig.parts

    def raising(error: Exception) -> Callable[..., None]:
        def fail(*_: object) -> None:
            raise error

        return fail

    request = ways.request()
    await ways.check(request, recognised=True)
    for error in (ClockWrong(), StoreWentBack()):
        with replaced(parts.exchange, "serving", raising(error)):
            outcome = await ways.check(request, recognised=False)
            assert outcome.answer is None, error
    with replaced(parts.exchange.minter._kit, "ring", raising(SignerUnavailable())):
        outcome = await ways.check(request, recognised=False)
        assert outcome.answer is None
    audit = parts.audit
    required = type(audit._limits)(required=True)
    with replaced(audit, "_limits", required), replaced(audit, "_failure", "gone"):
        outcome = await ways.check(request, recognised=False)
        assert outcome.answer is None


# --- what changes between two calls of one plan ----------------------------------------------------------------------


async def profiles_that_change(ways: BothWays) -> None:
    """Each call sees the profile as it is: changed, revoked, unlinked, disabled, deleted."""
    rig = ways.rig
    subject, principal = "s-changing", f"p{b64(request_id())}"
    identity = Identity(provider="idp", subject=subject + principal)
    profile = Profile(principal=principal, identities=[identity], roles=["clerk"])
    await rig.profiles.CreateProfile(profiles_pb.CreateProfileRequest(profile=profile), **rig.auth("root"))
    request = ways.request(ways.token(sub=identity.subject))

    async def now(*, roles: list[str] | None, recognised: bool = True) -> None:
        await ways.by_full(request, ways.metadata())  # the near cache knows it from here on
        outcome = await ways.check(request, recognised=recognised)
        assert (outcome.answer is not None) is (roles is not None)
        if outcome.answer is not None:
            assert ways.claims(outcome.answer).get("roles", []) == roles

    async def update(path: str, **fields: Any) -> None:
        changed = Profile(principal=principal, **fields)
        await rig.profiles.UpdateProfile(
            profiles_pb.UpdateProfileRequest(profile=changed, update_mask=FieldMask(paths=[path])), **rig.auth("root")
        )

    await now(roles=["clerk"])
    await update("roles", roles=["admin", "clerk"])
    await now(roles=["admin", "clerk"])
    await update("roles", roles=[])
    await now(roles=[])
    await update("disabled", disabled=True)
    await now(roles=None, recognised=False)
    await update("disabled", disabled=False)
    await now(roles=[])
    unlink = profiles_pb.UnlinkIdentityRequest(principal=principal, identity=identity)
    await rig.profiles.UnlinkIdentity(unlink, **rig.auth("root"))
    await now(roles=None, recognised=False)
    await rig.profiles.LinkIdentity(
        profiles_pb.LinkIdentityRequest(principal=principal, identity=identity), **rig.auth("root")
    )
    await now(roles=[])
    revoke = profiles_pb.RevokePrincipalTokensRequest(principal=principal)
    await rig.profiles.RevokePrincipalTokens(revoke, **rig.auth("root"))
    await now(roles=None, recognised=False)
    await rig.profiles.DeleteProfile(profiles_pb.DeleteProfileRequest(principal=principal), **rig.auth("root"))
    await now(roles=None, recognised=False)


async def a_near_cache_that_may_not_be_used(ways: BothWays) -> None:
    """A value is not used once its fences are passed: too old, or the store says nothing of changes."""
    near, clock = ways.rig.parts.near, ways.rig.clock
    request = ways.request()
    await ways.check(request, recognised=True)
    with replaced(near, "_complete_until", clock.monotonic() - 1.5):
        assert ways.by_fast(request, ways.metadata()).nothing
    for key in list(near._entries):
        entry = near._entries[key]
        with replaced(entry, "asked", clock.monotonic() - 5.5):
            assert ways.by_fast(request, ways.metadata()).nothing or key not in near._entries
    await ways.check(request, recognised=True)


async def the_providers_keys_change(ways: BothWays) -> None:
    """A key that the provider took back proves nothing from the refresh on, remembered or not; a new one does."""
    rig, issuer = ways.rig, ways.rig.issuer
    refresh = RefreshProviderKeysRequest(provider="idp")
    token = ways.token(jti="taken back")
    await ways.check(ways.request(token), recognised=True)
    before = issuer.key
    issuer.key = rsa_key(1)  # under the same kid
    await rig.providers.RefreshProviderKeys(refresh, **rig.auth("root"))
    outcome = await ways.check(ways.request(token), recognised=False)
    assert outcome.answer is None
    await ways.check(ways.request(ways.token()), recognised=True)
    issuer.key = before
    await rig.providers.RefreshProviderKeys(refresh, **rig.auth("root"))
    await ways.check(ways.request(token), recognised=True)
    state = rig.parts.exchange.verifier.key_sets._states["idp"]
    with replaced(state, "trusted_until", ways.rig.clock.monotonic()):
        assert ways.by_fast(ways.request(token), ways.metadata()).nothing, "keys that are not trusted any more"


async def our_keys_change(ways: BothWays) -> None:
    """The token is signed by the key that signs now: after a rotation by the new one, whose id its header has."""
    rig = ways.rig
    request = ways.request()
    first = await ways.check(request, recognised=True)
    rotate = keys_pb.RotateSigningKeyRequest(algorithm="ES256", force=True)
    await rig.keys.RotateSigningKey(rotate, **rig.auth("root"))
    second = await ways.check(request, recognised=True)
    assert first.answer is not None
    assert second.answer is not None
    assert first.answer.key_id != second.answer.key_id
    rig_revoke = keys_pb.RevokeSigningKeyRequest(key_id=second.answer.key_id, reason="a test")
    await rig.keys.RevokeSigningKey(rig_revoke, **rig.auth("root"))
    third = await ways.check(request)
    assert third.answer is None or third.answer.key_id != second.answer.key_id


async def configurations_that_change(ways: BothWays) -> None:
    """From a reload on each plan is made anew: secrets, audiences, providers, mappings, scopes."""
    await ways.check(recognised=True)
    secret = ways.rig.secrets["web"].fingerprint()
    for old, new, accepted in (
        (f'"sha256:{secret}"', f'"sha256:{"0" * 64}"', False),
        ('clients = ["web"]', 'clients = ["batch"]', False),
        ('email = "assertion.email"', 'email = "assertion.iss"', True),
        ('tenant = "profile.claims.tenant"', "tenant = \"'fixed'\"", True),
        ('roles = "profile.roles"', 'of = "provider.name"\nby = "client.id"', True),
        ('scopes = ["read", "write"]', 'scopes = ["read"]', True),
        ('max_lifetime = "1h"', 'max_lifetime = "1h"\nlifetime = "5m"', True),
        ('max_lifetime = "1h"', 'max_lifetime = "1h"\nsingle_use = true', None),
        ('max_lifetime = "1h"', 'max_lifetime = "1h"\nreuse_window = "5s"', True),
        ('max_lifetime = "1h"', 'max_lifetime = "1h"\nmax_token_bytes = 600', None),
        ('max_lifetime = "1h"', 'max_lifetime = "1h"\nbound = "dpop"', False),
        ('max_lifetime = "1h"', 'max_lifetime = "1h"\ncondition = "assertion.sub == \'x\'"', False),
        ('audiences = ["app"]', 'audiences = ["elsewhere"]', False),
        ('audiences = ["app"]', 'audiences = ["app"]\ncondition = "false"', False),
        ('audiences = ["app"]', 'audiences = ["app"]\nskew = "1s"', True),
        ('audiences = ["app"]', 'audiences = ["app"]\nmax_age = "1s"', True),
        ('audiences = ["app"]', 'audiences = ["app"]\nsubject_claims = ["email"]', False),
        ('audiences = ["app"]', 'audiences = ["app"]\ntoken_types = ["jwt"]', None),
        ('audiences = ["app"]', 'audiences = ["app"]\nalgorithms = ["ES256"]', False),
    ):
        await with_configuration(ways, (old, new), accepted=accepted)
    await ways.check(recognised=True)


async def with_configuration(ways: BothWays, change: tuple[str, str], *, accepted: bool | None) -> None:
    """Reload with a text of the configuration replaced, compare both ways, and take the change back."""
    rig, before = ways.rig, ways.rig.config.read_text()
    assert change[0] in before, change
    try:
        rig.config.write_text(before.replace(*change))
        await rig.app.reload(rig.settings())
        for _ in range(2):
            outcome = await ways.check(ways.request())
            assert accepted is None or (outcome.answer is not None) is accepted, change
    finally:
        rig.config.write_text(before)
        await rig.app.reload(rig.settings())
        await ways.warm()


async def providers_that_an_audience_does_not_take(ways: BothWays) -> None:
    """A provider that proves tokens for one audience proves none for another."""
    await with_configuration(
        ways,
        ('providers = ["idp"]\nscopes = ["read", "write"]', 'reexchange_from = ["https://legacy.example"]'),
        accepted=False,
    )


async def tokens_that_are_too_large(ways: BothWays) -> None:
    """A token that is longer than its audience allows is not minted, by a byte either."""
    now = ways.rig.clock.now()
    for size in range(560, 860, 8):  # the signature of ES256 takes 86 characters, of which some of these have no room
        token = ways.rig.issuer.token(now, email="e" * size)
        await ways.check(ways.request(token, audience=SMALL_AUDIENCE))
    assert ways.recognised


async def times_that_pass(ways: BothWays) -> None:
    """Each token has the times of its own second."""
    for second in (0.0, 0.9, 1.0, 2.5):
        await ways.rig.set_time(ways.rig.clock.now() + second)
        await ways.check(ways.request(), recognised=True)


async def identities_that_a_profile_does_not_list(ways: BothWays) -> None:
    """The index alone says nothing: a link that was begun and not finished is no profile's."""
    store, identity = ways.rig.parts.store, profile_model.Identity("idp", f"s{b64(request_id())}")
    raw = records.dump_link(identity, records.Link("ada"))
    await store.add(records.identity_key(identity), raw, ttl=600.0)
    await refused_when_cached(ways, identity.subject)


async def identities_that_were_unlinked(ways: BothWays) -> None:
    """The marker of an unlinked identity counts, whatever the profile lists."""
    store, near = ways.rig.parts.store, ways.rig.parts.near
    identity = profile_model.Identity("idp", "1842")
    key = records.identity_key(identity)
    linked, unlinked = (records.dump_link(identity, records.Link("ada", unlinked=found)) for found in (False, True))
    await ways.check(recognised=True)
    assert await store.swap(key, linked, unlinked, durable=False)
    near.forget(key)
    try:
        await refused_when_cached(ways, "1842")
    finally:
        assert await store.swap(key, unlinked, linked, durable=False)
        near.forget(key)
        await ways.warm()


async def refused_when_cached(ways: BothWays, subject: str) -> None:
    """Both ways refuse a subject whose values, and those of its profile, are in the near cache."""
    request = ways.request(ways.token(sub=subject))
    for _ in range(2):
        await ways.by_full(ways.request(ways.token(sub="1842")), ways.metadata())
        await ways.by_full(request, ways.metadata())
    outcome = await ways.check(request, recognised=False)
    assert outcome.answer is None


ALL: Final[tuple[Scenario, ...]] = (
    plain_exchanges, tokens_that_are_refused, tokens_that_are_taken, a_signature_that_was_good_for_another_token,
    callers_that_are_refused, requests_that_are_refused, requests_in_other_spellings, calls_beyond_the_limits,
    times_when_nothing_is_served, profiles_that_change, a_near_cache_that_may_not_be_used, the_providers_keys_change,
    our_keys_change, configurations_that_change, providers_that_an_audience_does_not_take, tokens_that_are_too_large,
    times_that_pass, identities_that_a_profile_does_not_list, identities_that_were_unlinked,
)  # fmt: skip

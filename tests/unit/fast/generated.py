"""Configurations, tokens, requests and callers that are drawn by chance, most plain but for a thing or two."""

import base64
import json
import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from google.protobuf.duration_pb2 import Duration
from tests.both_ways import Metadata
from tests.issuer import b64, ec_key, jwk, rsa_key

from tokenmint.v1 import token_exchange_service_pb2 as pb

PROVIDERS: Final = ("one", "two", "three")
ISSUERS: Final = tuple(f"https://{name}.example" for name in PROVIDERS)
AUDIENCES: Final = ("https://a.example", "https://b.example")
_RESOURCES: Final = (
    *AUDIENCES, "HTTPS://A.example:443/", "https://a.example/%2e/", "api://A", "https://a.example/x/../v1",
    "https://a.example/v1/", "https://c.example", "https://x.example", "https://a.example#x", "api:/.//a", "a", "",
    "https://orders.example",
)  # fmt: skip
TYPE: Final = "urn:ietf:params:oauth:token-type:"
SUBJECTS: Final = ("1842", "7", "1842/x", "ada@example.com", "\u00e4\U0001f600", "off", "revoked")
_KEYS: Final[dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]] = {
    "e1": ec_key(1),
    "e2": ec_key(2),
    "r1": rsa_key(),
}
_SETS: Final = (
    (("e1", "k1"),), (("e1", "k1"), ("e2", "k2")), (("e1", "k1"), ("r1", "k2")), (("e1", None),),
    (("e1", None), ("e2", None)), (("r1", "k1"),), (("e2", "k1"), ("e1", "k1")),
)  # fmt: skip
_SIGNERS: Final = (("e1", "k1"), ("e2", "k2"), ("r1", "k2"), ("r1", "k1"), ("e1", "k2"), ("e2", "k1"))
_ODD: Final = (
    "issuer", "claims", "claims", "claims", "key", "header", "header", "spelling", "spelling", "form", "fields",
    "fields", "length", "tail", "tail", "cut", "caller",
)  # fmt: skip
"""Oddities of a call; some are drawn more often."""


class Draw:
    """Draws by chance, the same in every run with one seed."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def one(self, *options: Any) -> Any:
        """One of these."""
        return self._random.choice(options)

    def rarely(self, part: float = 0.1) -> bool:
        """Whether something that is rare is so."""
        return self._random.random() < part

    def some(self, options: "tuple[Any, ...]", least: int = 0) -> list[Any]:
        """Some of these, in any order."""
        return self._random.sample(options, self._random.randint(least, len(options)))

    def bytes(self, most: int) -> bytes:
        """Bytes that mean nothing."""
        return self._random.randbytes(self._random.randint(0, most))


# --- configurations --------------------------------------------------------------------------------------------------

_OF_PROVIDERS: Final = (
    'token_types = ["jwt"]', 'token_types = ["id_token", "access_token", "jwt"]', "untyped_access_tokens = true",
    'audience_claims = ["client_id", "azp"]', "check_authorized_party = false", 'authorized_parties = ["party"]',
    'subject_claims = ["email"]', 'subject_claims = ["tenant", "sub"]', 'subject_claims = [["deep", "id"]]',
    'subject_claims_by_type = { jwt = ["email"] }', 'subject_claims_instead = { id_token = ["email"] }',
    'numeric_subjects = "accept"', 'numeric_subjects = "as_text"', "max_subject = 4", "iat_required = false",
    'iat_required = false\ntoken_lifetime = "10m"', 'boolean_claims = ["verified", "sub"]', "single_use = true",
    'condition = "assertion.sub != \'7\'"', 'claims = { more = "assertion.sub" }', 'key_issuer = "match"',
    "key_id_required = true", "google_email = true", 'skew = "0s"', 'skew = "1m"', 'max_age = "10s"',
    'algorithms = ["RS256"]', 'algorithms = ["ES256", "RS256", "PS256"]',
    'checks = [{ claim = "verified", kind = "true" }]',
    'checks = [{ claim = "tenant", kind = "one_of", values = ["a"] }]',
    'checks = [{ claim = ["deep", "id"], kind = "absent", token_types = ["jwt"] }]',
    'checks = [{ claim = "iat", kind = "past" }]', 'checks = [{ claim = "email", kind = "prefix", values = ["ada"] }]',
)  # fmt: skip
_OF_AUDIENCES: Final = (
    'lifetime = "5m"', 'lifetime = "1s"', 'max_lifetime = "1h"', 'token_type = "JWT"', "public_clients = true",
    'on_missing_profile = "without"', 'on_missing_profile = "create"', "single_use = true", "max_token_bytes = 700",
    'condition = "assertion.sub != \'7\'"', 'reuse_window = "5s"', 'bound = "dpop"', 'bound = "any"',
    'actors = { providers = ["idp"], without_may_act = true }', 'unknown_scopes = "drop"', 'unknown_scopes = "drop"',
    'actors = { providers = ["one"], without_may_act = true, scopes = "intersection" }',
    'resources = ["api://a", "https://a.example/v1"]', 'resources = ["https://x.example"]',
)  # fmt: skip
_OF_CLAIMS: Final = (
    'email = "assertion.email"', 'id = "assertion.deep.id"', "of = \"assertion['https://x.example/y']\"",
    'who = "profile.principal"', 'roles = "profile.roles"', 'tenant = "profile.claims.tenant"',
    'inner = "profile.claims.nested.x"', 'by = "client.id"', 'from = "provider.name"', "fixed = \"'it is'\"",
    '"a \\"name\\" \u00e9" = "assertion.sub"', 'cel = "= assertion.sub"', 'more = "assertion.more"',
)  # fmt: skip
_OF_CLIENTS: Final = (
    'rate = { per_second = 1000, burst = 1000 }', 'scopes = { "https://a.example" = ["read"] }', "public = true",
    'audience = "https://a.example"', 'subject_token_type = "jwt"',
)  # fmt: skip


def configuration(draw: Draw, secret: str) -> str:
    """Tables of providers, audiences and one client, `drawn`, to append to a configuration. Not all are valid."""
    lines: list[str] = []
    for name in PROVIDERS:
        known = draw.one(*_SETS) if draw.rarely(0.25) else _SETS[1]
        keys = [jwk(_KEYS[key], **({"kid": kid} if kid else {}), use="sig") for key, kid in known]
        issuers = draw.one(list(ISSUERS[:2]), *ISSUERS) if draw.rarely() else f"https://{name}.example"
        audiences = draw.some(("app", f"app-{name}", "caf\u00e9"), least=1) if draw.rarely(0.3) else [f"app-{name}"]
        lines += [f"[providers.{name}]", f"issuer = {text(issuers)}", f"audiences = {text(audiences)}"]
        lines += [f"jwks = {text(json.dumps({'keys': keys}))}", *_options(draw, _OF_PROVIDERS)]
        if draw.rarely():
            lines.append(f"where = {{ tenant = {text(draw.one('a', 'b'))} }}")
    for name in AUDIENCES:
        lines += [f"[audiences.{text(name)}]", f"clients = {text(['drawn'] if draw.rarely() else ['drawn', 'web'])}"]
        providers = ["idp", *PROVIDERS] if draw.rarely(0.8) else draw.some(("idp", *PROVIDERS), least=1)
        lines += [f"providers = {text(providers)}", f"scopes = {text(draw.some(('read', 'write', 'a:b')))}"]
        lines += _options(draw, _OF_AUDIENCES)
        lines += [f"[audiences.{text(name)}.claims]", *draw.some(_OF_CLAIMS[:-2])[:4]]
        lines += [one for one in _OF_CLAIMS[-2:] if draw.rarely(0.05)]
    lines += ["[clients.drawn]", f'secrets = ["sha256:{secret}"]', *(one for one in _OF_CLIENTS if draw.rarely())]
    return "\n" + "\n".join(lines) + "\n"


def text(value: object) -> str:
    """A text, or a list of texts, in TOML."""
    return json.dumps(value, ensure_ascii=False)


def _options(draw: Draw, options: tuple[str, ...]) -> list[str]:
    """None to three of these options, without a key twice."""
    chosen = [draw.one(*options) for _ in range(draw.one(0, 0, 0, 1, 1, 2))]
    return list({option.partition(" =")[0]: option for option in chosen}.values())


# --- tokens ----------------------------------------------------------------------------------------------------------


def token(draw: Draw, now: float, odd: Collection[str]) -> str:
    """A token of one of the issuers, signed with one of the keys."""
    second, name = int(now), draw.one(*PROVIDERS)
    claims: dict[str, Any] = {
        "iss": draw.one(*ISSUERS) if "issuer" in odd else f"https://{name}.example",
        "sub": draw.one(*SUBJECTS[:3], *SUBJECTS), "aud": f"app-{name}",
        "exp": second + 300, "iat": second, "email": "ada@example.com", "tenant": draw.one("a", "a", "b"),
    }  # fmt: skip
    for _ in range(draw.one(1, 2) if "claims" in odd else 0):
        claims |= _odd_claims(draw, second, name)
    claims = {key: value for key, value in claims.items() if value is not ...}
    key, kid = draw.one(*_SIGNERS) if "key" in odd else draw.one(*_SIGNERS[:2])
    header: dict[str, Any] = {"alg": "RS256" if key == "r1" else "ES256", "kid": kid, "typ": "JWT"}
    for _ in range(draw.one(1, 2) if "header" in odd else 0):
        header |= draw.one(*_ODD_HEADERS)
    header = {key: value for key, value in header.items() if value is not ...}
    made = signed(_spelled(draw, header, odd), _spelled(draw, claims, odd), _KEYS[key])
    return draw.one(made[:-1], made + "A", made + ".", "." + made, made.upper(), "") if "form" in odd else made


def _odd_claims(draw: Draw, second: int, name: str) -> dict[str, Any]:
    """One or two claims that few tokens have, or without a value (``...``) one that most have."""
    instant = draw.one(
        second, second - 1, second + 1, second - 30, second + 30, second + 31, second - 31, second - 300, second + 0.5,
        second - 0.25, 0, -1, None, ..., "0", True, 2**40, 2**70, 253402300799, 1e300, [],
    )  # fmt: skip
    foreign = draw.one(
        None, ..., "", 0, 5, -1, 2**63, 2**64, 2**70, 1.5, 1e22, True, False, "true", [], {}, ["a", None], "a\x00b",
        {"jkt": "x" * 43}, {"sub": "x"}, {"id": "7", "x": [1, 2.5, None]}, "\u2028\u007f\U0001f600\\\"", "null", [[]],
    )  # fmt: skip
    more: dict[str, Any] = draw.one(
        {},
        {draw.one("sub", "email", "deep", "verified", "tenant", "jti", "azp", "https://x.example/y", "more"): foreign},
        {draw.one("cnf", "act", "events", "may_act", "nonce", "aud", "client_id", "iss", "hd"): foreign},
        {"aud": draw.one([f"app-{name}"], [f"app-{name}", "other"], ["other", ""], "app", "caf\u00e9", [], "APP")},
        {"aud": [f"app-{name}", "other"], "azp": draw.one(f"app-{name}", "party", "other")},
        {"aud": ..., draw.one("client_id", "azp"): f"app-{name}"},
        {"aud": [f"app-{name}", f"app-{draw.one(*PROVIDERS)}"], "azp": f"app-{name}"},
        {"iat": ..., "nbf": draw.one(..., second, second - 5)},
        {"sub": draw.one(7, -7, "07", "s" * 255, "s" * 256, 2**63)},
        {"deep": {"id": draw.one("7", 7, "1842")}, "verified": draw.one(True, "true", "false")},
        {"iss": draw.one("https://tokens.example", "https://one.example/", "HTTPS://one.example", "")},
    )  # fmt: skip
    return more | ({draw.one("exp", "iat", "nbf"): instant} if draw.rarely(0.4) else {})


_ODD_HEADERS: Final[tuple[dict[str, Any], ...]] = (
    {"kid": ...}, {"kid": None}, {"kid": ""}, {"kid": "k9"}, {"kid": 5}, {"kid": "k" * 129}, {"kid": "k1\n"},
    {"typ": ...}, {"typ": "at+jwt"}, {"typ": "application/at+JWT"}, {"typ": "logout+jwt"}, {"typ": "JOSE"}, {"typ": 5},
    {"typ": None}, {"crit": ["b64"]}, {"crit": []}, {"b64": True}, {"alg": "none"}, {"alg": "es256"}, {"alg": "RS384"},
    {"alg": "ES256"}, {"alg": "PS256"}, {"alg": "HS256"}, {"alg": ...}, {"x5t": "k1", "kid": ...}, {"x5t#S256": 5},
    {"x5t": "k2"}, {"jwk": {}}, {"jku": "https://x.example"}, {"x": "y" * 600}, {"zip": "DEF"}, {"cty": "JWT"},
    {"typ": "oauth-id-jag+jwt"},
)  # fmt: skip


def _spelled(draw: Draw, members: dict[str, Any], odd: Collection[str]) -> bytes:
    """A JSON object in one of its spellings, or in a rare case something that is none."""
    plain = json.dumps(members, separators=(",", ":"), ensure_ascii=draw.rarely(0.5)).encode()
    if "spelling" not in odd or draw.rarely(0.5):
        return plain
    again = json.dumps(dict(draw.some(tuple(members.items()), least=1))).encode()
    broken: bytes = draw.one(
        json.dumps(members, indent=1).encode(),
        plain[:-1] + b"," + again[1:],
        plain + b" ",
        plain + b"}",
        b"\xef\xbb\xbf" + plain,
        plain[:-1] + b',"x":NaN}',
        plain[:-1] + b',"x":"\\ud800"}',
        plain[:-1] + b',"x":"\xff"}',
        b"[" + plain + b"]",
        plain[:-1] + b',"x":1e400}',
        plain[:-1],
        b"",
        plain[:-1] + b',"x":' + b"[" * 16 + b"]" * 16 + b"}",
    )
    return broken


def signed(header: bytes, payload: bytes, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """A compact JWS of any header and payload."""
    unsigned = f"{b64(header)}.{b64(payload)}"
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(unsigned.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        r, s = decode_dss_signature(key.sign(unsigned.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32) + s.to_bytes(32)
    return f"{unsigned}.{b64(signature)}"


# --- requests and callers --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """One call."""

    request: bytes
    metadata: Metadata
    batch: bool
    """Whether it is one of BatchExchangeTokens."""


def call(draw: Draw, now: float, secrets: dict[str, str]) -> Call:
    """A call of one of the clients."""
    odd = draw.some(_ODD)[: draw.one(0, 0, 1, 1, 1, 2)]
    first = token(draw, now, odd)
    batch = draw.rarely(0.3)
    fields: dict[str, Any] = {"subject_token": first}
    targets = [{"audience": draw.one(*AUDIENCES)} for _ in range(draw.one(1, 2, 3, 3, 5, 16) if batch else 1)]
    for _ in range(draw.one(1, 2) if "fields" in odd else 0):
        own, shared = draw.one(*_odd_fields(draw, first))
        draw.one(*targets).update(own)
        fields |= shared
    request = _message(fields, targets, batch=batch)
    if "length" in odd:
        request = _overlong(fields, targets, batch=batch)
    if "tail" in odd:
        request += _tail(draw, request)
    if "cut" in odd:
        request = draw.one(request[: len(request) // 2], request[1:], draw.bytes(60))
    return Call(request, caller(draw, secrets, odd), batch)


def _odd_fields(draw: Draw, first: str) -> tuple[tuple[dict[str, Any], dict[str, Any]], ...]:
    """Fields of a target and of the whole request that few requests have."""
    return (
        ({"scopes": draw.one(["read"], ["write", "read"], ["read", "read"], ["a b"], [""], ["x"], ["r" * 129])}, {}),
        ({"scopes": ["read"] * draw.one(64, 65)}, {}),
        ({"lifetime": Duration(seconds=draw.one(1, 60, 0, -1, 3600, 3601, 86400, 2**40), nanos=draw.one(0, 0, 1))}, {}),
        ({}, {"subject_token_type": TYPE + draw.one("id_token", "access_token", "jwt", "jwt", "saml2", "id-jag", "")}),
        ({"requested_token_type": draw.one(TYPE + "access_token", TYPE + "jwt", "x", "x" * 256)}, {}),
        ({"resources": draw.some(_RESOURCES)}, {}),
        ({"resources": draw.some(_RESOURCES, least=1), "audience": draw.one("", "", *AUDIENCES)}, {}),
        ({"resources": [AUDIENCES[0]] * draw.one(16, 17)}, {}),
        ({"scopes": draw.some(("read", "openid", "write"), least=1)}, {}),
        ({"audience": draw.one("", "https://c.example", "https://orders.example", "a" * 256)}, {}),
        ({}, {draw.one("nonce", "request_id", "actor_token", "dpop_jkt", "actor_token_type"): draw.one("x", first)}),
        ({}, {"request_id": "3f2504e0-4f89-11d3-9a0c-0305e82c3301"}),
        ({}, {"dpop_jkt": "A" * 43}),
        ({}, {"actor_token": first, "actor_token_type": TYPE + "jwt"}),
    )


def _message(fields: dict[str, Any], targets: list[dict[str, Any]], *, batch: bool) -> bytes:
    if not batch:
        return pb.ExchangeTokenRequest(**fields, **targets[0]).SerializeToString()
    several = [pb.BatchExchangeTarget(**target) for target in targets]
    return pb.BatchExchangeTokensRequest(**fields, targets=several).SerializeToString()


def _tail(draw: Draw, request: bytes) -> bytes:
    """Fields after those of a request."""
    tail: bytes = draw.one(
        b"\x0a\x00",
        b"\x0a\x01p",
        b"\x08\x01",
        b"\x8a\x00\x01p",
        b"\x0a\x81\x00p",
        b"\x0b\x0c",
        b"\x0c",
        b"\x0d1234",
        b"\x12\x00",
        b"\x18\x01",
        b"\x22\x02\xff\xfe",
        b"\x22\x04read",
        b"\x7a\x03abc",
        b"\xf8\xff\xff\xff\x0f\x01",
        b"\x2a\x02\x08\x3c",
        b"\x2a\x00",
        b"\x2a\x02\x10\x01",
        b"\x30\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        b"\x00\x00",
        b"\x3a\x00",
        b"\x42\x00",
        b"\x42\x13\x0a\x11https://a.example",
        b"\x4a\x00",
        draw.bytes(6),
        request,
        b"\x7a\x80\x08" + b"x" * 1024,
    )
    return tail


def _overlong(fields: dict[str, Any], targets: list[dict[str, Any]], *, batch: bool) -> bytes:
    """A request whose first length takes more bytes than it needs."""
    first: bytes = fields["subject_token"].encode()
    rest = {key: fields[key] for key in fields if key != "subject_token"}
    length = bytes((len(first) & 127 | 128, len(first) >> 7 & 127 | 128, len(first) >> 14))
    return b"\x0a" + length + first + _message(rest, targets, batch=batch)


def caller(draw: Draw, secrets: dict[str, str], odd: Collection[str]) -> Metadata:
    """The metadata of a call of `web` or `drawn`, nearly always right."""
    name = draw.one("web", "drawn", "drawn")
    identity, secret = ("tokenmint-client-id", name), ("tokenmint-client-secret", secrets[name])
    if "caller" not in odd:
        return identity, secret
    given: Metadata = draw.one(
        (identity,), (secret,), (), (identity, secret, secret), (identity, identity, secret),
        (identity, (secret[0], secret[1].upper())), (identity, (secret[0], secret[1].encode())),
        ((identity[0], name.upper()), secret), (identity, secret, ("tokenmint-workload-token", "")),
        (identity, secret, ("tokenmint-client-assertion", "x.y.z")), (identity, secret, ("content-type", "a/b")),
        (("TOKENMINT-CLIENT-ID", "web"), identity, secret), (identity, secret, ("x-bin", b"\xff"), ("x-bin", b"")),
        (identity, (secret[0], "")), (identity, (secret[0], base64.b64encode(b"x").decode())),
    )  # fmt: skip
    return given

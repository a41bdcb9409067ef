"""Targets of `fuzz.py` for the parsers that gateways and agents reach: resources, ID-JAGs and plain grants, client
authentication, and protected resources (RFC 9728).

Each takes any bytes, and raises nothing but a finding.
"""

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tokenmint.admission.validation import Violations
from tokenmint.base.encoding import encode_segment
from tokenmint.base.errors import CallerUnauthenticated, GrantScopesDenied, InvalidRequest, TokenmintError
from tokenmint.base.token_errors import TokenRejected
from tokenmint.base.uri import BadUri, normal_uri
from tokenmint.config.providers import provider_from_table
from tokenmint.formats.jwt import FORMAT
from tokenmint.model.policy import Audience, Binding, Client, ExchangeRequest
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ID_JAG, JWT_GRANT, JsonValue, VerifiedToken
from tokenmint.policy.acting import scopes_in, scopes_of_grant
from tokenmint.policy.targets import Targets, check_target
from tokenmint.verification.grants import MAX_LIFETIME, check_grant
from tokenmint.verification.jws import parse_object
from tokenmint.verification.provider import numeric_date
from tokenmint.web.credentials import JWT_BEARER, JWT_SPIFFE, credentials_in
from tokenmint.web.forms import parse_form, single
from tokenmint.web.oauth import TARGETS, exchange_request, grant_request
from tokenmint_client import ProtectedResource
from tokenmint_client.dpop import read_proof
from tokenmint_client.errors import TokenRejected as RejectedByClient
from tokenmint_client.refusals import Door, Refusal

ISSUER: Final = "https://me.example"
RESOURCE: Final = "https://api.example/v1"
NOW: Final = 1_800_000_000.0
CLIENT: Final = Client("web")
_USUAL: Final = Audience(
    "https://api.example", clients=frozenset({"web"}), providers=frozenset({"idp"}), format=FORMAT.traits
)
_AUDIENCES: Final = {
    one.name: one for one in (replace(_USUAL, resources=frozenset({RESOURCE})), replace(_USUAL, name="other"))
}
_SCOPED: Final = replace(_USUAL, scopes=frozenset({"read"}))
_FINDER: Final = Targets(_AUDIENCES)
_PROVIDER: Final = provider_from_table(
    "idp",
    {
        "issuer": "https://idp.example",
        "audiences": ["app"],
        "token_types": ["id_jag", "jwt_grant"],
        "jwks_url": "https://idp.example/k",
    },
    own_issuer=ISSUER,
)
_PARAMETER: Final = re.compile(r'[a-z_]+="[ !#-\[\]-~]*"')  # RFC 9110 section 11.2, RFC 6750 section 3
_SCHEME: Final = re.compile(rf"(?:Bearer|DPoP)(?: {_PARAMETER.pattern}(?:, {_PARAMETER.pattern})*)?")
_CHALLENGES: Final = re.compile(rf"{_SCHEME.pattern}(?:, {_SCHEME.pattern})*")


def resources(data: bytes) -> None:
    """A resource URI: its normal form is its own, and leads to no audience of another one."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        normal = normal_uri(text)
    except BadUri:
        normal = ""
    if normal:
        assert normal_uri(normal) == normal, "a normal form is not its own"
        assert normal.isascii()
        assert "#" not in normal
        parts = re.fullmatch(r"([a-z][a-z0-9+.-]*)://([^/?]*)([^?]*)(\?.*)?", normal)
        assert parts is None or "@" not in parts[2], "a user is in a normal form"
        assert parts is None or not {".", ".."} & set(parts[3].split("/")), "a dot segment is in a normal form"
    violations = Violations()
    violations.resources("resource", (text,))
    with contextlib.suppress(InvalidRequest):
        violations.raise_any()
    request = _FINDER.completed(CLIENT, ExchangeRequest(Secret("x"), "", resources=(text,), subject_token_type="x"))
    with contextlib.suppress(TokenmintError):
        check_target(request)
        if request.audience not in _AUDIENCES or (normal not in (RESOURCE, "https://api.example/") and text != "other"):
            raise AssertionError("a resource leads to an audience that does not have it")


def id_jags(data: bytes) -> None:
    """The claims of an ID-JAG, whose resources count before anything is verified."""
    claims = _granted(data, ID_JAG)
    if claims is not None:
        assert isinstance(claims["jti"], str)
        assert isinstance(claims["client_id"], str)


def plain_grants(data: bytes) -> None:
    """The claims of another JWT that is a grant, by the same rules, and without the claims of ID tokens."""
    claims = _granted(data, JWT_GRANT)
    if claims is not None:
        assert not claims.keys() & {"nonce", "at_hash", "c_hash", "s_hash"}, "an ID token as a grant"
        assert isinstance(claims.get("jti", "x"), str)
        assert isinstance(claims.get("client_id", "x"), str)


def _granted(data: bytes, kind: str) -> Mapping[str, JsonValue] | None:
    """Return the claims of an accepted grant, None for another one."""
    token = b".".join((encode_segment(b'{"alg":"ES256"}'), encode_segment(data), b"AA"))
    asked = ExchangeRequest(Secret(token), "https://api.example", subject_token_type=kind)
    with contextlib.suppress(TokenmintError):
        _FINDER.completed(CLIENT, asked)
    with contextlib.suppress(TokenRejected):
        claims = parse_object(data, "claims")
        expires_at = numeric_date(claims, "exp")
        if expires_at is None:
            return None
        issued_at = numeric_date(claims, "iat")
        check_grant(_PROVIDER, claims, ISSUER, expires_at, kind)
        assert claims["aud"] in (ISSUER, [ISSUER]), "a grant for another server"
        assert issued_at is not None
        assert expires_at - issued_at <= MAX_LIFETIME
        assert "tenant" not in claims
        verified = VerifiedToken("idp", "https://idp.example", "1", kind, claims, issued_at, expires_at, "f", "r", True)
        try:
            scopes = scopes_of_grant(_SCOPED, CLIENT, verified, None)
        except GrantScopesDenied:
            return None
        assert scopes is None or scopes <= _SCOPED.scopes, "a scope that is not ours"
        assert scopes is None or scopes or not scopes_in(claims.get("scope")), "scopes that became none"
        return claims
    return None


def assertions(data: bytes) -> None:
    """An Authorization header, and after a line feed a form: at most one credential, of the type that it names."""
    header, _, body = data.partition(b"\n")
    try:
        form = parse_form(body, repeatable=TARGETS)
    except InvalidRequest:
        return
    with contextlib.suppress(InvalidRequest, CallerUnauthenticated):
        found = credentials_in([header.decode("latin-1")] if header else [], form, None)
        sent = [one for one in (found.secret, found.signed, found.svid) if one is not None]
        assert len(sent) <= 1, "two credentials"
        kind = single(form, "client_assertion_type")
        assert found.signed is None or kind == JWT_BEARER
        assert found.svid is None or kind == JWT_SPIFFE
        assert found.assertion is None
        assert found.workload is None
    for read in (exchange_request, grant_request):
        with contextlib.suppress(TokenmintError):
            read(form, Binding())


def protected_resources(data: bytes) -> None:
    """An identifier, an Authorization header, a path and a proof, each on its line, in the Python client."""
    lines = data.decode("latin-1").split("\n")
    identifier, header, path, proof = (*lines, "", "", "", "")[:4]
    try:
        resource = ProtectedResource(identifier, [ISSUER])
    except ValueError:
        resource = ProtectedResource(RESOURCE, [ISSUER])
    assert resource.metadata_url.startswith("https://") or "://" in identifier
    assert json.loads(resource.answer("GET")[2])["resource"] in (identifier, RESOURCE)
    for door in (
        Door(("read",), resource),
        Door(("read",)),
        Door((), ProtectedResource(RESOURCE, [ISSUER], dpop=False)),
    ):
        for values in ([header], [header, header], []):
            try:
                sent = door.presented(values)
            except Refusal as refusal:
                challenge = refusal.headers["WWW-Authenticate"]
                assert _CHALLENGES.fullmatch(challenge), f"no challenge of RFC 9110: {challenge!r}"
                assert "DPoP" not in challenge or (door.resource is not None and door.resource.dpop)
                continue
            assert sent.token
            assert "," not in sent.token
            assert sent.token == sent.token.strip(" \t")
    with contextlib.suppress(RejectedByClient):
        read_proof(proof, method="GET", url=resource.url_of(path), token=header, now=NOW)

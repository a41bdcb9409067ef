"""Bound tokens over real TLS: `cnf` by certificate (RFC 8705) and by DPoP (RFC 9449), on gRPC and on HTTP.

The native transport has no TLS: there the certificate is the one that a proxy's proved and forwards.
Kept by every exchange, and of no use without the key.
"""

import base64
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx2
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.e2e.sharing import Start
from tests.issuer import b64, ec_key, jwk, rsa_key
from tests.rig import GRPC_TLS, HTTP_TLS, Rig, Serve, refusal, write_tls
from tests.tls import FORWARDED, Authority, authority, forwarded
from tests.unit.verification.test_dpop import proof as dpop_proof

from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"
ID = "urn:ietf:params:oauth:token-type:id_token"
TOKEN_URL = "https://tokens.example/oauth2/token"
MTLS, ANY, FREE, DPOP = (f"https://{name}.example" for name in ("mtls", "any", "free", "dpop"))
NEXT, HANDLE, THEIRS = (f"https://{name}.example" for name in ("next", "handle", "theirs"))
SPIFFE = "spiffe://td.example/mesh"
EXTRA = """
[oauth]
enabled = true

[clients.mesh]
certificates = ["spiffe://td.example/mesh"]
serves = ["https://mtls.example"]
""" + "".join(
    f"""
[audiences."{name}"]
clients = ["mesh", "web"]
providers = ["idp"]
scopes = ["read"]
on_missing_profile = "without"
{rules}
"""
    for name, rules in (
        (MTLS, 'bound = "mtls"'),
        (ANY, 'bound = "any"'),
        (DPOP, 'bound = "dpop"'),
        (FREE, ""),
        (NEXT, f"reexchange_from = {[MTLS, ANY, FREE, DPOP, HANDLE, NEXT]!r}"),
        (HANDLE, f'reexchange_from = {[MTLS, DPOP]!r}\n[audiences."{HANDLE}".reference]'),
        (THEIRS, f'bound = "mtls"\nreexchange_from = {[MTLS, DPOP, FREE]!r}'),
    )
)

Pair = tuple[bytes, bytes]


@pytest.fixture(scope="module")
def ca() -> Authority:
    return authority()


@pytest.fixture(scope="module")
def start(ca: Authority, transport: str) -> Start:
    @asynccontextmanager
    async def started(serve: Serve) -> AsyncIterator[Rig]:
        write_tls(serve.directory, ca)
        tls = GRPC_TLS if transport == "grpcio" else FORWARDED
        async with serve(EXTRA, listen=HTTP_TLS + tls, transport=transport) as service:
            yield service

    return started


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    return shared_rig


@pytest.fixture
def tmp_path(tmp_path: Path, ca: Authority) -> Path:
    """A directory with the authority's certificate."""
    (tmp_path / "ca.crt").write_bytes(ca.pem)
    return tmp_path


@pytest.fixture
def mesh(ca: Authority) -> Pair:
    return ca.issue("mesh", SPIFFE, serial=200)


def thumbprint(pair: Pair) -> str:
    der = x509.load_pem_x509_certificate(pair[0]).public_bytes(Encoding.DER)
    return b64(hashlib.sha256(der).digest())


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


async def over_grpc(rig: Rig, ca: Authority, pair: Pair, audience: str, parent: str = "", **fields: Any) -> Any:
    credentials = grpc.ssl_channel_credentials(ca.pem, pair[1], pair[0])
    fields = {"subject_token": parent or rig.issuer.token(rig.clock.now()), **fields}
    request = pb.ExchangeTokenRequest(audience=audience, subject_token_type=ACCESS if parent else ID, **fields)
    if rig.native:
        return await rig.exchange.ExchangeToken(request, metadata=forwarded(pair[0]), timeout=20)
    async with grpc.aio.secure_channel(rig.app.listen["grpc"], credentials) as channel:
        stub: Any = TokenExchangeServiceStub(channel)
        return await stub.ExchangeToken(request, timeout=20)


async def over_http(
    rig: Rig, tmp_path: Path, pair: Pair | None, audience: str, parent: str = "", proof: str | None = None,
    path: str = "/oauth2/token", **fields: Any,
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    """Ask over HTTP: by certificate, or without one by the secret of `web`."""
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    form: dict[str, Any] = {
        "grant_type": GRANT, "subject_token": parent or rig.issuer.token(rig.clock.now()), "audience": audience,
        "subject_token_type": ACCESS if parent else ID, **fields,
    }  # fmt: skip
    if pair is not None:
        (tmp_path / "me.pem").write_bytes(b"".join(pair))
        context.load_cert_chain(tmp_path / "me.pem")
    else:
        form |= {"client_id": "web", "client_secret": rig.secrets["web"].reveal()}
    base = rig.url("http", "").replace("http:", "https:")
    async with httpx2.AsyncClient(verify=context, base_url=base, timeout=20) as client:
        answer = await client.post(path, data=form, headers={"DPoP": proof} if proof else {})
    return answer.status_code, answer.json()


def shown(rig: Rig, name: str, key: Any = None, **changes: Any) -> str:
    """A DPoP proof of now."""
    given: dict[str, Any] = {"iat": (now := int(rig.clock.now())), "htu": TOKEN_URL, "jti": f"{name} {now}"} | changes
    return dpop_proof(key=key, **given).reveal()


def jkt(key: Any) -> str:
    public = jwk(key)
    canonical = f'{{"crv":"P-256","kty":"EC","x":"{public["x"]}","y":"{public["y"]}"}}'
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()


# --- RFC 8705 -----------------------------------------------------------------------------------------------------


async def test_rfc_8705_section_3_a_token_is_bound_to_the_certificate_of_the_connection(
    rig: Rig, ca: Authority, mesh: Pair, tmp_path: Path
) -> None:
    over = await over_grpc(rig, ca, mesh, MTLS)
    status, body = await over_http(rig, tmp_path, mesh, MTLS)
    assert status == 200, body
    for token in (over.token, body["access_token"]):
        assert claims_of(token)["cnf"] == {"x5t#S256": thumbprint(mesh)}
        asked, told = await over_http(rig, tmp_path, mesh, MTLS, path="/oauth2/introspect", token=token)
        assert (asked, told["active"], told["cnf"], told["token_type"]) == (
            200, True, {"x5t#S256": thumbprint(mesh)}, "Bearer",
        )  # fmt: skip
    assert (over.token_type, body["token_type"]) == ("Bearer", "Bearer")


async def test_without_a_certificate_there_is_no_token_that_has_to_be_bound(rig: Rig, tmp_path: Path) -> None:
    for audience in (MTLS, ANY, DPOP):
        status, told = await over_http(rig, tmp_path, None, audience)
        assert (status, told["reason"]) == (400, "CONFIRMATION_DENIED")
    assert (await over_http(rig, tmp_path, None, FREE))[0] == 200


async def test_rfc_8705_an_own_token_is_exchanged_by_who_holds_the_certificate_and_stays_bound(
    rig: Rig, ca: Authority, mesh: Pair, tmp_path: Path
) -> None:
    bound = {"x5t#S256": thumbprint(mesh)}
    parent = (await over_grpc(rig, ca, mesh, MTLS)).token
    child = await over_grpc(rig, ca, mesh, NEXT, parent)
    assert claims_of(child.token)["cnf"] == bound  # although the audience asks for no binding
    assert claims_of((await over_grpc(rig, ca, mesh, NEXT, child.token)).token)["cnf"] == bound
    status, body = await over_http(rig, tmp_path, mesh, NEXT, parent)
    assert (status, claims_of(body["access_token"])["cnf"]) == (200, bound)
    status, body = await over_http(rig, tmp_path, mesh, HANDLE, parent)
    assert (status, body["access_token"][:4]) == (200, "tmr_")
    handle = body["access_token"]
    told = (await over_http(rig, tmp_path, mesh, MTLS, path="/oauth2/introspect", token=handle))[1]
    assert told["cnf"] == bound
    assert claims_of((await over_grpc(rig, ca, mesh, NEXT, handle)).token)["cnf"] == bound


async def test_rfc_8705_without_the_certificate_an_own_token_is_of_no_use(
    rig: Rig, ca: Authority, mesh: Pair, tmp_path: Path
) -> None:
    parent = (await over_grpc(rig, ca, mesh, MTLS)).token
    renewed = ca.issue("mesh", SPIFFE, serial=201)  # of the same client, and not the one that the token names
    told = await refusal(over_grpc(rig, ca, renewed, NEXT, parent))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "POSSESSION_NOT_PROVED")
    assert "RFC 8705" in told.message
    for pair, proof in ((renewed, None), (renewed, shown(rig, "p"))):
        status, refused = await over_http(rig, tmp_path, pair, NEXT, parent, proof)
        assert (status, refused["error"], refused["reason"]) == (400, "invalid_request", "POSSESSION_NOT_PROVED")
    # Another client, whose business it is not, learns nothing of bindings.
    status, refused = await over_http(rig, tmp_path, None, NEXT, parent)
    assert (status, refused["reason"]) == (400, "REEXCHANGE_DENIED")


async def test_a_certificate_that_tls_did_not_prove_binds_nothing(rig: Rig, tmp_path: Path, mesh: Pair) -> None:
    pem = mesh[0].decode().replace("\n", "")
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    base = rig.url("http", "").replace("http:", "https:")
    form = {"grant_type": GRANT, "subject_token": rig.issuer.token(rig.clock.now()), "audience": MTLS,
            "subject_token_type": ID, "client_id": "web", "client_secret": rig.secrets["web"].reveal()}  # fmt: skip
    forged = {"X-Client-Cert": pem, "X-Forwarded-Client-Cert": f"Cert={pem}", "Client-Cert": f":{b64(mesh[0])}:",
              "X-SSL-Client-Cert": pem}  # fmt: skip
    async with httpx2.AsyncClient(verify=context, base_url=base, timeout=20) as client:
        answer = await client.post("/oauth2/token", data=form, headers=forged)
    assert (answer.status_code, answer.json()["reason"]) == (400, "CONFIRMATION_DENIED")


# --- RFC 9449 -----------------------------------------------------------------------------------------------------


async def test_rfc_9449_section_5_a_proof_at_the_token_endpoint_ends_as_cnf(rig: Rig, tmp_path: Path) -> None:
    bound = {"jkt": jkt(ec_key())}
    for number, audience in enumerate((DPOP, ANY, FREE)):
        status, body = await over_http(rig, tmp_path, None, audience, proof=shown(rig, f"j{number}"))
        assert (status, body["token_type"]) == (200, "DPoP"), body
        assert claims_of(body["access_token"])["cnf"] == bound
        told = (
            await over_http(rig, tmp_path, None, FREE, path="/oauth2/introspect", token=body["access_token"])
        )[1]  # fmt: skip
        assert (told["active"], told["cnf"], told["token_type"]) == (True, bound, "DPoP")


async def test_rfc_9449_an_own_token_is_exchanged_with_a_proof_by_its_key_and_not_without(
    rig: Rig, ca: Authority, mesh: Pair, tmp_path: Path
) -> None:
    bound = {"jkt": jkt(ec_key())}
    parent = (await over_http(rig, tmp_path, None, DPOP, proof=shown(rig, "a")))[1]["access_token"]
    status, body = await over_http(rig, tmp_path, None, NEXT, parent, shown(rig, "b"))
    assert (status, body["token_type"], claims_of(body["access_token"])["cnf"]) == (200, "DPoP", bound)
    status, body = await over_http(rig, tmp_path, None, HANDLE, parent, shown(rig, "c"))
    assert (status, body["token_type"]) == (200, "DPoP")
    for name, proof in (("none", None), ("another's", shown(rig, "d", ec_key(3)))):
        for token in (parent, body["access_token"]):
            given = proof if proof is None or token == parent else shown(rig, "e", ec_key(3))
            status, told = await over_http(rig, tmp_path, None, NEXT, token, given)
            assert (status, told["reason"]) == (400, "POSSESSION_NOT_PROVED"), name
            assert "DPoP proof" in told["error_description"]
    # gRPC has no place for a proof; naming the thumbprint shows nothing.
    mine = (await over_http(rig, tmp_path, mesh, DPOP, proof=shown(rig, "f")))[1]["access_token"]
    refused = await refusal(over_grpc(rig, ca, mesh, NEXT, mine, dpop_jkt=jkt(ec_key())))
    assert refused.reason == "POSSESSION_NOT_PROVED"


async def test_a_binding_is_neither_exchanged_for_another_nor_doubled(rig: Rig, mesh: Pair, tmp_path: Path) -> None:
    # Who has both gets the one that the request shows on purpose: the proof.
    status, body = await over_http(rig, tmp_path, mesh, ANY, proof=shown(rig, "a"))
    assert (status, claims_of(body["access_token"])["cnf"]) == (200, {"jkt": jkt(ec_key())})
    status, body = await over_http(rig, tmp_path, mesh, ANY)
    assert (status, claims_of(body["access_token"])["cnf"]) == (200, {"x5t#S256": thumbprint(mesh)})
    by_certificate = (await over_http(rig, tmp_path, mesh, MTLS))[1]["access_token"]
    by_proof = (await over_http(rig, tmp_path, mesh, DPOP, proof=shown(rig, "b")))[1]["access_token"]
    for audience, parent, proof in (
        (NEXT, by_certificate, shown(rig, "c")),  # asks for another key than the parent's
        (THEIRS, by_proof, shown(rig, "d")),  # the audience takes certificates, the parent is bound to a proof's key
        (MTLS, "", shown(rig, "e")),  # as does this one
    ):
        status, told = await over_http(rig, tmp_path, mesh, audience, parent, proof)
        assert (status, told["reason"]) == (400, "CONFIRMATION_DENIED")
    unbound = (await over_http(rig, tmp_path, mesh, FREE))[1]["access_token"]
    status, body = await over_http(rig, tmp_path, mesh, THEIRS, unbound)  # from now on bound
    assert (status, claims_of(body["access_token"])["cnf"]) == (200, {"x5t#S256": thumbprint(mesh)})


@pytest.mark.parametrize(
    ("section", "changes", "headers"),
    [
        ("4.2: jti is required", {"jti": None}, {}),
        ("4.2: htm is required", {"htm": None}, {}),
        ("4.2: htu is required", {"htu": None}, {}),
        ("4.2: iat is required", {"iat": None}, {}),
        ("4.3: htm of another method", {"htm": "GET"}, {}),
        ("4.3: htu of another endpoint", {"htu": "https://tokens.example/oauth2/revoke"}, {}),
        ("4.3: htu of another host", {"htu": "https://evil.example/oauth2/token"}, {}),
        ("4.3: htu of the socket, not of the issuer", {"htu": "https://127.0.0.1/oauth2/token"}, {}),
        ("4.3: typ", {}, {"typ": "JWT"}),
        ("4.3: a private key in jwk", {}, {"jwk": {**jwk(ec_key()), "d": b64(b"d" * 32)}}),
        ("4.3: a symmetric jwk", {}, {"jwk": {"kty": "oct", "k": b64(b"k" * 32)}}),
        ("4.3: no jwk", {}, {"jwk": None}),
        ("4.3: somebody else's jwk", {}, {"jwk": jwk(ec_key(1))}),
        ("4.3: a jwk that does not fit alg", {}, {"jwk": jwk(rsa_key())}),
        ("11.1: older than a minute", {"iat": 60}, {}),
        ("11.1: from the future", {"iat": -11}, {}),
    ],
)
async def test_rfc_9449_proofs_that_end_in_no_token(
    rig: Rig, tmp_path: Path, section: str, changes: dict[str, Any], headers: dict[str, Any]
) -> None:
    if isinstance(changes.get("iat"), int):
        changes = {"iat": int(rig.clock.now()) - changes["iat"]}
    given: dict[str, Any] = {"iat": int(rig.clock.now()), "htu": TOKEN_URL, "jti": section} | changes
    status, told = await over_http(rig, tmp_path, None, DPOP, proof=dpop_proof(headers, **given).reveal())
    assert (status, told["error"], told["reason"]) == (400, "invalid_dpop_proof", "PROOF_REJECTED"), section
    assert "access_token" not in told


async def test_rfc_9449_section_11_1_a_proof_serves_once_also_when_its_request_was_refused(
    rig: Rig, tmp_path: Path
) -> None:
    proof = shown(rig, "once")
    assert (await over_http(rig, tmp_path, None, MTLS, proof=proof))[1]["reason"] == "CONFIRMATION_DENIED"
    for audience in (DPOP, FREE):
        status, told = await over_http(rig, tmp_path, None, audience, proof=proof)
        assert (status, told["error"]) == (400, "invalid_dpop_proof")
        assert "used before" in told["error_description"]


async def test_rfc_8705_a_providers_bound_token_is_exchanged_by_who_holds_the_key_and_stays_bound(
    rig: Rig, ca: Authority, mesh: Pair
) -> None:
    cnf = {"x5t#S256": thumbprint(mesh)}
    answer = await over_grpc(rig, ca, mesh, FREE, subject_token=rig.issuer.token(rig.clock.now(), cnf=cnf))
    assert claims_of(answer.token)["cnf"] == cnf


async def test_rfc_9449_a_providers_bound_token_is_exchanged_with_a_proof_by_its_key(rig: Rig, tmp_path: Path) -> None:
    cnf = {"jkt": jkt(ec_key())}
    token = rig.issuer.token(rig.clock.now(), cnf=cnf)
    assert (await over_http(rig, tmp_path, None, FREE, token, subject_token_type=ID))[1][
        "reason"
    ] == "POSSESSION_NOT_PROVED"
    status, answer = await over_http(rig, tmp_path, None, FREE, token, shown(rig, "one"), subject_token_type=ID)
    assert (status, claims_of(answer["access_token"])["cnf"]) == (200, cnf)


@pytest.mark.parametrize(
    "cnf",
    [
        {"x5t#S256": "A" * 43}, {"jkt": "A" * 43}, {"jkt": "A" * 43, "x5t#S256": "A" * 43}, {"kid": "1"}, {"jwk": {}},
        {}, {"jkt": ""}, {"jkt": 1}, {"jkt": None}, [], "key", 0, False,
    ],
)  # fmt: skip
async def test_rfc_7800_a_providers_bound_token_is_of_no_use_without_its_key(
    rig: Rig, ca: Authority, mesh: Pair, cnf: object
) -> None:
    token = rig.issuer.token(rig.clock.now(), cnf=cnf)
    told = await refusal(over_grpc(rig, ca, mesh, FREE, subject_token=token))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "POSSESSION_NOT_PROVED")


async def test_tokens_bound_to_certificates_need_a_listener_that_asks_for_one(tmp_path: Path) -> None:
    config, ca = tmp_path / "tokenmint.toml", authority()
    for name, pem in zip("cka", (*ca.issue("tokenmint", "localhost"), ca.pem), strict=True):
        (tmp_path / name).write_bytes(pem)
    head = 'issuer = "https://t.example"\n[providers.idp]\nissuer = "https://i.example"\naudiences = ["a"]\n'
    head += '[clients.web]\nsecrets = ["sha256:' + "0" * 64 + '"]\n'
    audience = '[audiences."https://a"]\nclients = ["web"]\nproviders = ["idp"]\nbound = "mtls"\n'
    http = '[listen]\nhttp_cert_file = "c"\nhttp_key_file = "k"\nhttp_client_ca_file = "a"\n'
    for text, fits in (
        (audience, False),
        (audience + http, False),  # that listener serves no exchanges unless it is told to
        (audience + http + "[oauth]\nenabled = true\n", True),
        (audience + '[listen]\ncert_file = "c"\nkey_file = "k"\nclient_ca_file = "a"\n', True),
    ):
        config.write_text(head + text)
        if fits:
            assert load(config, {}).audiences["https://a"].bound == "mtls"
        else:
            with pytest.raises(ConfigurationError, match=r"bound: 'mtls' needs listen.client_ca_file"):
                load(config, {})

"""A certificate in `x-forwarded-client-cert` is believed from the configured proxy alone: real ports, and no proxy."""

import io
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import jwt
import pytest
from tests.rig import DEADLINE, GRPC_TLS, Rig, Serve, refusal, write_tls
from tests.tls import FORWARDED, PROXY, Authority, authority, element, forwarded

from tokenmint.admission.certificates import peer_certificate
from tokenmint.model.secret import Secret
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.key_admin_service_pb2 import ListSigningKeysRequest
from tokenmint.v1.key_set_service_pb2 import GetKeySetRequest
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

FREE, BOUND = "https://free.example", "https://bound.example"
SPIFFE = "spiffe://td.example/mesh"
SAME = "the caller is not authenticated: send tokenmint-client-id and tokenmint-client-secret"
AUDIENCES = f"""
[audiences."{FREE}"]
clients = ["mesh", "web"]
providers = ["idp"]
on_missing_profile = "without"
"""
MESH = f"""
[clients.mesh]
certificates = ["{SPIFFE}", "dns:mesh.internal"]

[audiences."{BOUND}"]
clients = ["mesh", "web"]
providers = ["idp"]
on_missing_profile = "without"
bound = "mtls"
"""

Metadata = tuple[tuple[str, str], ...]


@pytest.fixture(scope="module")
def ca() -> Authority:
    return authority()


@pytest.fixture(scope="module")
def mesh(ca: Authority) -> bytes:
    return ca.issue("mesh", SPIFFE, serial=200)[0]


@pytest.fixture
def on(serve: Serve) -> Any:
    def configured(
        listen: str = "", extra: str = AUDIENCES, transport: str = "native"
    ) -> AbstractAsyncContextManager[Rig]:
        return serve(extra, listen=listen, transport=transport)

    return configured


@pytest.fixture
async def rig(on: Any, logged: io.StringIO) -> AsyncIterator[Rig]:
    async with on(FORWARDED, AUDIENCES + MESH) as service:
        yield service


def asked(rig: Rig, audience: str = FREE) -> pb.ExchangeTokenRequest:
    return pb.ExchangeTokenRequest(subject_token=rig.issuer.token(rig.clock.now()), audience=audience)


async def exchange(rig: Rig, metadata: Metadata, audience: str = FREE) -> dict[str, Any]:
    answer = await rig.exchange.ExchangeToken(asked(rig, audience), metadata=metadata, timeout=DEADLINE)
    claims: dict[str, Any] = jwt.decode(answer.token, options={"verify_signature": False})
    return claims


def secret_of(rig: Rig, name: str = "web") -> Metadata:
    metadata: Metadata = rig.auth(name)["metadata"]
    return metadata


async def test_rfc_8705_a_client_known_only_by_its_certificate_has_what_the_proxy_vouches_for(
    rig: Rig, mesh: bytes, ca: Authority
) -> None:
    claims = await exchange(rig, forwarded(mesh), BOUND)
    assert claims["client_id"] == "mesh"
    known = peer_certificate(ssl.PEM_cert_to_DER_cert(mesh.decode()))
    assert claims["cnf"] == {"x5t#S256": known.thumbprint}
    by_name = ca.issue("x", "Mesh.internal")[0]
    assert (await exchange(rig, forwarded(by_name)))["client_id"] == "mesh"


async def test_a_client_with_a_secret_comes_through_the_proxy_and_directly(rig: Rig, ca: Authority) -> None:
    shown = (("tokenmint-proxy-secret", PROXY.reveal()),)
    for metadata in (shown, (), forwarded(ca.issue("nobody", "nobody.internal")[0])):
        claims = await exchange(rig, (*secret_of(rig), *metadata))
        assert (claims["client_id"], "cnf" in claims) == ("web", False)
    told = await refusal(exchange(rig, (*secret_of(rig), *shown), BOUND))
    assert told.reason == "CONFIRMATION_DENIED"


XFCC, SECRET = "x-forwarded-client-cert", "tokenmint-proxy-secret"
SHOWN = (SECRET, PROXY.reveal())
WITHOUT, NOT_THE_PROXY = "trusted only from the proxy of [listen.forwarded]", "not one of listen.forwarded.secrets"


ATTEMPTS: dict[str, tuple[Metadata, str]] = {
    "spoofed": (((XFCC, "{mesh}"),), WITHOUT),
    "names alone": (((XFCC, "URI=spiffe://td.example/mesh;DNS=mesh.internal"),), WITHOUT),
    "another proxy's secret": (((XFCC, "{mesh}"), (SECRET, "tms_other")), NOT_THE_PROXY),
    "a proxy without its secret": (((XFCC, "{mesh}"), (SECRET, "-")), NOT_THE_PROXY),
    "another proxy, no certificate": (((SECRET, "tms_other"),), NOT_THE_PROXY),
    "a client's secret": (((XFCC, "{mesh}"), (SECRET, "{web}")), NOT_THE_PROXY),
    "two headers": (((XFCC, "{mesh}"), (XFCC, "{other}"), SHOWN), f"{XFCC} was sent twice"),
    "two secrets": (((XFCC, "{mesh}"), (SECRET, "x"), SHOWN), f"{SECRET} was sent twice"),
    "two elements": (((XFCC, "{other},{mesh}"), SHOWN), "more than one element"),
    "names and no certificate": (((XFCC, "{mesh_hash};URI=spiffe://td.example/mesh"), SHOWN), "expected Cert once"),
    "another's hash": (((XFCC, "{other_hash};{mesh_cert}"), SHOWN), "Hash does not match Cert"),
    "a name that brings more along": (((XFCC, "{other_hash};URI=https://a/;{mesh}"), SHOWN), "expected Hash once"),
    "another format": (((XFCC, "CN=mesh"), SHOWN), "a key that Envoy does not write"),
}
"""Headers sent straight to the listener, made of the client's element and another's, each with its audit record."""


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_a_forwarded_certificate_proves_nobody_without_the_configured_proxys_word(
    rig: Rig, mesh: bytes, ca: Authority, logged: io.StringIO, attempt: str
) -> None:
    (pairs, why), ours, others = ATTEMPTS[attempt], element(mesh), element(ca.issue("o", "o.internal")[0])
    parts = {"mesh": ours, "other": others, "web": rig.secrets["web"].reveal(), "mesh_cert": ours.partition(";")[2],
             "mesh_hash": ours.partition(";")[0], "other_hash": others.partition(";")[0]}  # fmt: skip
    metadata = tuple((key, text.format(**parts)) for key, text in pairs)
    for credentials in ((), secret_of(rig)):  # nor is it passed over
        told = await refusal(exchange(rig, (*credentials, *metadata)))
        assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED")
        assert told.message == SAME
    lines = [line for line in logged.getvalue().splitlines() if "CALLER_UNAUTHENTICATED" in line]
    assert len(lines) == 2
    assert all(why in line for line in lines), lines
    assert PROXY.reveal() not in logged.getvalue()


async def test_rfc_9113_what_is_longer_than_metadata_may_be_never_gets_that_far(rig: Rig, mesh: bytes) -> None:
    text = f"{element(mesh)};URI={'a' * 9000}"
    told = await refusal(exchange(rig, ((XFCC, text), SHOWN)))
    assert told.code is not grpc.StatusCode.OK
    assert told.reason == ""  # refused below gRPC
    assert (await exchange(rig, forwarded(mesh)))["client_id"] == "mesh"


async def test_one_clients_secret_over_anothers_certificate_is_refused(
    rig: Rig, mesh: bytes, logged: io.StringIO
) -> None:
    told = await refusal(exchange(rig, (*secret_of(rig), *forwarded(mesh))))
    assert told.reason == "CALLER_UNAUTHENTICATED"
    assert "the certificate belongs to 'mesh'" in logged.getvalue()
    told = await refusal(exchange(rig, (("tokenmint-client-id", "web"), *forwarded(mesh))))
    assert told.reason == "CALLER_UNAUTHENTICATED"


async def test_a_certificate_without_names_is_nobodys(rig: Rig, ca: Authority) -> None:
    nameless = ca.issue(f"{SPIFFE} mesh.internal dns:mesh.internal")[0]
    told = await refusal(exchange(rig, forwarded(nameless)))
    assert told.reason == "CALLER_UNAUTHENTICATED"


async def test_a_name_that_spells_more_of_the_header_is_one_name(rig: Rig, ca: Authority) -> None:
    for name in (f"https://mallory.example/;URI={SPIFFE}", "https://mallory.example/;DNS=mesh.internal"):
        told = await refusal(exchange(rig, forwarded(ca.issue("mallory", name)[0])))
        assert told.reason == "CALLER_UNAUTHENTICATED"


async def test_operators_are_not_known_by_what_is_forwarded_and_what_is_public_stays_so(rig: Rig, mesh: bytes) -> None:
    told = await refusal(rig.keys.ListSigningKeys(ListSigningKeysRequest(), metadata=forwarded(mesh), timeout=DEADLINE))
    assert told.reason == "CALLER_UNAUTHENTICATED"
    spoofed = ((XFCC, element(mesh)),)
    assert (await rig.key_set.GetKeySet(GetKeySetRequest(), metadata=spoofed, timeout=DEADLINE)).etag


async def test_a_reload_changes_the_proxys_secrets_and_takes_them_away(rig: Rig, mesh: bytes) -> None:
    following = Secret("tms_next-proxy")
    text = rig.config.read_text()
    both = text.replace(
        f'"sha256:{PROXY.fingerprint()}"', f'"sha256:{PROXY.fingerprint()}", "sha256:{following.fingerprint()}"'
    )
    rig.config.write_text(both)
    await rig.app.reload(rig.settings())
    for secret in (PROXY, following):
        assert (await exchange(rig, forwarded(mesh, secret)))["client_id"] == "mesh"
    rig.config.write_text(text.replace(PROXY.fingerprint(), following.fingerprint()))
    await rig.app.reload(rig.settings())
    assert (await exchange(rig, forwarded(mesh, following)))["client_id"] == "mesh"
    assert (await refusal(exchange(rig, forwarded(mesh)))).reason == "CALLER_UNAUTHENTICATED"


async def test_without_a_configured_proxy_the_header_is_nothing(
    on: Any, mesh: bytes, transport: str, logged: io.StringIO
) -> None:
    async with on("", AUDIENCES.replace('"mesh", ', ""), transport) as rig:
        told = await refusal(exchange(rig, forwarded(mesh)))
        assert told.reason == "CALLER_UNAUTHENTICATED"
        assert "no credentials" in logged.getvalue()
        claims = await exchange(rig, (*secret_of(rig), *forwarded(mesh)))
        assert (claims["client_id"], "cnf" in claims) == ("web", False)


async def test_over_tls_of_our_own_the_certificate_is_that_of_the_connection_whatever_a_header_says(
    on: Any, ca: Authority, mesh: bytes, tmp_path: Path
) -> None:
    write_tls(tmp_path, ca)
    async with on(GRPC_TLS, AUDIENCES + MESH, "grpcio") as rig:
        certificate, key = ca.issue("x", "nobody.internal")
        credentials = grpc.ssl_channel_credentials(ca.pem, key, certificate)
        async with grpc.aio.secure_channel(rig.app.listen["grpc"], credentials) as channel:
            stub: Any = TokenExchangeServiceStub(channel)
            told = await refusal(stub.ExchangeToken(asked(rig), metadata=forwarded(mesh), timeout=DEADLINE))
            assert told.reason == "CALLER_UNAUTHENTICATED"
            metadata = (*secret_of(rig), *forwarded(mesh))
            answer = await stub.ExchangeToken(asked(rig, BOUND), metadata=metadata, timeout=DEADLINE)
        claims = jwt.decode(answer.token, options={"verify_signature": False})
        der = ssl.PEM_cert_to_DER_cert(certificate.decode())
        assert (claims["client_id"], claims["cnf"]) == ("web", {"x5t#S256": peer_certificate(der).thumbprint})

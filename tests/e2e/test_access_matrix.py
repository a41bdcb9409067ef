"""Every method, every kind of caller, over real mutual TLS, against the access table; certificates that are renewed."""

import importlib
import itertools
import json
import pkgutil
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx2
import jwt
import pytest
from tests.fakes import FakeClock
from tests.issuer import ec_key, jwk
from tests.rig import AUDIENCE, Rig, Serve
from tests.tls import FORWARDED, Authority, authority, forwarded

import tokenmint.v1
from tokenmint.admission import access
from tokenmint.admission.access import ANYBODY, CLIENT, Row
from tokenmint.model.secret import Secret

MODULES: Any = [
    importlib.import_module(f"tokenmint.v1.{module.name}")
    for module in pkgutil.iter_modules(tokenmint.v1.__path__)
    if module.name.endswith("_pb2")
]
"""Everything that is generated: a service that is added is in the matrix by itself."""
SPIFFE = "spiffe://td.example/web"
MOVER = Secret("tms_mover")
EXTRA = """
[clients.mesh]
certificates = ["spiffe://td.example/web"]

[clients.keys]
jwks = '''{jwks}'''

[clients.pod]
workloads = [{{ provider = "idp", subject = "1842" }}]

[clients.spa]
public = true

[operators.mover]
secrets = ["sha256:{mover}"]
roles = ["operator"]
"""
BY_CERTIFICATE = """
[operators.machine]
certificates = ["dns:operator.internal"]
roles = ["security"]
"""


@pytest.fixture(scope="module")
def ca() -> Authority:
    return authority()


@pytest.fixture
async def rig(serve: Serve, tmp_path: Path, ca: Authority) -> AsyncIterator[Rig]:
    renew(tmp_path, ca, 100)
    (tmp_path / "ca.crt").write_bytes(ca.pem)
    extra = tables() + BY_CERTIFICATE
    tls = 'cert_file = "tls.crt"\nkey_file = "tls.key"\nclient_ca_file = "ca.crt"\n'
    tls += 'http_cert_file = "tls.crt"\nhttp_key_file = "tls.key"\n'
    async with serve(extra, listen=tls) as service:
        service.secrets["mover"] = MOVER
        yield service


@pytest.fixture
async def behind_a_proxy(serve: Serve) -> AsyncIterator[Rig]:
    async with serve(tables(), listen=FORWARDED, transport="native") as service:
        service.secrets["mover"] = MOVER
        yield service


def tables() -> str:
    return EXTRA.format(mover=MOVER.fingerprint(), jwks=json.dumps({"keys": [jwk(ec_key(5), kid="c")]}))


def renew(directory: Path, ca: Authority, serial: int) -> None:
    """Write a new certificate as tools do: beside the old one, and then in its place."""
    for name, pem in zip(
        ("tls.crt", "tls.key"), ca.issue("service", "localhost", "127.0.0.1", serial=serial), strict=True
    ):
        (directory / f"{name}.new").write_bytes(pem)
    for name in ("tls.crt", "tls.key"):
        (directory / f"{name}.new").replace(directory / name)


def channel(rig: Rig, listener: str, ca: Authority, *identity: str) -> grpc.aio.Channel:
    """A channel with a client certificate of these names."""
    certificate, key = ca.issue(identity[0], *identity[1:]) if identity else (None, None)
    credentials = grpc.ssl_channel_credentials(ca.pem, key, certificate)
    return grpc.aio.secure_channel(rig.app.listen[listener], credentials)


CALLERS: dict[str, tuple[tuple[str, ...], str]] = {
    "nobody": (("x", "dns.of.nobody"), ""),
    "a client by secret": (("x",), "web"),
    "a client by certificate": (("x", SPIFFE), ""),
    "another client's certificate": (("x", SPIFFE), "web"),
    "a client by assertion": (("x",), "keys"),
    "a client by workload token": (("x",), "pod"),
    "a public client": (("x",), "spa"),
    "a viewer": (("x",), "guest"),
    "an operator": (("x",), "mover"),
    "security by certificate": (("x", "operator.internal"), ""),
    "every role": (("x",), "root"),
}
ROLES = {
    "a viewer": {"viewer"},
    "an operator": {"operator"},
    "security by certificate": {"security"},
    "every role": {"viewer", "operator", "security"},
}


def expected(row: Row | None, caller: str) -> set[grpc.StatusCode]:
    """The codes that mean: refused before the method ran. Empty: the method ran, with any answer."""
    code = grpc.StatusCode
    if row is None:
        return {code.UNIMPLEMENTED, code.PERMISSION_DENIED}
    if row.caller is ANYBODY:
        return set()
    if row.caller is CLIENT:
        admitted = {"a client by secret", "a client by certificate", "a public client"}
        admitted |= {"a client by assertion", "a client by workload token"}
        return set() if caller in admitted else {code.UNAUTHENTICATED}
    if caller not in ROLES:
        return {code.UNAUTHENTICATED}
    return set() if row.caller.value in ROLES[caller] else {code.PERMISSION_DENIED}


def methods() -> list[tuple[str, bool]]:
    return [
        (f"/{service.full_name}/{method.name}", method.server_streaming)
        for module in MODULES
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]


async def outcome(channel: Any, path: str, server_streams: bool, metadata: Any) -> tuple[Any, str]:
    """Call a method with an empty request; return its code and reason.

    A method that reads a stream of requests gets one as well. It is sent as the request of a unary call, which is the
    same on the wire: a stream of grpc.aio's client that is refused while it still sends says INTERNAL instead.
    """
    from tests.rig import refusal

    if server_streams:
        call = channel.unary_stream(path)(b"", metadata=metadata, timeout=20)
        try:
            await anext(aiter(call))
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        call.cancel()
        return grpc.StatusCode.OK, ""
    try:
        told = await refusal(channel.unary_unary(path)(b"", metadata=metadata, timeout=20))
    except AssertionError:
        return grpc.StatusCode.OK, ""
    return told.code, told.reason


def test_every_method_has_a_row() -> None:
    assert {path for path, _ in methods()} <= {*access.DATA, *access.ADMIN}


@pytest.mark.parametrize("caller", sorted(CALLERS))
async def test_every_method_with_every_caller(rig: Rig, ca: Authority, caller: str) -> None:
    identity, name = CALLERS[caller]
    metadata = credentials_of(rig, name)
    for listener, table in (("grpc", access.DATA), ("admin", access.ADMIN)):
        async with channel(rig, listener, ca, *identity) as connection:
            await judge(connection, listener, table, caller, metadata)


@pytest.mark.parametrize("caller", sorted(CALLERS))
async def test_every_method_of_the_native_transport_with_every_caller(
    behind_a_proxy: Rig, ca: Authority, caller: str
) -> None:
    identity, name = CALLERS[caller]
    certificate, _ = ca.issue(identity[0], *identity[1:])
    brought = credentials_of(behind_a_proxy, name)
    await judge(behind_a_proxy.data, "grpc", access.DATA, caller, lambda: [*brought(), *forwarded(certificate)])


def credentials_of(rig: Rig, name: str) -> Callable[[], list[tuple[str, str]]]:
    """The maker of a caller's credentials."""
    ids = itertools.count()

    def metadata() -> list[tuple[str, str]]:
        """The caller's credentials: of an assertion, which is used once, a new one for each call."""
        now = int(rig.clock.now())
        if name == "keys":
            claims = {"iss": name, "sub": name, "aud": "https://tokens.example", "iat": now, "exp": now + 60}
            token = jwt.encode({**claims, "jti": str(next(ids))}, ec_key(5), "ES256", headers={"kid": "c"})
            return [("tokenmint-client-assertion", token)]
        if name == "pod":
            return [("tokenmint-workload-token", rig.issuer.token(now))]
        credentials = [("tokenmint-client-id", name)] if name else []
        if name in rig.secrets:
            credentials.append(("tokenmint-client-secret", rig.secrets[name].reveal()))
        return credentials

    return metadata


async def judge(connection: Any, listener: str, table: Mapping[str, Row], caller: str, metadata: Any) -> None:
    """Call every method, and compare with the table who comes in."""
    for path, server_streams in methods():
        code, reason = await outcome(connection, path, server_streams, metadata())
        wanted = expected(table.get(path), caller)
        if wanted:
            assert code in wanted, (listener, path, code, reason)
        else:
            assert reason not in ("CALLER_UNAUTHENTICATED", "METHOD_DENIED"), (listener, path, code, reason)
            assert code not in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED), (listener, path)


async def test_without_a_certificate_of_our_authority_there_is_no_connection(rig: Rig, ca: Authority) -> None:
    stranger = authority("Somebody else")
    certificate, key = stranger.issue("x", SPIFFE)
    strangers = grpc.ssl_channel_credentials(ca.pem, key, certificate)
    for credentials in (grpc.ssl_channel_credentials(ca.pem), strangers):
        async with grpc.aio.secure_channel(rig.app.listen["grpc"], credentials) as connection:
            call: Any = connection.unary_unary("/tokenmint.v1.KeySetService/GetKeySet")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(b"", timeout=5)
            assert refused.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_a_public_client_has_only_what_an_audience_gives_to_everybody(rig: Rig, ca: Authority) -> None:
    from tests.rig import refusal

    from tokenmint.v1.token_exchange_service_pb2 import ExchangeTokenRequest

    text = rig.config.read_text()
    request = ExchangeTokenRequest(subject_token=rig.issuer.token(rig.clock.now()), audience="https://legacy.example")
    async with channel(rig, "grpc", ca, "x") as connection:
        call: Any = connection.unary_unary("/tokenmint.v1.TokenExchangeService/ExchangeToken")
        metadata = (("tokenmint-client-id", "spa"),)
        for change, reason in (
            ('clients = ["web", "spa"]', "AUDIENCE_DENIED"),
            ('clients = ["web", "spa"]\npublic_clients = true', ""),
        ):
            section, rest = text.split('[audiences."https://legacy.example"]')
            rig.config.write_text(
                section + '[audiences."https://legacy.example"]' + rest.replace('clients = ["web"]', change, 1)
            )
            await rig.app.reload(rig.settings())
            if reason:
                told = await refusal(call(request.SerializeToString(), metadata=metadata, timeout=20))
                assert told.reason == reason
            else:
                assert await call(request.SerializeToString(), metadata=metadata, timeout=20)
    assert AUDIENCE


async def test_certificates_are_renewed_while_calls_run(
    rig: Rig, ca: Authority, tmp_path: Path, clock: FakeClock
) -> None:
    import asyncio
    import ssl

    failures: list[BaseException] = []
    done = threading.Event()
    count = 0

    async def call_on() -> None:
        nonlocal count
        while not done.is_set():
            try:
                async with channel(rig, "grpc", ca, "x") as connection:
                    call: Any = connection.unary_unary("/tokenmint.v1.KeySetService/GetKeySet")
                    await call(b"", timeout=20)
                    count += 1
            except grpc.aio.AioRpcError as error:
                failures.append(error)

    def serial(listener: str) -> int:
        from cryptography import x509

        host, _, port = rig.app.listen[listener].partition(":")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=ca.pem.decode())
        certificate, key = ca.issue("x")
        (tmp_path / "me.pem").write_bytes(certificate + key)
        context.load_cert_chain(tmp_path / "me.pem")
        context.set_alpn_protocols(["h2"] if listener == "grpc" else ["http/1.1"])
        import socket

        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as peer,
        ):
            assert peer.version() == "TLSv1.3"
            return x509.load_der_x509_certificate(peer.getpeercert(binary_form=True) or b"").serial_number

    async def until(listener: str, number: int) -> None:
        async with asyncio.timeout(20):
            while await asyncio.to_thread(serial, listener) != number:
                await rig.let_pass(1)

    callers = [asyncio.ensure_future(call_on()) for _ in range(3)]
    await until("grpc", 100)
    for number in (101, 102):
        renew(tmp_path, ca, number)
        await until("grpc", number)
        await until("http", number)
    done.set()
    await asyncio.gather(*callers)
    assert not failures
    assert count > 10


async def test_the_http_side_has_tls_of_its_own(rig: Rig, ca: Authority, tmp_path: Path) -> None:
    import ssl

    url = rig.url("http", "/.well-known/jwks.json").replace("http:", "https:")
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    async with httpx2.AsyncClient(verify=context) as http:
        assert (await http.get(url)).json()["keys"]

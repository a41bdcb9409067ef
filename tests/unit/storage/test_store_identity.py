"""The service's own identity at the store and at its sentinels, in each topology, and while it is renewed."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, aclosing
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from tests.conftest import PATIENT
from tests.tls import Authority, authority
from tests.unit.storage.test_store_tls import LOG, PASSWORD, bulk, cluster, ending_tls, only_tls, sentinel
from tests.unit.storage.test_topologies import use
from tests.wire import Engine, Wire

from tokenmint.base.errors import ConfigurationError, StoreUnavailable
from tokenmint.model.secret import Secret
from tokenmint.storage.files import credentials
from tokenmint.storage.options import StoreOptions
from tokenmint.storage.redis import Store
from tokenmint.storage.tracking import Changes

pytestmark = pytest.mark.slow

WATCHER = "canary-of-the-sentinels"


@pytest.fixture(scope="module")
def ca() -> Authority:
    return authority()


@pytest.fixture(scope="module")
def clients() -> Authority:
    """The authority that certifies the store's clients."""
    return authority("Clients")


@pytest.fixture
def options(tmp_path: Path, ca: Authority, clients: Authority) -> StoreOptions:
    (tmp_path / "ca.crt").write_bytes(ca.pem)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    show(tmp_path, clients)
    return replace(
        PATIENT,
        password_file=tmp_path / "password",
        ca_file=tmp_path / "ca.crt",
        cert_file=tmp_path / "client.crt",
        key_file=tmp_path / "client.key",
    )


def show(directory: Path, clients: Authority, name: str = "tokenmint", serial: int = 100) -> None:
    """Write the certificate that the service shows."""
    certificate, key = clients.issue(name, serial=serial)
    (directory / "client.crt").write_bytes(certificate)
    (directory / "client.key").write_bytes(key)


def asking(directory: Path, ca: Authority, clients: Authority) -> ssl.SSLContext:
    """Return what ends TLS for a client that shows a certificate of ``clients``, and for no other."""
    context = ending_tls(directory, ca, "localhost", "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=clients.pem.decode())
    return context


def look(store: Store) -> None:
    for files in store.server.files:
        files.look()


async def reached(stack: ExitStack, directory: Path, scheme: str, tls: ssl.SSLContext) -> tuple[str, list[Wire]]:
    """Run a store of this topology behind wires that end TLS; return its URL, and the wires."""
    if scheme == "rediss+cluster":
        wires = [stack.enter_context(Wire(tls=tls)) for _ in range(3)]
        list(cluster(stack, directory, wires))
        return f"{scheme}://localhost:{wires[0].port}", wires[:2]
    engine = stack.enter_context(Engine(directory / "engine", *LOG, password=PASSWORD))
    wire = stack.enter_context(Wire(engine.port, tls=tls))
    if scheme == "rediss":
        return f"{scheme}://localhost:{wire.port}", [wire]
    watcher = stack.enter_context(sentinel(directory, engine.port))
    announced = {bulk(engine.port): bulk(wire.port)}
    to_sentinel = stack.enter_context(Wire(watcher.port, tls=tls, replace=announced))
    return f"{scheme}://localhost:{to_sentinel.port}/primary", [wire, to_sentinel]


@pytest.mark.parametrize("scheme", ["rediss", "rediss+sentinel", "rediss+cluster"])
async def test_a_client_certificate_is_shown_to_every_server_of_the_store(
    tmp_path: Path, ca: Authority, clients: Authority, options: StoreOptions, scheme: str
) -> None:
    with ExitStack() as stack:
        url, wires = await reached(stack, tmp_path, scheme, asking(tmp_path, ca, clients))
        store = await Store.open(url, options=options)
        await use(store)
        await store.close()
        only_tls(*wires)
        for other in (replace(options, cert_file=None, key_file=None), options):
            show(tmp_path, authority("Others"))
            with pytest.raises(StoreUnavailable):
                await Store.open(url, options=other)
        only_tls(*wires)


@pytest.mark.parametrize("scheme", ["rediss", "rediss+sentinel", "rediss+cluster"])
async def test_renewed_certificates_are_used_by_every_connection_and_withdrawn_authorities_by_none(
    tmp_path: Path, ca: Authority, clients: Authority, options: StoreOptions, scheme: str
) -> None:
    with ExitStack() as stack:
        tls = asking(tmp_path, ca, clients)
        url, wires = await reached(stack, tmp_path, scheme, tls)
        store = await Store.open(url, options=options)
        assert await store.swap("k", None, b"1")
        async with aclosing(store.listen("channel")) as notices:
            assert (await anext(notices)).payload is None
            made = [len(wire.first) for wire in wires]
            show(tmp_path, clients, serial=101)
            (tmp_path / "ca.crt").write_bytes(ca.pem + authority("The next one").pem)
            look(store)
            assert await store.get("k") == b"1"
            assert await store.swap("k", b"1", b"2")
            assert (await anext(notices)).payload is None  # something may have been missed
            assert [len(wire.first) for wire in wires] != made  # the old connections are not used any more
        (tmp_path / "ca.crt").write_text("half a fi")
        (tmp_path / "client.key").unlink()
        look(store)
        assert await store.swap("k", b"2", b"3")
        assert [files.problem for files in store.server.files if files.problem]
        show(tmp_path, clients, serial=102)
        (tmp_path / "ca.crt").write_bytes(authority("Another").pem)
        look(store)
        with pytest.raises(StoreUnavailable):
            await store.get("k")
        (tmp_path / "ca.crt").write_bytes(ca.pem)
        look(store)
        assert await store.get("k") == b"3"
        assert not [files.problem for files in store.server.files if files.problem]
        await store.close()
        only_tls(*wires)


async def until_it_ends(changes: AsyncIterator[Changes]) -> AsyncIterator[Changes]:
    with contextlib.suppress(StoreUnavailable):
        async for change in changes:
            yield change


async def test_tracking_ends_with_the_certificates_that_it_was_made_with(
    tmp_path: Path, ca: Authority, clients: Authority, options: StoreOptions
) -> None:
    with ExitStack() as stack:
        url, wires = await reached(stack, tmp_path, "rediss", asking(tmp_path, ca, clients))
        store = await Store.open(url, options=options)
        async with aclosing(store.track(("k",), 5.0)) as changes:
            await anext(changes)
            (tmp_path / "ca.crt").write_bytes(ca.pem + authority("The next one").pem)
            look(store)
            told = [change async for change in until_it_ends(changes)]
            assert len(told) < 10
        await store.close()
        only_tls(*wires)


def test_a_byte_order_mark_is_no_part_of_a_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"\xef\xbb\xbfsecret\r\n")
    made = credentials("password_file", "svc", tmp_path / "password", None)
    assert made is not None
    assert made.get_credentials() == ("svc", "secret")


async def test_a_renewed_password_is_used_by_the_next_connection(tmp_path: Path) -> None:
    """The server takes both while they are exchanged (ACL SETUSER), and connections that are there stay."""
    (tmp_path / "password").write_text(PASSWORD)
    options = replace(PATIENT, username="svc", password_file=tmp_path / "password")
    with Engine(tmp_path / "engine", *LOG, password=PASSWORD) as engine, Wire(engine.port) as wire:
        engine.client.execute_command("ACL", "SETUSER", "svc", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        store = await Store.open(f"redis://127.0.0.1:{wire.port}", options=options)
        assert await store.swap("k", None, b"1")
        engine.client.execute_command("ACL", "SETUSER", "svc", ">the-next-password")
        (tmp_path / "password").write_text("the-next-password")
        look(store)
        engine.client.execute_command("ACL", "SETUSER", "svc", f"<{PASSWORD}")
        assert await store.get("k") == b"1"
        assert wire.reset()
        assert await store.get("k") == b"1"
        (tmp_path / "password").unlink()
        look(store)
        assert wire.reset()
        assert await store.get("k") == b"1"
        (problem,) = [files.problem for files in store.server.files]
        assert "password_file" in problem
        (tmp_path / "password").write_text("a-wrong-canary")
        look(store)
        assert wire.reset()
        with pytest.raises(StoreUnavailable) as refused:
            await store.get("k")
        assert "refuses the credentials" in refused.value.detail
        assert "canary" not in refused.value.detail
        await store.close()


@pytest.mark.parametrize("user", [None, "svc"])
async def test_sentinels_have_credentials_of_their_own(tmp_path: Path, user: str | None) -> None:
    (tmp_path / "watcher").write_text(WATCHER)
    options = replace(
        PATIENT, password=Secret(PASSWORD), sentinel_username=user, sentinel_password_file=tmp_path / "watcher"
    )
    with ExitStack() as stack:
        engine = stack.enter_context(Engine(tmp_path / "engine", *LOG, password=PASSWORD))
        watcher = stack.enter_context(sentinel(tmp_path, engine.port))
        to_sentinel = stack.enter_context(Wire(watcher.port))
        if user is None:
            watcher.client.execute_command("ACL", "SETUSER", "default", "resetpass", f">{WATCHER}")
        else:
            watcher.client.execute_command("ACL", "SETUSER", user, "on", f">{WATCHER}", "&*", "+@all")
            watcher.client.execute_command("ACL", "SETUSER", "default", "off")
        url = f"redis+sentinel://127.0.0.1:{to_sentinel.port}/primary"
        store = await Store.open(url, options=options)
        await use(store)
        await store.close()
        assert WATCHER.encode() in to_sentinel.recorded
        assert PASSWORD.encode() not in to_sentinel.recorded  # the store's are not shown to them
        (tmp_path / "watcher").write_text("canary-of-another")
        for wrong in (options, replace(options, sentinel_username=None, sentinel_password_file=None)):
            with structlog.testing.capture_logs() as logs, pytest.raises(StoreUnavailable):
                await Store.open(url, options=wrong)
            assert [line["event"] for line in logs] == ["a sentinel refuses the credentials"]
            assert "canary" not in str(logs)
        assert PASSWORD.encode() not in to_sentinel.recorded


Spoil = Callable[[Path], object]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda at: (at / "password").write_bytes(b"\xff\xfe"), "not a text file"),
        (lambda at: (at / "password").write_bytes(b"\n"), "is empty"),
        (lambda at: (at / "password").unlink(), "can't be read"),
        (lambda at: (at / "ca.crt").write_text("x"), "no CA certificates in PEM"),
        (lambda at: (at / "client.key").write_bytes((at / "client.crt").read_bytes()), "not a certificate and its key"),
    ],
)
async def test_files_that_were_never_of_use_are_a_mistake_of_the_configuration(
    tmp_path: Path, options: StoreOptions, spoil: Spoil, words: str
) -> None:
    spoil(tmp_path)
    with pytest.raises(ConfigurationError, match=words):
        await Store.open("rediss://127.0.0.1:1", options=options)

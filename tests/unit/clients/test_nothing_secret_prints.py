"""No value of the Python client shows a secret where it is printed."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.issuer import ec_key

from tokenmint_client import (
    AsyncTokenSource,
    Client,
    ClientAssertion,
    ClientSecret,
    Entry,
    MemoryStore,
    SessionStore,
    Token,
    TokenSource,
    WorkloadToken,
)
from tokenmint_client.httpx_auth import TokenAuth
from tokenmint_client.requests_auth import TokenAuth as RequestsTokenAuth

SECRET: Final = "hunter2"
TOKEN: Final = Token(SECRET, 1.0, "ada", (), "id", "k")
PEM: Final = ec_key(4).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def memory_store() -> MemoryStore:
    store = MemoryStore()
    store.put("a", Entry(TOKEN, 1.0), 0.0)
    return store


def session_store() -> SessionStore:
    store = SessionStore({})
    store.put("a", Entry(TOKEN, 1.0), 0.0)
    return store


def client() -> Client:
    return Client("127.0.0.1:9", ClientSecret("web", SECRET), plaintext=True)


VALUES: Final[dict[str, Callable[[], Any]]] = {
    "Token": lambda: TOKEN,
    "Entry": lambda: Entry(TOKEN, 1.0),
    "MemoryStore": memory_store,
    "SessionStore": session_store,
    "ClientSecret": lambda: ClientSecret("web", SECRET),
    "ClientAssertion": lambda: ClientAssertion("web", PEM, key_id="k", audience="a"),
    "WorkloadToken": lambda: WorkloadToken(lambda: SECRET),
    "Client": client,
    "TokenSource": lambda: TokenSource(client()),
    "AsyncTokenSource": lambda: AsyncTokenSource(client()),  # type: ignore[arg-type]  # it is not called
    "httpx": lambda: TokenAuth(TokenSource(client()), SECRET, "a"),
    "requests": lambda: RequestsTokenAuth(TokenSource(client()), SECRET, "a"),
}


@pytest.mark.parametrize("kind", VALUES)
def test_no_secret_is_printed(kind: str) -> None:
    value = VALUES[kind]()
    for text in (repr(value), str(value), f"{value}", f"{value!r}", f"{[value]}", f"{({'a': value},)}"):
        assert SECRET not in text
        assert PEM.decode().splitlines()[1] not in text


def test_an_unreadable_credential_names_its_file_alone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        WorkloadToken(tmp_path / "none").metadata()
    assert "none" in "".join(traceback.format_exception(caught.value))

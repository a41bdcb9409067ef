"""Files that are renewed while the service runs: no call is lost, and what was withdrawn is of no use from then on."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from tests import plain_http
from tests.fakes import FakeClock, FakeEntropy
from tests.issuer import Issuer, rsa_key
from tests.providers import Documents, ending_tls, provider
from tests.rig import DEADLINE, Rig, Serve, refusal
from tests.tls import Authority, authority

from tokenmint.v1 import provider_admin_service_pb2 as providers_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb

AUDIENCE = "https://renewed.example"
EXTRA = f"""
[audiences."{AUDIENCE}"]
clients = ["web", "keyed"]
providers = ["filed", "secured"]
on_missing_profile = "without"

[providers.filed]
issuer = "https://filed.example"
audiences = ["app"]
jwks_file = "filed.jwks"

[providers.secured]
issuer = "https://secured.example"
audiences = ["app"]
jwks_url = "@URL@"
allow_private = true
ca_file = "ca.crt"
bearer_token_file = "token"
header_files = {{ "X-Key" = "key" }}

[clients.keyed]
jwks_file = "client.jwks"
"""
CANARY = "canary-of-a-secret"


def an_issuer(name: str, index: int) -> Issuer:
    return Issuer(url=f"https://{name}.example", key=rsa_key(index), key_id=f"{name}-{index}")


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Documents]:
    ca = authority()
    (tmp_path / "ca.crt").write_bytes(ca.pem)
    (tmp_path / "token").write_text(f"{CANARY}-1")
    (tmp_path / "key").write_text(CANARY)
    with provider(ending_tls(tmp_path, ca), jwks=an_issuer("secured", 0).jwks()) as documents:
        documents.headers["Cache-Control"] = "max-age=60"
        yield documents


@asynccontextmanager
async def service(
    directory: Path, redis_url: str, prefix: str, issuer: Issuer, clock: FakeClock, entropy: FakeEntropy, url: str
) -> AsyncIterator[Rig]:
    (directory / "filed.jwks").write_bytes(an_issuer("filed", 0).jwks())
    (directory / "client.jwks").write_bytes(an_issuer("keyed", 0).jwks())
    extra = EXTRA.replace("@URL@", url)
    async with Serve(directory, redis_url, prefix, issuer, clock, entropy)(extra) as rig:
        yield rig


@pytest.fixture
async def rig(
    tmp_path: Path,
    redis_url: str,
    redis_prefix: str,
    issuer: Issuer,
    clock: FakeClock,
    entropy: FakeEntropy,
    secured: Documents,
) -> AsyncIterator[Rig]:
    async with service(tmp_path, redis_url, redis_prefix, issuer, clock, entropy, secured.url("/jwks")) as made:
        yield made


def request(rig: Rig, issuer: Issuer) -> pb.ExchangeTokenRequest:
    return pb.ExchangeTokenRequest(subject_token=issuer.token(rig.clock.now()), audience=AUDIENCE)


async def exchange(rig: Rig, issuer: Issuer) -> str:
    answer = await rig.exchange.ExchangeToken(request(rig, issuer), **rig.auth("web"))
    return str(answer.token)


async def reason(rig: Rig, issuer: Issuer) -> str:
    return (await refusal(rig.exchange.ExchangeToken(request(rig, issuer), **rig.auth("web")))).reason


def by_assertion(rig: Rig, issuer: Issuer, jti: str) -> dict[str, Any]:
    assertion = issuer.token(rig.clock.now(), iss="keyed", sub="keyed", aud="https://tokens.example", jti=jti)
    return {"metadata": (("tokenmint-client-assertion", assertion),), "timeout": DEADLINE}


def key_ids(rig: Rig, name: str) -> tuple[str, ...]:
    return rig.parts.exchange.verifier.key_sets.status(name).key_ids


async def test_a_key_that_was_taken_out_of_a_file_proves_nothing_any_more(
    rig: Rig, clock: FakeClock, tmp_path: Path
) -> None:
    first, second = an_issuer("filed", 0), an_issuer("filed", 1)
    assert await exchange(rig, first)
    (tmp_path / "filed.jwks").write_bytes(second.jwks())
    await rig.until(lambda: key_ids(rig, "filed") == ("filed-1",))
    assert await reason(rig, first) == "UNKNOWN_KEY"
    assert await exchange(rig, second)

    (tmp_path / "filed.jwks").write_text('{"keys": [')
    await rig.until(lambda: rig.base.readiness.details().get("files"))
    assert await exchange(rig, second)
    async with plain_http.client() as http:
        assert "jwks_file: is not a JWK set" in (await http.get(rig.url("ops", "/readyz"))).text
    listed = await rig.providers.GetProvider(providers_pb.GetProviderRequest(provider="filed"), **rig.auth("root"))
    assert "is not a JWK set" in listed.provider.last_error
    assert listed.provider.key_source == str(tmp_path / "filed.jwks")

    (tmp_path / "filed.jwks").write_bytes(first.jwks())
    await rig.until(lambda: not rig.base.readiness.details().get("files"))
    assert await exchange(rig, first)


async def test_a_refresh_reads_the_file_at_once_and_fails_where_it_can_not(rig: Rig, tmp_path: Path) -> None:
    asked = providers_pb.RefreshProviderKeysRequest(provider="filed")
    for content, words in ((b"{}", "no list"), (b'{"keys": []}', "no usable key"), (None, "can't be read")):
        if content is None:
            (tmp_path / "filed.jwks").unlink()
        else:
            (tmp_path / "filed.jwks").write_bytes(content)
        told = await refusal(rig.providers.RefreshProviderKeys(asked, **rig.auth("root")))
        assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "KEY_SET_INVALID")
        assert words in told.message
        assert "the last good ones are kept" in told.message
        assert await exchange(rig, an_issuer("filed", 0))
    (tmp_path / "filed.jwks").write_bytes(an_issuer("filed", 1).jwks())
    answer = await rig.providers.RefreshProviderKeys(asked, **rig.auth("root"))
    assert list(answer.provider.key_ids) == ["filed-1"]
    assert await reason(rig, an_issuer("filed", 0)) == "UNKNOWN_KEY"


async def test_a_clients_own_keys_are_renewed_in_the_same_way(rig: Rig, clock: FakeClock, tmp_path: Path) -> None:
    first, second = an_issuer("keyed", 0), an_issuer("keyed", 1)
    subject = an_issuer("filed", 0)
    assert await rig.exchange.ExchangeToken(request(rig, subject), **by_assertion(rig, first, "1"))
    (tmp_path / "client.jwks").write_bytes(second.jwks())
    key_sets = rig.parts.rules.authenticator.assertions.key_sets
    await rig.until(lambda: key_sets.status("keyed").key_ids == ("keyed-1",))
    told = await refusal(rig.exchange.ExchangeToken(request(rig, subject), **by_assertion(rig, first, "2")))
    assert told.code is grpc.StatusCode.UNAUTHENTICATED
    assert await rig.exchange.ExchangeToken(request(rig, subject), **by_assertion(rig, second, "3"))


async def test_a_reload_keeps_what_was_renewed(rig: Rig, clock: FakeClock, tmp_path: Path) -> None:
    (tmp_path / "filed.jwks").write_bytes(an_issuer("filed", 1).jwks())
    await rig.app.reload(rig.settings())
    await rig.until(lambda: key_ids(rig, "filed") == ("filed-1",))
    (tmp_path / "filed.jwks").write_bytes(an_issuer("filed", 2).jwks())
    await rig.until(lambda: key_ids(rig, "filed") == ("filed-2",))
    assert await exchange(rig, an_issuer("filed", 2))


async def test_a_reload_reads_no_file_on_the_event_loop(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = await asyncio.to_thread(rig.settings)
    here, opened, really_open = threading.get_ident(), list[str](), os.open

    def watched(path: Any, *arguments: Any, **more: Any) -> int:
        if threading.get_ident() == here and str(path).startswith(str(tmp_path)):
            opened.append(str(path))
        return really_open(path, *arguments, **more)

    monkeypatch.setattr(os, "open", watched)
    await rig.app.reload(settings)
    monkeypatch.undo()
    assert not opened
    assert await exchange(rig, an_issuer("filed", 0))
    assert await rig.exchange.ExchangeToken(
        request(rig, an_issuer("filed", 0)), **by_assertion(rig, an_issuer("keyed", 0), "1")
    )


async def test_no_call_is_lost_while_every_kind_of_file_is_renewed(
    rig: Rig, clock: FakeClock, tmp_path: Path, secured: Documents
) -> None:
    """Keys in files, authorities, a token and a header of fetches: each also missing, and half written, in between."""
    ca = authority("The next one")
    refresh = providers_pb.RefreshProviderKeysRequest(provider="secured")
    calls, ended = 0, asyncio.Event()

    async def call() -> None:
        nonlocal calls
        while not ended.is_set():
            for issuer in (an_issuer("filed", 0), an_issuer("secured", 0)):
                assert await exchange(rig, issuer)
                assertion = by_assertion(rig, an_issuer("keyed", 0), f"call-{calls}")
                assert await rig.exchange.ExchangeToken(request(rig, issuer), **assertion)
                calls += 1

    def went_on(before: int) -> bool:
        return calling.done() or calls > before + 1

    with structlog.testing.capture_logs() as logs:
        calling = asyncio.ensure_future(call())
        for name, content in (
            ("filed.jwks", both(an_issuer("filed", 0), an_issuer("filed", 1))),
            ("client.jwks", both(an_issuer("keyed", 0), an_issuer("keyed", 1))),
            ("ca.crt", (tmp_path / "ca.crt").read_bytes() + ca.pem),
            ("token", f"{CANARY}-2".encode()),
            ("key", f"{CANARY}-3".encode()),
        ):
            for now in (None, b"\n{half", content):
                if now is None:
                    (tmp_path / name).unlink()
                else:
                    (tmp_path / name).write_bytes(now)
                await rig.providers.RefreshProviderKeys(refresh, **rig.auth("root"))
                await rig.let_pass(1)
                await rig.until(partial(went_on, calls))
        ended.set()
        await calling
    assert len(key_ids(rig, "filed")) == 2
    assert secured.sent("authorization")[-1] == f"Bearer {CANARY}-2"
    assert secured.sent("x-key")[-1] == f"{CANARY}-3"
    assert CANARY not in str(logs)
    assert not rig.base.readiness.details().get("files")


def both(*issuers: Issuer) -> bytes:
    return json.dumps({"keys": [key for issuer in issuers for key in json.loads(issuer.jwks())["keys"]]}).encode()


async def test_a_token_and_authorities_that_were_withdrawn_are_not_used_by_the_next_fetch(
    rig: Rig, tmp_path: Path, secured: Documents
) -> None:
    refresh = providers_pb.RefreshProviderKeysRequest(provider="secured")
    await rig.providers.RefreshProviderKeys(refresh, **rig.auth("root"))
    other: Authority = authority("Other")
    (tmp_path / "ca.crt").write_bytes(other.pem)
    asked = len(secured.asked)
    told = await refusal(rig.providers.RefreshProviderKeys(refresh, **rig.auth("root")))
    assert told.reason == "KEY_SET_UNAVAILABLE"
    assert "certificate is not accepted" in told.message
    assert len(secured.asked) == asked
    assert await exchange(rig, an_issuer("secured", 0))  # by the last good keys
    assert CANARY not in told.message

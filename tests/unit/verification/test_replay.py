"""Single use, in a real store."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from tokenmint.base.errors import StoreUnavailable
from tokenmint.base.token_errors import TokenReplayed
from tokenmint.model.tokens import ID_TOKEN, VerifiedToken
from tokenmint.storage.redis import Store
from tokenmint.verification.replay import ReplayGuard

ASSERTION = VerifiedToken(
    provider="idp", issuer="https://idp.example", subject="1", token_type=ID_TOKEN, claims=MappingProxyType({}),
    issued_at=1000.0, expires_at=1300.0, fingerprint="f" * 64, replay_id="r" * 64, single_use=True,
)  # fmt: skip


async def test_a_token_is_claimed_once_by_anybody(store: Store) -> None:
    guard, other_replica = ReplayGuard(store), ReplayGuard(store)
    await guard.consume(ASSERTION, "web", None, now=1000)
    for client, request in (("web", None), ("batch", None), ("web", "a")):
        with pytest.raises(TokenReplayed):
            await other_replica.consume(ASSERTION, client, request, now=1001)
    await guard.consume(replace(ASSERTION, replay_id="s" * 64), "web", None, now=1000)


async def test_the_same_request_may_be_repeated_by_the_same_client_with_the_same_token(store: Store) -> None:
    guard = ReplayGuard(store)
    await guard.consume(ASSERTION, "web", "request", now=1000)
    await guard.consume(ASSERTION, "web", "request", now=1001)
    for verified, client, request in (
        (ASSERTION, "batch", "request"),
        (ASSERTION, "web", "another"),
        (replace(ASSERTION, fingerprint="e" * 64), "web", "request"),
    ):
        with pytest.raises(TokenReplayed):
            await guard.consume(verified, client, request, now=1002)


async def test_a_retry_asks_for_the_same_again(store: Store) -> None:
    """One request id is no licence to use the token for something else."""
    guard = ReplayGuard(store)
    await guard.consume(ASSERTION, "web", "request", now=1000, request_fingerprint="orders")
    await guard.consume(ASSERTION, "web", "request", now=1001, request_fingerprint="orders")
    for other in ("payments", ""):
        with pytest.raises(TokenReplayed):
            await guard.consume(ASSERTION, "web", "request", now=1002, request_fingerprint=other)


async def test_claims_live_until_no_clock_accepts_the_token(store: Store) -> None:
    guard = ReplayGuard(store, skew=30)
    await guard.consume(ASSERTION, "web", None, now=1000)
    left = await store.server.client.pttl(f"{store.prefix}replay:{ASSERTION.replay_id}")
    assert 300 + 30 + 50 < left / 1000 <= 300 + 30 + 60


async def test_without_a_store_nothing_is_claimed(store: Store) -> None:
    await store.close()
    store.url = replace(store.url, socket_path="/nonexistent")
    broken = Store(store.url, store.prefix, store.options)
    with pytest.raises(StoreUnavailable):
        await ReplayGuard(broken).consume(ASSERTION, "web", None, now=1000)
    await broken.close()

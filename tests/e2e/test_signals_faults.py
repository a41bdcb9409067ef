"""Limits of signals, and faults while they are applied. Each service here has its own rules for signals."""

import asyncio
from contextlib import suppress

import grpc
import pytest
from tests import plain_http
from tests.polling import PATIENCE, until
from tests.rig import AUDIENCE, LEGACY_AUDIENCE, Serve
from tests.signalling import counted, known, push, signed_in
from tests.signals import CAEP, RISC, of, once, secevent

from tokenmint.base.errors import NotFound, OutcomeUnknown
from tokenmint.model.profile import Identity
from tokenmint.model.secret import Secret
from tokenmint.model.signals import Action
from tokenmint.profiles.identity_changes import IdentityChanges
from tokenmint.profiles.near_cache import NearCache
from tokenmint.profiles.records import PREFIXES
from tokenmint.profiles.store import ProfileStore
from tokenmint.revocation.entries import Kind
from tokenmint.storage.redis import Store

EVENT, IGNORED = CAEP + "session-revoked", CAEP + "risk-level-change"


async def test_a_peer_is_limited_before_anything_is_verified(serve: Serve) -> None:
    limits = "\n[providers.idp.signals]\npeer_rate = { per_second = 0.001, burst = 2 }\n"
    async with serve(limits) as rig, plain_http.client(base_url=rig.url("http", "")) as http:
        rig.parts.limiter.patience = PATIENCE  # or a busy process counts by itself too
        answers = [await push(http, "no token") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [400, 400, 429]
        assert int(answers[2].headers["retry-after"]) > 0
        assert counted(rig, "idp", "", "RATE_LIMITED") == 1


async def test_strangers_use_up_nothing_of_a_sender_with_a_push_secret(serve: Serve) -> None:
    """Behind a proxy they are one peer."""
    secret = Secret("s" * 43)
    limits = f"""
[providers.idp.signals]
peer_rate = {{ per_second = 0.001, burst = 2 }}
push_secrets = ["sha256:{secret.fingerprint()}"]
"""
    async with serve(limits) as rig, plain_http.client(base_url=rig.url("http", "")) as http:
        rig.parts.limiter.patience = PATIENCE
        token = secevent(rig.issuer, rig.clock.now(), CAEP + "risk-level-change")
        assert [(await push(http, token)).status_code for _ in range(4)] == [400, 400, 429, 429]
        own = {"Authorization": f"Bearer {secret.reveal()}"}
        assert [(await push(http, token, **own)).status_code for _ in range(3)] == [202, 202, 429]


async def test_a_repeated_token_uses_up_nothing_of_its_providers_rate(serve: Serve) -> None:
    limits = "\n[providers.idp.signals]\nrate = { per_second = 0.001, burst = 2 }\n"
    async with serve(limits) as rig, plain_http.client(base_url=rig.url("http", "")) as http:
        rig.parts.limiter.patience = PATIENCE
        tokens = [secevent(rig.issuer, rig.clock.now(), CAEP + "risk-level-change") for _ in range(3)]
        for _ in range(5):
            assert (await push(http, tokens[0])).status_code == 202
        assert [(await push(http, token)).status_code for token in tokens[1:]] == [202, 429]


@pytest.mark.parametrize(
    ("case", "sent"),
    [
        ("as many as there are", [("abc", EVENT, 202), ("de", EVENT, 429), ("d", EVENT, 202), ("e", EVENT, 429)]),
        ("those of an ignored event cost nothing more", [("abcdef", IGNORED, 202), ("abc", EVENT, 202)]),
        ("more than the burst: it takes all, and is not refused for ever", [("abcdef", EVENT, 202), ("g", EVENT, 429)]),
    ],
)
async def test_a_signal_about_many_users_counts_as_many(
    serve: Serve, case: str, sent: list[tuple[str, str, int]]
) -> None:
    """Each of them costs several confirmed writes, and the store is everybody's."""
    limits = "\n[providers.idp.signals]\nrate = { per_second = 0.001, burst = 4 }\n"
    async with serve(limits) as rig, plain_http.client(base_url=rig.url("http", "")) as http:
        rig.parts.limiter.patience = PATIENCE
        for subjects, event, status in sent:
            named = {"format": "aliases", "identifiers": [of(rig.issuer, one) for one in subjects]}
            answer = await push(http, secevent(rig.issuer, rig.clock.now(), event, named))
            assert answer.status_code == status, case


async def test_a_change_that_fails_is_no_success(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve("\n[providers.idp.signals]\n") as rig, plain_http.client(base_url=rig.url("http", "")) as http:
        found = await known(rig, subject := once())
        token = secevent(rig.issuer, rig.clock.now(), EVENT, of(rig.issuer, subject))

        async def unconfirmed(principal: str) -> int:
            raise OutcomeUnknown(detail=principal)

        with monkeypatch.context() as patch:
            patch.setattr(rig.parts.profiles, "revoke_tokens", unconfirmed)
            answer = await push(http, token)
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert await found.is_active()
        assert (await push(http, token)).status_code == 202  # it was not consumed
        assert not await found.is_active()


async def test_a_full_log_of_revocations_keeps_none_of_a_signals_users_in(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve("\n[providers.idp.signals]\n") as rig, plain_http.client(base_url=rig.url("http", "")) as http:
        users = [await known(rig, once()) for _ in range(2)]
        aliases = {"format": "aliases", "identifiers": [of(rig.issuer, user.subject) for user in users]}
        token = secevent(rig.issuer, rig.clock.now(), RISC + "account-disabled", aliases)
        with monkeypatch.context() as patch:
            patch.setattr(rig.parts.revoking.log, "_most", 0)
            answer = await push(http, token)
        assert (answer.status_code, "retry-after" in answer.headers) == (429, True)
        assert [await user.refused() for user in users] == ["PRINCIPAL_DISABLED"] * 2
        assert (await push(http, token)).status_code == 202  # it was not consumed: verifiers are told by the repetition
        following = rig.parts.revoking.following
        await following.refresh()
        assert None not in [following.valid_after(Kind.PRINCIPAL, f"p-{user.subject}") for user in users]


async def test_a_reload_turns_signals_on_and_off(serve: Serve) -> None:
    async with serve() as rig, plain_http.client(base_url=rig.url("http", "")) as http:
        token = secevent(rig.issuer, rig.clock.now(), EVENT)
        before = rig.config.read_text()
        assert (await push(http, token)).status_code == 404
        rig.config.write_text(before + "\n[providers.idp.signals]\n")
        await rig.app.reload(rig.settings())
        assert (await push(http, token)).status_code == 202
        rig.config.write_text(before)
        await rig.app.reload(rig.settings())
        assert (await push(http, token)).status_code == 404


@pytest.mark.parametrize("audience", [AUDIENCE, LEGACY_AUDIENCE], ids=["profile", "without"])
@pytest.mark.parametrize("action", [Action.DISABLE, Action.REVOKE, Action.UNLINK])
async def test_a_signal_that_another_replica_received_is_obeyed_as_soon_as_it_is_told(
    serve: Serve, store: Store, audience: str, action: Action
) -> None:
    async with serve("\n[caches]\nprofiles = 100\n") as rig:
        subject = once()
        found = await (known if audience == AUDIENCE else signed_in)(rig, subject, audience)
        async with asyncio.timeout(PATIENCE):
            while not (rig.parts.near.live and len(rig.parts.near) >= 2):
                await found.exchange()
        near = NearCache(store, PREFIXES, 0, rig.clock)
        profiles = ProfileStore(store, rig.clock, near, rig.parts.signing.clocks.right_store_time)

        async def revoke(principal: str) -> None:
            with suppress(NotFound):
                await profiles.revoke_tokens(principal)

        other = IdentityChanges(profiles, store, near, rig.clock, revoke)
        await other.make(Identity("idp", subject), action, unregistered=True)

        async def refused() -> bool:
            try:
                await found.exchange()
            except grpc.aio.AioRpcError:
                return True
            return False

        await until(refused)
        assert await found.refused() == ("REVOKED" if action is Action.REVOKE else "PRINCIPAL_DISABLED")
        assert not await found.is_active()

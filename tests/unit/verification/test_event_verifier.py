"""Tokens with events that no HTTP test reaches: untyped ones, several issuers, tenants, forms of Google."""

from typing import Any

import pytest
from tests.fakes import FakeClock
from tests.issuer import Issuer
from tests.signals import CAEP, RISC, apple, logout_token, secevent

from tokenmint.base.token_errors import ClaimRejected, TokenRejected, UnknownIssuer, UnsupportedTokenType
from tokenmint.config.providers import provider_from_table
from tokenmint.model.profile import Identity
from tokenmint.model.secret import Secret
from tokenmint.model.signals import Delivery, VerifiedSignal
from tokenmint.signals.receiver import identities_of
from tokenmint.verification.event_verifier import EventVerifier
from tokenmint.verification.key_source import FetchFailed, FetchResult, KeySource
from tokenmint.verification.keyset import KeySets
from tokenmint.verification.verifier import Verifier

NOW = 1_800_000_000.0
EVENT = CAEP + "session-revoked"


async def _no_fetch(source: KeySource, url: str, *, etag: str | None) -> FetchResult:
    raise FetchFailed("nothing is fetched here")


def verifier(issuer: Issuer, signals: dict[str, Any] | None = None, **table: Any) -> Verifier:
    given = {"issuer": issuer.url, "audiences": ["app"], "jwks": issuer.jwks().decode(), "signals": signals or {}}
    provider = provider_from_table("idp", given | table, own_issuer="https://me.example")
    sets = KeySets({"idp": provider.key_source}, fetch=_no_fetch, clock=FakeClock())
    return Verifier({"idp": provider}, sets, own_issuer="https://me.example")


async def verified(
    issuer: Issuer, token: str, delivery: Delivery = Delivery.SECEVENT, signals: dict[str, Any] | None = None,
    **table: Any,
) -> VerifiedSignal:  # fmt: skip
    made = verifier(issuer, signals, **table)
    return await EventVerifier(lambda: made).verify("idp", delivery, Secret(token), now=NOW)


@pytest.mark.parametrize("typ", [None, "JWT", "secevent+jwt", "application/secevent+jwt"])
async def test_an_untyped_provider_may_leave_typ_out(issuer: Issuer, typ: str | None) -> None:
    signal = await verified(issuer, secevent(issuer, NOW, EVENT, typ=typ), signals={"untyped": True})
    assert [event.type for event in signal.events] == [EVENT]


@pytest.mark.parametrize("delivery", list(Delivery))
@pytest.mark.parametrize("typ", [None, "JWT", "at+jwt", "oauth-id-jag+jwt"])
async def test_an_untyped_provider_takes_no_other_kind_of_token(
    issuer: Issuer, delivery: Delivery, typ: str | None
) -> None:
    signals = {"untyped": True, "deliveries": [one.value for one in Delivery]}
    token = issuer.token(NOW, headers={"typ": typ}, jti="1", email="a@b.example")
    with pytest.raises(TokenRejected):
        await verified(issuer, token, delivery, signals)


@pytest.mark.parametrize("made", [secevent, logout_token])
async def test_one_kind_of_event_token_is_not_another(issuer: Issuer, made: Any) -> None:
    token = made(issuer, NOW, EVENT) if made is secevent else made(issuer, NOW)
    for delivery in set(Delivery) - {Delivery.SECEVENT if made is secevent else Delivery.LOGOUT}:
        with pytest.raises(UnsupportedTokenType):
            await verified(issuer, token, delivery, {"deliveries": [one.value for one in Delivery]})
    with pytest.raises(UnsupportedTokenType):
        await verified(issuer, apple(issuer, NOW, "account-delete"), Delivery.SECEVENT)


async def test_the_issuer_of_events_may_have_another_spelling(issuer: Issuer) -> None:
    """As Google's, whose events have a slash at the end."""
    sender = Issuer(url=issuer.url + "/", key=issuer.key)
    subject = {"subject_type": "iss-sub", "iss": sender.url, "sub": "1842"}
    token = secevent(sender, NOW, "", None, sub_id=None, events={RISC + "account-disabled": {"subject": subject}})
    with pytest.raises(UnknownIssuer):
        await verified(issuer, token)
    signal = await verified(issuer, token, signals={"issuers": [issuer.url, sender.url]})
    provider = verifier(issuer).providers["idp"]
    assert identities_of(provider, signal.events[0].subjects) == (Identity("idp", "1842"),)


async def test_of_several_tenants_each_tells_of_its_own_users_alone(issuer: Issuer) -> None:
    tenants = ["0f2c1f4e-3c8b-4a57-9d57-9b8d1c1b7a10", "7b0c6a52-52b5-4a0d-8e51-0a5a7a3d2f45"]
    one, other = (Issuer(url=f"https://login.microsoftonline.com/{tenant}/v2.0", key=issuer.key) for tenant in tenants)
    table = {"use": "entra", "tenants": tenants, "issuer": None}
    subject = {"format": "iss_sub", "iss": other.url, "sub": "1842"}
    keys = {key: value for key, value in table.items() if value is not None}
    given = {"audiences": ["app"], "jwks": issuer.jwks().decode(), "signals": {}} | keys
    provider = provider_from_table("idp", given, own_issuer="https://me.example")
    sets = KeySets({"idp": provider.key_source}, fetch=_no_fetch, clock=FakeClock())
    made = Verifier({"idp": provider}, sets, own_issuer="https://me.example")
    signal = await EventVerifier(lambda: made).verify(
        "idp", Delivery.SECEVENT, Secret(secevent(one, NOW, EVENT, subject)), now=NOW
    )
    assert signal.events[0].foreign


async def test_of_two_providers_of_one_issuer_each_tells_of_its_own_users_alone(issuer: Issuer) -> None:
    where: dict[str, Any] = {"where": {"org": "ours"}}
    for claims in ({"org": "ours"}, {}):
        signal = await verified(issuer, secevent(issuer, NOW, EVENT, **claims), **where)
        assert [event.type for event in signal.events] == [EVENT]
    for other in ("theirs", "", ["ours"]):
        with pytest.raises(ClaimRejected, match="org is not the provider's"):
            await verified(issuer, secevent(issuer, NOW, EVENT, org=other), **where)


async def test_a_subject_is_named_by_the_claims_that_name_the_provider_s_principals(issuer: Issuer) -> None:
    by_email = verifier(issuer, subject_claims=["email"]).providers["idp"]
    assert identities_of(by_email, ({"email": "a@b.example"},)) == (Identity("idp", "a@b.example"),)
    assert identities_of(by_email, ({"iss": issuer.url, "sub": "1842"},)) == ()
    assert identities_of(verifier(issuer).providers["idp"], ({"email": "a@b.example"},)) == ()


async def test_sub_and_sub_id_of_one_subject(issuer: Issuer) -> None:
    signal = await verified(issuer, secevent(issuer, NOW, EVENT, sub="1842"))
    assert len(signal.events[0].subjects) == 1
    with pytest.raises(ClaimRejected, match="different subjects"):
        await verified(issuer, secevent(issuer, NOW, EVENT, sub="1843"))


async def test_google_s_events_by_its_entry(issuer: Issuer) -> None:
    google = Issuer(url="https://accounts.google.com/", key=issuer.key)
    given = {"use": "google", "audiences": ["app"], "jwks": issuer.jwks().decode(), "signals": {}}
    provider = provider_from_table("google", given, own_issuer="https://me.example")
    sets = KeySets({"google": provider.key_source}, fetch=_no_fetch, clock=FakeClock())
    made = Verifier({"google": provider}, sets, own_issuer="https://me.example")
    subject = {"subject_type": "iss-sub", "iss": google.url, "sub": "7375626A656374"}
    event = {"subject": subject, "reason": "hijacking"}
    token = secevent(
        google, NOW, "", typ="JWT", sub_id=None, aud=["x", "app"], events={RISC + "account-disabled": event}
    )
    signal = await EventVerifier(lambda: made).verify("google", Delivery.SECEVENT, Secret(token), now=NOW)
    assert identities_of(provider, signal.events[0].subjects) == (Identity("google", "7375626A656374"),)

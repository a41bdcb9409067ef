"""A verifier with providers as operators configure them, and a real key."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.fakes import FakeClock
from tests.issuer import Issuer

from tokenmint.config.providers import provider_from_table
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ID_TOKEN, VerifiedToken
from tokenmint.verification.key_source import FetchFailed, FetchResult, KeySource
from tokenmint.verification.keyset import KeySets
from tokenmint.verification.provider import Provider
from tokenmint.verification.verifier import Verifier

NOW = 1_800_000_000.0
IDP = Issuer()
ME = "https://me.example"


async def no_fetch(source: KeySource, url: str, *, etag: str | None) -> FetchResult:
    raise FetchFailed("nothing is fetched here")


def verifier_of(*providers: Provider) -> Verifier:
    sets = KeySets({provider.name: provider.key_source for provider in providers}, fetch=no_fetch, clock=FakeClock(NOW))
    return Verifier({provider.name: provider for provider in providers}, sets, own_issuer=ME)


def provider(jwks: bytes | None = None, **changes: Any) -> Provider:
    """Any OpenID provider: an issuer and an audience."""
    table = {"issuer": IDP.url, "audiences": ["app"], "jwks": (jwks or IDP.jwks()).decode()}
    return replace(provider_from_table("idp", table, own_issuer=ME), **changes)


def shipped(name: str, jwks: Callable[[], bytes] = IDP.jwks, **table: Any) -> Provider:
    """An entry of the catalogue, with the key of `IDP`."""
    return provider_from_table("p", {"use": name, "jwks": jwks().decode(), **table}, own_issuer=ME)


async def prove(
    token: str, *providers: Provider, kind: str = ID_TOKEN, nonce: str | None = None, now: float = NOW
) -> VerifiedToken:
    return await verifier_of(*(providers or (provider(),))).verify(Secret(token), kind, nonce=nonce, now=now)

"""A token is given out again where exactly it would be minted, and otherwise never."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import pytest
from tests.fakes import FakeEntropy
from tests.unit.formats.test_minter import KEY, SIGNER, grant

from tokenmint.base.errors import CorruptRecord, SignerUnavailable, StoreUnavailable
from tokenmint.formats.format import Kit
from tokenmint.formats.jwt import FORMAT, of_type
from tokenmint.formats.minter import Minter
from tokenmint.formats.reuse import ReuseWindow
from tokenmint.keys.signers.local import LocalSigner
from tokenmint.model.issued import Revocable
from tokenmint.model.policy import Binding, TokenGrant, Transaction


@dataclass
class Service:
    """A minter with a window, and what changes around it."""

    signer: LocalSigner = SIGNER
    revoked: set[str] = field(default_factory=set)
    failure: Exception | None = None

    def __post_init__(self) -> None:
        self.reuse = ReuseWindow(self.is_revoked, entries=3)
        self.minter = Minter(Kit("https://me", lambda _: self.signer, FakeEntropy()), reuse=self.reuse)

    async def is_revoked(self, token: Revocable) -> bool:
        if self.failure is not None:
            raise self.failure
        return bool(self.revoked & {*token.token_ids, token.client_id, token.audience, token.principal})

    async def same(self, first: TokenGrant, second: TokenGrant) -> bool:
        """Tell whether both get one token."""
        one, other = await self.minter.mint(first), await self.minter.mint(second)
        assert (one.token_id == other.token_id) is (one.token.reveal() == other.token.reveal()) is other.reused
        return other.reused


def reusable(later: int = 0, **changes: Any) -> TokenGrant:
    base = grant(reuse_window=5, profile_etag="1", **changes)
    return replace(base, issued_at=base.issued_at + later, expires_at=base.expires_at + later)


@pytest.mark.parametrize(("later", "reused"), [(-1, False), (0, True), (4, True), (5, False), (6, False)])
async def test_every_second_of_the_window(later: int, reused: bool) -> None:
    assert await Service().same(reusable(), reusable(later)) is reused


@pytest.mark.parametrize(("later", "reused"), [(1, True), (2, False)])
async def test_no_token_past_half_its_life_is_given_out(later: int, reused: bool) -> None:
    short = {"expires_at": 1_800_000_004}
    assert await Service().same(reusable(**short), reusable(later, **short)) is reused


async def test_the_answer_says_when_the_token_that_is_given_out_expires() -> None:
    service = Service()
    first, second = await service.minter.mint(reusable()), await service.minter.mint(reusable(3))
    assert second == replace(first, reused=True)


async def test_a_window_begins_with_the_minting_and_not_with_the_last_use() -> None:
    service = Service()
    for later in (0, 3, 4):
        await service.minter.mint(reusable(later))
    assert not (await service.minter.mint(reusable(6))).reused


OTHER: dict[str, Any] = {
    "principal": "bob", "audience": "https://b", "client_id": "other", "scopes": ("a",), "token_type": "urn:x",
    "algorithm": "ES384", "format": of_type("JWT"), "claims": {"email": "b@x"}, "expires_at": 1_800_000_599,
    "max_token_bytes": 8191, "uid": "u", "binding": Binding("k"), "ancestors": ("p",),
    "profile_etag": "2", "reuse_window": 6, "issued_at": 1_799_999_999, "resources": ("https://r",),
}  # fmt: skip
NEVER: dict[str, Any] = {"act": {"sub": "x"}, "actor": "x", "transaction": Transaction()}


def test_every_field_of_a_grant_has_its_row() -> None:
    assert {item.name for item in fields(TokenGrant)} == OTHER.keys() | NEVER.keys()


@pytest.mark.parametrize("name", OTHER)
async def test_a_grant_that_differs_in_one_field_gets_a_token_of_its_own(name: str) -> None:
    service = Service()
    assert not await service.same(reusable(), replace(reusable(), **{name: OTHER[name]}))
    assert len(service.reuse) == 2


@pytest.mark.parametrize("name", ["act", "actor"])
async def test_what_an_actor_asked_for_is_minted_each_time(name: str) -> None:
    acted = replace(reusable(), **{name: NEVER[name]})
    assert not await Service().same(acted, acted)


async def test_what_a_format_does_not_declare_reusable_is_minted_each_time() -> None:
    service = Service()
    once = reusable(format=replace(FORMAT.traits, reusable=False))
    assert not await service.same(once, once)
    assert len(service.reuse) == 0


async def test_without_a_window_each_token_is_new_and_none_is_remembered() -> None:
    service = Service()
    assert not await service.same(grant(), grant())
    assert len(service.reuse) == 0


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, 1.0), (0, False), (None, "null"), ("1", 1)])
async def test_claims_that_only_python_takes_for_equal_are_not(one: object, other: object) -> None:
    assert not await Service().same(reusable(claims={"a": one}), reusable(claims={"a": other}))


async def test_the_order_of_claims_makes_no_difference_and_one_beyond_the_codec_is_minted_anew() -> None:
    service = Service()
    assert await service.same(reusable(claims={"a": 1, "b": 2}), reusable(claims={"b": 2, "a": 1}))
    assert not await service.same(reusable(claims={"a": 2**70}), reusable(claims={"a": 2**70}))


async def test_another_signing_key_ends_it() -> None:
    service = Service()
    await service.minter.mint(reusable())
    service.signer = LocalSigner("kid-2", "ES256", KEY)
    minted = await service.minter.mint(reusable())
    assert (minted.reused, minted.key_id) == (False, "kid-2")


async def test_without_a_signer_nothing_is_given_out() -> None:
    service, gone = Service(), False

    def signer(_: str) -> LocalSigner:
        if gone:
            raise SignerUnavailable()
        return SIGNER

    minter = Minter(Kit("https://me", signer, FakeEntropy()), reuse=service.reuse)
    await minter.mint(reusable())
    gone = True
    with pytest.raises(SignerUnavailable):
        await minter.mint(reusable())


async def test_a_revoked_token_is_not_given_out_again_and_the_next_one_is() -> None:
    service = Service()
    first = await service.minter.mint(reusable())
    service.revoked.add(first.token_id)
    second = await service.minter.mint(reusable())
    assert not second.reused
    assert (await service.minter.mint(reusable())).token_id == second.token_id


@pytest.mark.parametrize("failure", [StoreUnavailable(), CorruptRecord()])
async def test_where_nobody_can_say_whether_it_was_revoked_a_new_one_is_minted(failure: Exception) -> None:
    service = Service()
    await service.minter.mint(reusable())
    service.failure = failure
    assert not (await service.minter.mint(reusable())).reused


async def test_what_is_remembered_is_bounded() -> None:
    service = Service()
    for number in range(5):
        await service.minter.mint(reusable(principal=f"p{number}"))
    assert len(service.reuse) == 3
    assert (await service.minter.mint(reusable(principal="p4"))).reused
    assert not (await service.minter.mint(reusable(principal="p0"))).reused

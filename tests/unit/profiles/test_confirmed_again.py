"""A change that is requested again is confirmed again: the attempt before may have been made, and not be durable.

A confirmation covers what its own connection wrote, and all before that. So a repeated change has to write.
"""

from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Any, Final

import pytest
from tests.fakes import FakeClock, FakeEntropy
from tests.unconfirmed import confirm_nothing
from tests.unit.profiles.persons import Persons, persons

from tokenmint.base.errors import OutcomeUnknown
from tokenmint.model.issued import IssuedToken
from tokenmint.model.policy import Binding
from tokenmint.model.profile import Identity, Profile
from tokenmint.revocation.entries import Kind
from tokenmint.revocation.log import Reach, RevocationLog
from tokenmint.storage.redis import Store

ADA, OTHER = Identity("idp", "1842"), Identity("google", "7")
NOW: Final = 1_000
Change = Callable[[Persons], Awaitable[Any]]


EXPIRES: Final = NOW + 600
CLAIMS: Final = MappingProxyType({"exp": EXPIRES})
ISSUED: Final = IssuedToken(
    "t1", "ada", "https://orders.example", "web", (), NOW, EXPIRES, Binding(), (), CLAIMS, ""
)  # fmt: skip


async def _revoke_client(people: Persons) -> None:
    log = RevocationLog(people.store, Reach(lambda: NOW, lambda: 3600), most=8)
    await log.append(log.of(Kind.CLIENT, "web", NOW), confirmed=True)


CHANGES: Final[dict[str, Change]] = {
    "update": lambda people: people.profiles.update("ada", disabled=True),
    "delete": lambda people: people.profiles.delete("ada"),
    "link": lambda people: people.profiles.link("ada", OTHER),
    "unlink": lambda people: people.profiles.unlink("ada", ADA),
    "put": lambda people: people.profiles.put(Profile("ada", (ADA,), disabled=True)),
    "mark as erased": lambda people: people.erasures.mark("eve", [OTHER]),
    "seal anew": lambda people: people.erasures.reseal(),
    "revoke a token": lambda people: people.issued.revoke(ISSUED, now=NOW),
    "log a revocation": _revoke_client,
}


@pytest.fixture
def people(store: Store, clock: FakeClock, entropy: FakeEntropy) -> Persons:
    return persons(store, clock, entropy)


async def changes(store: Store) -> int:
    """Return the number of writes that changed the server's data."""
    found: int = (await store.server.client.info("persistence"))["rdb_changes_since_last_save"]
    return found


@pytest.mark.parametrize("name", CHANGES)
async def test_a_repeated_change_writes_and_is_confirmed(people: Persons, name: str) -> None:
    await people.profiles.create(Profile("ada", (ADA,)))
    await people.erasures.mark("zoe", [])  # makes the key
    await CHANGES[name](people)
    before = await changes(people.store)
    await CHANGES[name](people)
    assert await changes(people.store) > before
    confirm_nothing(people.store)
    with pytest.raises(OutcomeUnknown):
        await CHANGES[name](people)

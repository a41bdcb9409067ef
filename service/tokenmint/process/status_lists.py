"""The parts of status lists, if their draft is followed."""

from tokenmint.keys.clock_check import ClockCheck
from tokenmint.keys.signing_keys import SigningKeys
from tokenmint.keys.types import PUBLISHED
from tokenmint.model.drafts import STATUS_LIST
from tokenmint.process.foundation import Foundation
from tokenmint.revocation.follower import Revocations
from tokenmint.status_list.directory import Directory
from tokenmint.status_list.indices import StatusIndices
from tokenmint.status_list.publisher import Signing, StatusLists, Times
from tokenmint.status_list.records import TokenRecords
from tokenmint.storage.redis import Store


def status_lists_of(
    base: Foundation, store: Store, keys: SigningKeys, clocks: ClockCheck, revocations: Revocations
) -> tuple[StatusIndices, StatusLists] | tuple[None, None]:
    """Return the part that gives indices to tokens, and the part that publishes the lists."""
    settings = base.settings
    if STATUS_LIST not in settings.oauth.drafts:
        return None, None
    table = settings.status_lists
    directory = Directory(store, clocks.now, base.entropy, lambda: keys.ring.losses, size=table.size)
    records = TokenRecords(store)
    # The ring publishes a key for as long as tokens live, and a list must not outlive its key.
    valid_for = min(int(table.valid_for), int(keys.schedule.max_lifetime))
    times = Times(ttl=min(int(table.ttl), valid_for), valid_for=valid_for)

    def published(key_id: str) -> bool:
        key = keys.ring.find(key_id)
        return key is not None and key.state in PUBLISHED

    signing = Signing(base.issuer, keys.signer, published, keys.require_serving)
    lists = StatusLists(directory, records, revocations, signing, times, base.clock)
    return StatusIndices(base.issuer, directory, records), lists

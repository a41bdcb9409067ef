"""The stored form of the ring: every version reads rings of earlier ones, so members keep their names."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from tests.unit.keys.rings import Supply, first

from tokenmint.base.errors import CorruptRecord
from tokenmint.keys.jwks_clients import Sighting
from tokenmint.keys.store import dump, parse

KEY_MEMBERS = {
    "key_id", "algorithm", "state", "public_jwk", "create_time", "publish_time", "publish_generation", "signer",
    "sealed", "seal_time", "key_ref", "activate_time", "retire_time", "delete_time", "revoke_time", "revoke_reason",
}  # fmt: skip


def stored(**first_key: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(dump(first(Supply())))
    value["keys"][0] |= first_key
    return value


def test_the_reference_of_a_key_is_read_under_the_name_that_earlier_versions_wrote() -> None:
    value = stored()
    for key in value["keys"]:
        del key["key_ref"]
        key["handle"] = f"arn:{key['key_id']}"
    ring = parse(json.dumps(value).encode())
    assert [key.key_ref for key in ring.keys] == [f"arn:{key.key_id}" for key in ring.keys]
    assert parse(dump(ring)) == ring


def test_stored_members_keep_their_names() -> None:
    """A name that changes makes every ring of an earlier version unreadable, and every older replica refuse."""
    value = stored()
    assert value.keys() == {
        "v", "lineage", "generation", "fence", "max_lifetime", "keys", "losses", "losses_accepted", "disowned"
    }  # fmt: skip
    assert value["keys"][0].keys() == KEY_MEMBERS
    assert asdict(Sighting("::1", "curl", 1, 2.0)).keys() == {"address", "agent", "generation", "time"}


@pytest.mark.parametrize("key", [5, "ab", None, [1], {"key_id": "a"}])
def test_a_key_of_another_form_is_refused(key: object) -> None:
    with pytest.raises(CorruptRecord):
        parse(json.dumps({**stored(), "keys": [key]}).encode())

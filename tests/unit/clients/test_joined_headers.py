"""Several Authorization headers at a service, separate or joined by a gateway: no token of them counts."""

from itertools import product

import pytest

from tokenmint_client import ProtectedResource
from tokenmint_client.refusals import Door, Refusal

PARTS = ("Bearer a.b.c", "bearer x.y.z", "DPoP d.e.f", "Basic dXNlcjpwYXNz", "Negotiate x", "a.b.c", "Bearer", "")
JOINS = (",", ", ", " ,", "\t,\t", ",,")
DOORS = (Door(("read",)), Door(("read",), ProtectedResource("https://api.example", ["https://tokens.example"])))


@pytest.mark.parametrize("door", DOORS, ids=["bearer", "with DPoP"])
def test_of_two_headers_no_token_counts_joined_or_separate(door: Door) -> None:
    for first, second in product(PARTS, repeat=2):
        for values in ([first, second], *([first + join + second] for join in JOINS)):
            with pytest.raises(Refusal) as refused:
                door.presented(values)
            assert refused.value.status in (400, 401), values
            assert "a.b.c" not in str(refused.value.headers)


@pytest.mark.parametrize("door", DOORS, ids=["bearer", "with DPoP"])
def test_one_header_counts(door: Door) -> None:
    assert door.presented(["Bearer a.b.c"]).token == "a.b.c"

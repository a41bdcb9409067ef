"""The answers that the lane's verifiers count as refusals."""

import pytest
from tests.chaos.ledger import Ledger, Minted
from tests.chaos.verifiers import UNKNOWN_KID, JoseVerifier


@pytest.mark.parametrize(
    ("asked", "received", "code", "counted"),
    [
        (103.0, 103.9, UNKNOWN_KID, True),
        (103.0, 104.0, UNKNOWN_KID, False),  # the set came when the token had expired: its key may be gone
        (104.0, 103.0, UNKNOWN_KID, False),
        (104.0, 104.0, "ERR_JWS_SIGNATURE_VERIFICATION_FAILED", True),
    ],
)
def test_a_key_that_is_gone_is_held_against_a_token_that_has_not_expired(
    asked: float, received: float, code: str, counted: bool
) -> None:
    ledger = Ledger()
    token = Minted("token", "kid", "ES256", 100.0, 100.1, 100.0, 104.0)
    answer = {"fetched": 1000 * (received - 0.5), "received": 1000 * received}
    JoseVerifier(ledger)._refuse(token, asked, code, answer)
    assert len(ledger.refusals) == counted


@pytest.mark.parametrize(("asked", "received", "verified"), [(103.0, 103.2, 103.2), (103.2, 103.0, 103.2)])
def test_a_token_that_waited_for_the_key_set_was_verified_when_the_set_came(
    asked: float, received: float, verified: float
) -> None:
    ledger = Ledger()
    token = Minted("token", "kid", "ES256", 100.0, 100.1, 100.0, 104.0)
    answer = {"fetched": 1000 * (received - 0.1), "received": 1000 * received}
    JoseVerifier(ledger)._refuse(token, asked, UNKNOWN_KID, answer)
    assert [(refusal.asked, refusal.received) for refusal in ledger.refusals] == [(verified, received)]

"""Made-up ledgers, from which the judge has to tell what happened."""

from dataclasses import replace

from tests.chaos.ledger import Effect, Failure, Fault, KeyHistory, Ledger, Minted, Refusal
from tests.chaos.plan import IN_FLIGHT, RECONNECT

T = 1_000.0
"""When the key that signed was revoked."""
E = 0.01
"""A little, seconds."""


def key(published: float, activated: float | None = None, **more: float | str | None) -> KeyHistory:
    history = KeyHistory("ES256", published, activated)
    for name, value in more.items():
        setattr(history, name, value)
    return history


def ledger(**keys: KeyHistory) -> Ledger:
    """`old` signed until it was revoked; `new` had been published for a second and took its place at once."""
    known = {"old": key(T - 100, T - 50, revoked=T), "new": key(T - 1, T)}
    return Ledger(began=T - 200, keys=known | keys)


def refused(key_id: str, **changes: float | bool) -> Refusal:
    """A refusal for want of the key, by a set that was fetched a moment before."""
    asked = float(changes.pop("asked", T + 1))
    plain = Refusal("somebody", key_id, asked, "unknown kid", True, fetched=asked - 0.02, received=asked - 0.01)
    return replace(plain, **changes)  # type: ignore[arg-type]  # the fields are those of the row


STORE = Fault("store paused", T, T + 2)
BACK = STORE.ended + RECONNECT + IN_FLIGHT
WORKER = Fault("worker killed", T, T + 0.1, replica=1, effect=Effect.KILLED)


def failed(started: float, method: str = "ExchangeToken", code: str = "UNAVAILABLE", **more: object) -> Failure:
    plain = Failure(method, 1, started, started + E / 2, code, "", "ES256")
    return replace(plain, **more)  # type: ignore[arg-type]  # the fields are those of the row


def a(
    reason: str, started: float = T + 1, method: str = "ExchangeToken", code: str = "UNAVAILABLE", **more: object
) -> Failure:
    return failed(started, method, code, reason=reason, **more)


def signed(key_id: str, started: float) -> Minted:
    return Minted("token", key_id, "ES256", started, started + E, float(int(started)), started + 4)

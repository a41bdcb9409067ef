"""Tokens with events, as providers send them."""

import json
from itertools import count
from typing import Any

from tests.issuer import Issuer

RISC, CAEP, SSF = (f"https://schemas.openid.net/secevent/{family}/event-type/" for family in ("risc", "caep", "ssf"))
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"
SECEVENT = {"Content-Type": "application/secevent+jwt"}
_NUMBERS = count()


def once() -> str:
    """Return a `jti` that no other token has."""
    return f"event-{next(_NUMBERS)}"


def of(issuer: Issuer, subject: str = "1842") -> dict[str, Any]:
    """Return the identifier of a user of a provider (RFC 9493 section 3.2.3)."""
    return {"format": "iss_sub", "iss": issuer.url, "sub": subject}


def secevent(issuer: Issuer, now: float, event: str, subject: Any = None, typ: str | None = "secevent+jwt",
             **changes: Any) -> str:  # fmt: skip
    """Return a security event token with one event; a change to None removes a claim."""
    claims = {
        "jti": once(), "sub": None, "exp": None, "sub_id": of(issuer) if subject is None else subject,
        "events": {event: {"event_timestamp": int(now)}},
    }  # fmt: skip
    return issuer.token(now, headers={"typ": typ}, **(claims | changes))


def logout_token(issuer: Issuer, now: float, typ: str | None = "logout+jwt", **changes: Any) -> str:
    """Return a logout token (Back-Channel Logout 1.0 section 2.4)."""
    return issuer.token(now, headers={"typ": typ}, **({"jti": once(), "sid": "s1", "events": {LOGOUT: {}}} | changes))


def apple(issuer: Issuer, now: float, kind: str, subject: str = "1842", **changes: Any) -> str:
    """Return a notification of Sign in with Apple; its events are a text."""
    event = {"type": kind, "sub": subject, "event_time": int(now * 1000)}
    return issuer.token(
        now, headers={"typ": None}, **({"sub": None, "jti": once(), "events": json.dumps(event)} | changes)
    )

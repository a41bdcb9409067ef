"""How each refusal that the guide to other domains names is brought about."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from tests import plain_http
from tests.guide_settings import grant, id_jag
from tests.guides import Provocation, Walk, config, told
from tests.issuer import Issuer
from tests.process import CLIENT

BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CHAINING: Final = ', "draft-ietf-oauth-identity-chaining-17"'
ORDERS: Final = "https://orders.example.com"
Maker = Callable[..., str]
"""Signs a grant at a time, with changed claims."""


def sent(make: Maker, *, times: int = 1, audience: str = ORDERS, **claims: Any) -> Provocation:
    """Return what sends a grant of these claims as the grant `jwt-bearer`, and says how the last answer reads."""

    def provoke(walk: Walk) -> str:
        assert walk.service is not None
        form = {
            "grant_type": BEARER, "assertion": make(walk.issuer, time.time(), **claims), "audience": audience,
            "client_id": "web", "client_secret": CLIENT.reveal(),
        }  # fmt: skip
        for _ in range(times):
            answer = plain_http.post(f"http://{walk.service.listen['http']}/oauth2/token", data=form)
        assert answer.status_code >= 400, "it was accepted"
        said = answer.json()
        return f"{answer.status_code} {said['error']}: {said['error_description']} ({said['reason']})"

    return provoke


def as_an_id_token(walk: Walk) -> str:
    """Exchange an ID-JAG under another kind's name."""
    return told(walk, f"tokenmint token exchange --audience {ORDERS} --token-file id-jag.txt")


def id_token(issuer: Issuer, now: float, **claims: Any) -> str:
    """Sign a user's ID token, in the place of a grant."""
    return grant(issuer, now, iss="https://login.partner.example", aud="web-app", sub="1842", **claims)


DOMAINS: Final[Sequence[Provocation]] = (
    sent(id_jag, times=2),
    sent(id_jag, client_id="client-1"),
    sent(id_jag, aud="https://tokens.example.com/oauth2/token"),
    sent(id_jag, resource="https://other.example.com"),
    sent(id_jag, sub="7"),
    sent(id_jag, audience="https://as.chat.example", resource=None),
    sent(id_token),
    sent(grant, iss="https://as.unknown.example"),
    as_an_id_token,
    config(CHAINING, ""),
    config('token_types = ["jwt_grant"]', 'token_types = ["jwt-grant"]'),
    config('clients = { web = "client-1" }                  # the id that `web` has there', "clients = {}"),
    config('{ web = "client-2" }', '{ web = "" }'),
)

"""How each refusal that the guide to signals names is brought about."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from tests import plain_http
from tests.guide_settings import PARTNER
from tests.guides import Provocation, Walk, config
from tests.issuer import Issuer, rsa_key
from tests.signals import CAEP, logout_token, secevent


def signal(media_type: str = "application/secevent+jwt", issuer: Issuer | None = None, **claims: Any) -> Provocation:
    """Return what pushes a security event token, and says what its answer does in one line."""

    def provoke(walk: Walk) -> str:
        sender = replace(issuer or walk.issuer, url=PARTNER["iss"])
        given = {"aud": PARTNER["aud"], **claims}
        return _pushed(walk, secevent(sender, time.time(), CAEP + "risk-level-change", **given), media_type)

    return provoke


def _pushed(walk: Walk, text: str, media_type: str) -> str:
    assert walk.service is not None
    url = f"http://{walk.service.listen['http']}/signals/partner"
    answer = plain_http.post(url, content=text, headers={"Content-Type": media_type})
    if answer.status_code < 300:
        return ""
    said = answer.json()
    return f"{said.get('err') or said['error']}: {said.get('description') or said['error_description']}"


def forged_signal(walk: Walk) -> str:
    """Push a token that another key signed."""
    return signal(issuer=Issuer(key=rsa_key(5)))(walk)


def signal_of_one_id(walk: Walk) -> str:
    """Push two tokens with one id."""
    assert signal(jti="one-id")(walk) == ""
    return signal(jti="one-id", txn="2")(walk)


def logout_without_a_subject(walk: Walk) -> str:
    """Send a logout token about a session alone."""
    sender = replace(walk.issuer, url=PARTNER["iss"])
    text = logout_token(sender, time.time(), aud=PARTNER["aud"], sub=None)
    return _pushed(walk, f"logout_token={text}", "application/x-www-form-urlencoded")


def signals_beyond_the_rate(walk: Walk) -> str:
    """Push more than the rate allows at once.

    A process that waits too long for the store counts a call by itself. So each of the two counts lets one signal pass.
    """
    line = "[providers.partner.signals]\n"
    text = walk.configuration()
    assert line in text
    walk.serve(text=text.replace(line, line + "rate = { per_second = 0.001, burst = 1 }\n"))
    assert signal()(walk) == ""
    return next(filter(None, (signal()(walk) for _ in range(2))), "")


SIGNALS: Final[Sequence[Provocation]] = (
    signal(iss="https://login.partner.example/"),
    signal(aud="other"),
    forged_signal,
    signal(typ="JWT"),
    signal_of_one_id,
    signal(iat=1_000_000_000),
    signal(media_type="text/plain"),
    logout_without_a_subject,
    signals_beyond_the_rate,
    config('account-enabled = "ignore"', 'acount-enabled = "ignore"'),
)

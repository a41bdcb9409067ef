"""Relying parties outside: the documented limits of services that verify our tokens (``parties/*.toml``), and a check
of audiences against them.

An audience names its one as `relying_party`. The limits are others' and change without us, so what is beyond them gives
a warning; only a kind of token that no such service verifies is refused.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Final

from pydantic import Field

from tokenmint.base.config_values import Seconds, Table, TextList, TextSet
from tokenmint.base.durations import spoken
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.key_path import key_path
from tokenmint.config.suggestions import did_you_mean
from tokenmint.config.tables import AudienceTable, File
from tokenmint.formats import jwt
from tokenmint.keys.schedule import DAY, Schedule
from tokenmint.model.policy import Audience

UPLOAD: Final = 7 * DAY
"""Seconds in which a person uploads a key set: between the publication of a key and its first signature."""
ALWAYS: Final = frozenset({"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id"})
"""The claims of every JWT of ours."""
_PARTIES: Final = resources.files("tokenmint.config") / "parties"


class Documentation(Table):
    """The sources of an entry."""

    about: str
    pages: TextList
    looked_at: str


class RelyingParty(Table):
    """A service that verifies our tokens, as it documents itself. A missing limit is not documented."""

    title: str
    algorithms: TextSet = frozenset()
    """The `alg` that it accepts; empty: not documented."""
    audience: str
    """A pattern of its `aud`."""
    audience_help: str
    max_issuer: int | None = None
    """Characters of the issuer."""
    issuer_port: bool = True
    """Whether the issuer's URL may have a port."""
    min_subject: int = 1
    max_subject: int | None = None
    """Bytes of `sub`."""
    max_token: int | None = None
    """Bytes of a token."""
    max_lifetime: Seconds | None = None
    """The longest time between `iat` and `exp`."""
    claims: TextSet
    """The claims that it needs."""
    jti_once: bool = False
    """Whether it accepts a `jti` only once."""
    key_cache: Seconds | None = None
    """The time for which it may keep a fetched key set; None: it fetches again for a key that it does not know."""
    uploads: bool = False
    """Whether it also takes a key set that is uploaded."""
    documentation: Documentation = Field(repr=False)


def names() -> list[str]:
    """Return the names of all entries."""
    return sorted(file.name.removesuffix(".toml") for file in _PARTIES.iterdir() if file.name.endswith(".toml"))


def entry(name: str) -> RelyingParty:
    """Return an entry. ``name`` is one of :func:`names`."""
    return RelyingParty.model_validate(tomllib.loads((_PARTIES / f"{name}.toml").read_text(encoding="utf-8")))


def judge(
    file: File,
    audiences: Mapping[str, Audience],
    schedule: Schedule,
    problems: list[str],
    parties: Mapping[str, RelyingParty] | None = None,
) -> list[str]:
    """Return the warnings of all audiences that name a relying party.

    Args:
        problems: receives the problems.
        parties: the entries; None for the shipped ones.
    """
    warnings: list[str] = []
    used = {name: table for name, table in file.audiences.items() if table.relying_party is not None}
    known = list(parties) if parties is not None else names() if used else []
    for name, table in used.items():
        chosen = table.relying_party or ""
        path = key_path("audiences", name)
        if chosen not in known:
            meant = did_you_mean(chosen, known)
            problems.append(f"{path}.relying_party: there is none{meant}: expected one of {', '.join(known)}")
            continue
        party = parties[chosen] if parties is not None else entry(chosen)
        form = audiences[name].format.name
        if form != jwt.FORMAT.traits.name:
            problems.append(f"{path}.relying_party: {party.title} verifies JWTs, and [{form}] mints others")
            continue
        warnings += [f"{path}.{text}" for text in _of_tokens(name, table, audiences[name], party)]
        warnings += [f"{path}.{text}" for text in _of_keys(table, schedule, party)]
        warnings += [f"{path}.relying_party: {text}" for text in _of_issuer(file.issuer, party)]
    return warnings


def _of_tokens(name: str, table: AudienceTable, audience: Audience, party: RelyingParty) -> Iterator[str]:
    title = party.title
    if re.fullmatch(party.audience, name) is None:
        yield f"relying_party: {title} expects another audience: {party.audience_help}"
    if party.algorithms and audience.algorithm not in party.algorithms:
        yield f"algorithm: {title} accepts {', '.join(sorted(party.algorithms))}, not {audience.algorithm}"
    if party.max_lifetime is not None and audience.max_lifetime > party.max_lifetime:
        yield (
            f"max_lifetime: {title} accepts tokens that live {spoken(party.max_lifetime)} at most, and a request may "
            f"get {spoken(audience.max_lifetime)}"
        )
    if party.max_token is not None and audience.max_token_bytes > party.max_token:
        yield f"max_token_bytes: {title} accepts tokens of {party.max_token} bytes at most"
    if missing := party.claims - ALWAYS - table.claims.keys():
        yield f"claims: {title} needs {', '.join(sorted(missing))}"
    if audience.bound is not None:
        yield f"bound: {title} does not check the binding (cnf): there a stolen token works"
    if party.jti_once and audience.reuse_window:
        yield f"reuse_window: {title} accepts a jti once, and here a token is given out again"


def _of_keys(table: AudienceTable, schedule: Schedule, party: RelyingParty) -> Iterator[str]:
    ahead = schedule.ahead
    if table.relying_party_keys == "uploaded":
        if not party.uploads:
            yield f"relying_party_keys: {party.title} documents no uploaded key sets: it fetches them"
        if ahead < UPLOAD:
            yield (
                "relying_party_keys: an uploaded key set is a snapshot, and the next key is published only "
                f"{spoken(ahead)} before it signs: set keys.publish_ahead to {UPLOAD / DAY:.0f}d at least, and upload "
                "again in that time, at every rotation"
            )
    elif party.key_cache is not None:
        least = schedule.replica_lag + max(schedule.max_age, party.key_cache) + schedule.skew
        if ahead < least:
            kept = f"{party.key_cache / 3600:g}h"
            yield (
                f"relying_party: {party.title} may keep a key set for {kept}, and the next key is published only "
                f"{spoken(ahead)} before it signs: set keys.verifier_cache to {kept} at least"
            )


def _of_issuer(issuer: str | None, party: RelyingParty) -> Iterator[str]:
    if issuer is None:
        yield f"{party.title} fetches the keys from issuer, which is not set"
        return
    try:
        url = HttpUrl.parse(issuer)
    except BadUrl:
        return  # it is a problem already
    if url.scheme != "https":
        yield f"{party.title} fetches keys over https, and issuer is http"
    if not party.issuer_port and re.search(r":\d+$", issuer.partition("://")[2].partition("/")[0]):
        yield f"{party.title} accepts no issuer with a port"
    if party.max_issuer is not None and len(issuer) > party.max_issuer:
        yield f"{party.title} accepts an issuer of {party.max_issuer} characters at most"

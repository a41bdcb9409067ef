"""The rules for the signals of a provider, from its table of the configuration and its shipped entry."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.config.entries import Entry, ProviderTable
from tokenmint.config.provider_requests import Problem
from tokenmint.config.signals_table import SignalsTable
from tokenmint.config.suggestions import did_you_mean
from tokenmint.model.signals import Action, Delivery, Poll, SignalRules
from tokenmint.verification.event_types import DEFAULT_ACTIONS, OF_STREAMS, SHORT_NAMES, types_named
from tokenmint.verification.source_files import secret_file
from tokenmint.verification.subject_identifiers import ONE_VALUE

T = TypeVar("T")
_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})")
_FORMATS: Final = MappingProxyType({"email": "email", "phone_number": "phone_number"})
"""Formats whose value is a standard claim of the same meaning. It counts only if that claim names the principal."""
_TOKEN_FILE: Final = "token_file"  # noqa: S105  # a setting's name


def signal_rules(
    table: ProviderTable, entry: Entry, issuers: Mapping[str, object], audiences: frozenset[str]
) -> tuple[SignalRules | None, list[Problem]]:
    """Return the rules for a provider's signals, None if it has none, and the problems of the table.

    Args:
        issuers: the provider's own.
        audiences: the same.
    """
    given = table.signals
    if given is None:
        return None, []
    shipped = entry.signals or SignalsTable()
    deliveries = _first(given.deliveries, shipped.deliveries, frozenset({"secevent", "logout"}))
    accepted = _first(given.issuers, shipped.issuers, frozenset(issuers))
    rules = SignalRules(
        deliveries=frozenset(Delivery(one) for one in deliveries if one in set(Delivery)),
        issuers=accepted,
        audiences=_first(given.audiences, shipped.audiences, audiences),
        actions=MappingProxyType(_actions(given)),
        untyped=_first(given.untyped, shipped.untyped, False),  # the default
        subject_formats=MappingProxyType({**_FORMATS, **given.subjects}),
        max_age=_first(given.max_age, shipped.max_age, 7 * 86400.0),
        rate=(given.rate.per_second, given.rate.burst),
        peer_rate=(given.peer_rate.per_second, given.peer_rate.burst),
        push_secrets=tuple(match[1] for one in given.push_secrets if (match := _HASH.fullmatch(one))),
        transmitter=given.transmitter or (next(iter(accepted)) if len(accepted) == 1 else ""),
        token_file=Path(given.token_file) if given.token_file else None,
        poll=Poll(given.poll.url, given.poll.interval, given.poll.max_events) if given.poll is not None else None,
    )
    return rules, list(_problems(table, given, deliveries, rules))


def _first(given: T | None, shipped: T | None, default: T) -> T:
    return given if given is not None else shipped if shipped is not None else default


def _actions(table: SignalsTable) -> dict[str, Action]:
    actions = dict(DEFAULT_ACTIONS)
    for name, action in table.events.items():
        if action in set(Action):
            actions |= dict.fromkeys(types_named(name), Action(action))
    return actions


def _problems(
    table: ProviderTable, given: SignalsTable, deliveries: frozenset[str], rules: SignalRules
) -> Iterator[Problem]:
    names = sorted({SHORT_NAMES[uri] for uri in DEFAULT_ACTIONS})
    if not deliveries or not deliveries <= set(Delivery):
        yield "signals.deliveries", f"expected some of {', '.join(Delivery)}"
    if not rules.issuers or not all(rules.issuers):
        yield "signals.issuers", "is required for a provider without an issuer: the exact `iss` of its event tokens"
    if not rules.audiences or not all(rules.audiences):
        yield "signals.audiences", "is required: the audiences that its event tokens are issued for"
    for name, action in given.events.items():
        if name in OF_STREAMS or not types_named(name):
            yield "signals.events", f"there is no such type of event, and no URI{did_you_mean(name, names)}"
        elif action not in set(Action):
            yield "signals.events", f"{name}: expected one of {', '.join(Action)}{did_you_mean(action, list(Action))}"
    for kind, claim in given.subjects.items():
        if kind not in ONE_VALUE or not claim or claim in ("iss", "aud"):
            yield "signals.subjects", f"expected names of claims by some of the formats {', '.join(sorted(ONE_VALUE))}"
    if len(rules.push_secrets) < len(given.push_secrets):
        yield "signals.push_secrets", 'expected "sha256:" and 64 hexadecimal digits: the hash of the bearer token'
    yield from _problems_of_requests(table, given)


def _problems_of_requests(table: ProviderTable, given: SignalsTable) -> Iterator[Problem]:
    for key, url in (("signals.transmitter", given.transmitter), ("signals.poll.url", given.poll and given.poll.url)):
        if url:
            try:
                parts = HttpUrl.parse(url)
            except BadUrl as error:
                yield key, str(error)
                continue
            if parts.scheme == "http" and not (table.allow_private and parts.is_loopback):
                yield key, "expected https (http only on loopback, with allow_private = true)"
    if given.token_file:
        try:
            secret_file(_TOKEN_FILE, Path(given.token_file))
        except ConfigurationError as error:
            yield f"signals.{_TOKEN_FILE}", error.message.partition(": ")[2]
    if given.poll is not None and not given.token_file:
        yield f"signals.{_TOKEN_FILE}", "is required with poll: the bearer token that authenticates polls"

"""The documents that the console shows, from the parts of the service. Each is bounded in its number of parts."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

import orjson

from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.base.readiness import Readiness
from tokenmint.base.remedies import Remedy, segments
from tokenmint.keys.jwks_clients import KnownVerifier
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.timeline import Life, Timeline, life_of, timeline
from tokenmint.keys.types import PUBLISHED, KeyRing, KeyState
from tokenmint.model.policy import Audience, Client
from tokenmint.policy.targets import grantable
from tokenmint.verification.keyset import KeySets
from tokenmint.verification.provider import Provider

Document = dict[str, Any]
T = TypeVar("T")

MOST_KEYS_GONE: Final = 4
"""Keys that have left the key set, the newest first. All of them would shrink the present to a line."""
MOST_VERIFIERS: Final = 100
MOST_REPLICAS: Final = 200
MOST_PROVIDERS: Final = 300
MOST_AUDIENCES: Final = 150
MOST_CLIENTS: Final = 150
MOST_NAMES: Final = 50
MOST_ACCESS: Final = 800 * 1024
"""Bytes of the audiences' rules; further audiences are counted."""


def some(items: Iterable[T], most: int) -> tuple[list[T], int]:
    """Return the first items, and the number of those that are left out."""
    listed = list(items)
    return listed[:most], max(0, len(listed) - most)


# --- keys ---------------------------------------------------------------------------------------------------------


def keys(
    ring: KeyRing, schedule: Schedule, replicas: Mapping[str, int], verifiers: Sequence[KnownVerifier], now: float
) -> Document:
    """Return the keys on their time axis, the changes to come, and the parties that lack a prepared key."""
    lives = [life_of(key, schedule, ring) for key in ring.keys]
    shown = [life for life in lives if life.state in PUBLISHED]
    gone = sorted((life for life in lives if life.state not in PUBLISHED), key=_end_of, reverse=True)
    order = {KeyState.PREPARED: 0, KeyState.ACTIVE: 1, KeyState.RETIRING: 2}
    shown.sort(key=lambda life: (life.algorithm, order[life.state], -life.published))
    picture = timeline([*shown, *gone[:MOST_KEYS_GONE]], now)
    prepared = [key for key in ring.keys if key.state is KeyState.PREPARED]
    lagging = {
        name: generation
        for name, generation in sorted(replicas.items())
        if any(key.publish_generation > generation for key in prepared)
    }
    behind, more = some((one for one in verifiers if one.missing), MOST_VERIFIERS)
    return _picture(picture) | {
        "gone": max(0, len(gone) - MOST_KEYS_GONE),
        "generation": ring.generation,
        "replicas": len(replicas),
        "verifiers": len(verifiers),
        "replicas_behind": [
            {"replica": clipped(name), "generation": generation}
            for name, generation in islice(lagging.items(), MOST_REPLICAS)
        ],
        "verifiers_behind": [
            {
                "address": one.sighting.address,
                "agent": one.sighting.agent,
                "fetched": one.sighting.time,
                "missing": list(one.missing[:MOST_NAMES]),
            }
            for one in behind
        ],
        "verifiers_behind_more": more,
        "prepared": [key.key_id for key in prepared],
    }


def _end_of(life: Life) -> float:
    return life.deleted or life.revoked or 0.0


def _picture(picture: Timeline) -> Document:
    return {
        "now": picture.now,
        "begin": picture.begin,
        "end": picture.end,
        "ticks": list(picture.ticks),
        "rows": [
            {
                "key_id": row.life.key_id,
                "algorithm": row.life.algorithm,
                "state": row.life.state,
                "spans": [
                    {"state": span.state, "begin": span.begin, "end": span.end, "planned": span.planned}
                    for span in row.spans
                ],
            }
            for row in picture.rows
        ],
        "coming": [{"time": change.time, "key_id": change.key_id, "to": change.to} for change in picture.coming],
    }


# --- health -------------------------------------------------------------------------------------------------------


def health(
    providers: Mapping[str, Provider],
    key_sets: KeySets,
    replicas: Mapping[str, int],
    generation: int,
    readiness: Readiness,
    now: float,
) -> Document:
    """Return the state of the providers' keys, of the replicas, and of this process."""
    listed, more = some(sorted(providers), MOST_PROVIDERS)
    others, more_replicas = some(sorted(replicas.items()), MOST_REPLICAS)
    return {
        "now": now,
        "providers": [_provider(providers[name], key_sets) for name in listed],
        "providers_more": more,
        "generation": generation,
        "replicas": [
            {"replica": clipped(name), "generation": number, "current": number >= generation} for name, number in others
        ],
        "replicas_more": more_replicas,
        "problems": _faults(readiness.problems()),
        "details": _faults(readiness.details()),
    }


def _provider(provider: Provider, key_sets: KeySets) -> Document:
    status = key_sets.status(provider.name)
    ready = key_sets.ready(provider.name)
    state = "failing" if not ready else "stale" if status.last_error else "good"
    return {
        "name": provider.name,
        "issuer": clipped(" ".join(sorted(provider.issuers)), LONG),
        "state": state,
        "keys": len(status.key_ids),
        "skipped": len(status.skipped),
        "source": clipped(status.source, LONG),
        "fetched": status.fetch_time,
        "fresh_until": status.fresh_until,
        "trusted_until": status.trusted_until,
        "error": clipped(status.last_error, LONG),
        "error_time": status.last_error_time,
    }


def _faults(faults: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"subject": subject, "text": clipped(text, 4 * LONG)} for subject, text in faults.items()]


# --- access -------------------------------------------------------------------------------------------------------


def access(audiences: Mapping[str, Audience], clients: Mapping[str, Client]) -> Document:
    """Return which client may have tokens of which audience, by which providers' tokens, and with which actors."""
    rows, more_clients = some(sorted(clients), MOST_CLIENTS)
    columns = {name: clients[name] for name in rows}
    shown: list[Document] = []
    size = 0
    for name in sorted(audiences)[:MOST_AUDIENCES]:
        made = _audience(audiences[name], columns)
        size += len(orjson.dumps(made))
        if size > MOST_ACCESS:
            break
        shown.append(made)
    return {
        "clients": [{"id": name, "public": clients[name].public} for name in rows],
        "clients_more": more_clients,
        "audiences": shown,
        "audiences_more": len(audiences) - len(shown),
    }


def _audience(audience: Audience, clients: Mapping[str, Client]) -> Document:
    actors = audience.actors
    return {
        "name": clipped(audience.name, LONG),
        "format": audience.format.name,
        "clients": {
            name: clipped(" ".join(sorted(grantable(client, audience))), LONG)
            for name, client in clients.items()
            if name in audience.clients and (audience.public_clients or not client.public)
        },
        "providers": _names(audience.providers),
        "reexchange_from": _names(audience.reexchange_from),
        "actors": None
        if actors is None
        else {
            "providers": _names(actors.providers),
            "audiences": _names(actors.audiences),
            "impersonation": actors.impersonation,
            "without_may_act": actors.without_may_act,
        },
        "condition": clipped(audience.condition or "", LONG),
        "single_use": audience.single_use,
        "bound": audience.bound,
        "on_missing_profile": audience.on_missing_profile,
        "lifetime": audience.lifetime,
        "max_lifetime": audience.max_lifetime,
    }


def _names(names: Iterable[str]) -> list[str]:
    return [clipped(name, LONG) for name in sorted(names)[:MOST_NAMES]]


# --- remedies -----------------------------------------------------------------------------------------------------


def remedy(one: Remedy | None) -> Document | None:
    """Return a remedy as segments of text, so that no reader has to interpret Markdown."""
    if one is None:
        return None
    return {"section": one.section, "retry": one.retry, "segments": segments(one.text)}

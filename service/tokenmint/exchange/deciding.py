"""The keys of the configuration that decide a step of an exchange, for the explanation of a refusal."""

from collections.abc import Callable, Mapping
from typing import Final

from tokenmint.base.key_path import key_path
from tokenmint.exchange.explain import Step

Names = Mapping[str, str]
"""The names that paths are made with: `client`, `audience`, `provider`."""

_AUDIENCE: Final = "audiences"
_PROVIDER: Final = "providers"
_CLIENT: Final = "clients"
_KEYS_OF: Final = ("jwks_url", "jwks_file", "jwks", "discovery_url", "issuer", "use")

_BY_STEP: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "policy.client": ((_AUDIENCE, "clients"), (_AUDIENCE, "public_clients")),
    "assertion.form": (("limits", "token_bytes"),),
    "assertion.issuer": ((_PROVIDER, "issuer"), (_PROVIDER, "where"), (_PROVIDER, "use")),
    "assertion.kind": ((_PROVIDER, "token_types"), (_PROVIDER, "use")),
    "assertion.signature": tuple((_PROVIDER, key) for key in _KEYS_OF),
    "assertion.times": ((_PROVIDER, "skew"), (_PROVIDER, "max_age")),
    "assertion.audience": ((_PROVIDER, "audiences"), (_PROVIDER, "audience_claims")),
    "assertion.claims": ((_PROVIDER, "checks"), (_PROVIDER, "use")),
    "assertion.user": ((_PROVIDER, "users"), (_PROVIDER, "use")),
    "policy.provider": ((_AUDIENCE, "providers"),),
    "policy.actor": ((_AUDIENCE, "actors"),),
    "policy.own_token": ((_CLIENT, "serves"),),
    "profile.missing": ((_AUDIENCE, "on_missing_profile"),),
    "policy.decision": ((_AUDIENCE, "condition"),),
    "minting.signer": ((_AUDIENCE, "algorithm"),),
    "replay.unclaimed": ((_AUDIENCE, "single_use"), (_PROVIDER, "single_use")),
}
"""The deciding keys of each step: table and key, the most likely first."""
_BY_REASON: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "SCOPE_DENIED": ((_CLIENT, "scopes"), (_AUDIENCE, "scopes")),
    "LIFETIME_DENIED": ((_AUDIENCE, "max_lifetime"),),
    "FORMAT_DENIED": ((_AUDIENCE, "token_type"),),
    "ACTOR_DENIED": ((_AUDIENCE, "actors"),),
    "CONFIRMATION_DENIED": ((_AUDIENCE, "bound"),),
    "REEXCHANGE_DENIED": ((_AUDIENCE, "reexchange_from"), (_CLIENT, "serves")),
    "ALGORITHM_NOT_ALLOWED": ((_PROVIDER, "algorithms"), (_PROVIDER, "use")),
    "TOO_OLD": ((_PROVIDER, "max_age"),),
    "WRONG_AUDIENCE": ((_PROVIDER, "audiences"), (_PROVIDER, "audience_claims")),
    "PRINCIPAL_UNKNOWN": ((_AUDIENCE, "on_missing_profile"),),
}
"""The deciding keys of reasons that several steps have, or for which a step has others."""
_NONE: Final = frozenset({"MALFORMED", "PRINCIPAL_DISABLED", "REVOKED", "WRONG_NONCE"})
"""Reasons that no key decides: the token, the profile or the request does."""


def deciding_keys(step: Step, names: Names, is_written: Callable[[str], bool]) -> list[str]:
    """Return the paths of the keys that decide a failed step: those that the configuration has.

    If it has none of them, a default decides: then the first one is returned, behind its table.

    Args:
        step: the step that ended the exchange.
        names: the names of the client, the audience and the provider; "" for none.
        is_written: returns whether the configuration has a key.
    """
    if step.reason in _NONE:
        return []
    if step.reason == "CONDITION_DENIED":
        table = _PROVIDER if step.name != "policy.decision" else _AUDIENCE
        pairs: tuple[tuple[str, ...], ...] = ((table, "condition"),)
    else:
        pairs = _BY_REASON.get(step.reason) or _BY_STEP.get(step.name.removeprefix("actor."), ())
    tables = {_AUDIENCE: names["audience"], _PROVIDER: names["provider"], _CLIENT: names["client"]}
    paths = []
    for table, key in pairs:
        if table not in tables:
            paths.append(key_path(table, key))
        elif not tables[table] or not is_written(key_path(table, tables[table])):
            return [table]  # there is no such table: that decides
        else:
            paths.append(key_path(table, tables[table], key))
    written = [path for path in paths if is_written(path)]
    if written or not paths:
        return written
    parent = paths[0].rpartition(".")[0]
    return [path for path in (parent, paths[0]) if path]

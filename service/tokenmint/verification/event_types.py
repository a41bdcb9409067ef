"""The known types of events: their URIs, short names, and default actions.

Sources: RISC 1.0 section 2, CAEP 1.0 section 3, Shared Signals Framework 1.0 sections 8.1.4 and 8.1.5, Back-Channel
Logout 1.0 section 2.4, Google's Cross-Account Protection, and Apple's notifications.
"""

from types import MappingProxyType
from typing import Final

from tokenmint.model.signals import Action

_SECEVENT: Final = "https://schemas.openid.net/secevent/"
RISC: Final = _SECEVENT + "risc/event-type/"
CAEP: Final = _SECEVENT + "caep/event-type/"
SSF: Final = _SECEVENT + "ssf/event-type/"
GOOGLE: Final = _SECEVENT + "oauth/event-type/"
APPLE: Final = "https://appleid.apple.com/event/"
"""Apple's types are no URIs. This prefix is ours, so that no other provider's events have their names."""
LOGOUT: Final = "http://schemas.openid.net/event/backchannel-logout"
VERIFICATION: Final = frozenset({SSF + "verification", RISC + "verification"})
"""A transmitter's answer to a request for a verification event; Google's has the second name."""
STREAM_UPDATED: Final = SSF + "stream-updated"
OF_STREAMS: Final = VERIFICATION | {STREAM_UPDATED}
"""Events about the stream itself."""
OTHER: Final = "(other)"
"""Stands for all types that are not known, in metrics."""

_D, _R, _U, _I = Action.DISABLE, Action.REVOKE, Action.UNLINK, Action.IGNORE
DEFAULT_ACTIONS: Final = MappingProxyType(
    {
        CAEP + "session-revoked": _R,
        CAEP + "credential-change": _R,
        CAEP + "token-claims-change": _I,
        CAEP + "assurance-level-change": _I,
        CAEP + "device-compliance-change": _I,
        CAEP + "session-established": _I,
        CAEP + "session-presented": _I,
        CAEP + "risk-level-change": _I,
        RISC + "account-disabled": _D,
        RISC + "account-purged": _D,
        RISC + "account-enabled": _I,
        RISC + "account-credential-change-required": _R,
        RISC + "credential-compromise": _R,
        RISC + "sessions-revoked": _R,
        RISC + "identifier-changed": _I,
        RISC + "identifier-recycled": _U,
        RISC + "opt-in": _I,
        RISC + "opt-out-initiated": _I,
        RISC + "opt-out-cancelled": _I,
        RISC + "opt-out-effective": _I,
        RISC + "recovery-activated": _I,
        RISC + "recovery-information-changed": _I,
        GOOGLE + "tokens-revoked": _R,
        GOOGLE + "token-revoked": _I,
        APPLE + "account-delete": _D,
        APPLE + "account-deleted": _D,
        APPLE + "consent-revoked": _R,
        APPLE + "email-disabled": _I,
        APPLE + "email-enabled": _I,
        LOGOUT: _R,
    }
)
"""By the URI. The defaults disable an account that is gone, and revoke where somebody else may hold its credentials."""
SHORT_NAMES: Final = MappingProxyType(
    {uri: uri.rpartition("/")[2] for uri in (*DEFAULT_ACTIONS, *sorted(OF_STREAMS), STREAM_UPDATED)}
)
"""The last part of each URI, by which configuration and metrics name the type."""


def short_name(uri: str) -> str:
    """Return the short name of a type; for one that is not known :data:`OTHER`."""
    return SHORT_NAMES.get(uri, OTHER)


def types_named(name: str) -> tuple[str, ...]:
    """Return the types that a key of the configuration names: by a URI, or all those with this short name."""
    if ":" in name:
        return (name,)
    return tuple(uri for uri in DEFAULT_ACTIONS if SHORT_NAMES[uri] == name)

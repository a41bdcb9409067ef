"""The access table: for each method its callers, the cost of a call, and its audit. The gate enforces it.

A method without a row is refused. With its row, a new method is authenticated, limited and audited.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from tokenmint.admission.callers import Role

_V1: Final = "/tokenmint.v1."


class Caller(Enum):
    """Callers without a role."""

    ANYBODY = auto()
    CLIENT = auto()


ANYBODY: Final = Caller.ANYBODY
"""No authentication. Connections, streams and waiting calls are limited, but calls can't be counted per caller."""
CLIENT: Final = Caller.CLIENT
"""Every authenticated client. Policy decides further."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit of a method's calls."""

    kind: str = ""
    """The kind of its events, "exchange" or "admin", each with its own stream; "" for no events."""
    recordable: bool = False
    """Whether a call is refused if its event can't be recorded."""
    refusals_alone: bool = False
    """Whether only refused calls are recorded."""
    before: bool = False
    """Whether a call is also recorded before it changes anything."""
    confirmed: bool = False
    """Whether the change waits until that record is confirmed on disk, which may take a second."""


NOTHING: Final = Audit()
"""For calls without authentication."""
CALLS: Final = Audit("exchange")
"""Each call of a client, recorded at its end."""
MINTING: Final = Audit("exchange", recordable=True)
"""The same for calls that mint tokens."""
REFUSALS: Final = Audit("admin", refusals_alone=True)
"""Operators' read-only calls."""
CHANGES: Final = Audit("admin", before=True, confirmed=True)
"""Operators' changes."""
URGENT_CHANGES: Final = Audit("admin", before=True)
"""Operators' changes for which a delay is worse than the loss of the record together with the disk."""

Cost: TypeAlias = int | Callable[[Any], int]
"""The number of calls that one counts for in the rate limit, or a function that computes it from the request."""


@dataclass(frozen=True, slots=True)
class Row:
    """The rules of one method. A row with an authenticated caller always has a cost and a record.

    Raises:
        ValueError: the columns contradict each other.
    """

    caller: Caller | Role
    """An operator needs exactly the named role; roles do not include each other."""
    cost: Cost = 0
    audit: Audit = NOTHING
    bounded: bool = False
    """Whether a call is refused while the limit of calls in hand (`limits.calls_in_flight`) is reached."""
    served_to_the_end: bool = False
    """Whether a call is served while the process stops, because it tells load balancers of the stop."""

    def __post_init__(self) -> None:
        if self.caller is ANYBODY:
            if self.cost or self.audit.kind:
                raise ValueError("without authentication there is no caller to count or to record")
            return
        if isinstance(self.cost, int) and self.cost < 1:
            raise ValueError("a call of an authenticated caller costs at least 1")
        if self.audit.kind != ("exchange" if self.caller is CLIENT else "admin"):
            raise ValueError(f"{self.audit} does not record calls of {self.caller}")


def _targets(request: Any) -> int:
    return len(request.targets)


_LOOK: Final = Row(Role.VIEWER, 1, REFUSALS)
_CHANGE: Final = Row(Role.OPERATOR, 1, CHANGES)
_EVERYWHERE: Final[Mapping[str, Row]] = {
    "/grpc.health.v1.Health/Check": Row(ANYBODY, served_to_the_end=True),
    "/grpc.health.v1.Health/Watch": Row(ANYBODY, served_to_the_end=True),
    "/grpc.health.v1.Health/List": Row(ANYBODY, served_to_the_end=True),
    # Registered only where the configuration enables it.
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Row(ANYBODY),
}

DATA: Final[Mapping[str, Row]] = MappingProxyType(
    {
        **_EVERYWHERE,
        # Registered only where the configuration enables it. Envoy is a client like any other.
        "/envoy.service.auth.v3.Authorization/Check": Row(CLIENT, 1, MINTING, bounded=True),
        f"{_V1}TokenExchangeService/ExchangeToken": Row(CLIENT, 1, MINTING, bounded=True),
        f"{_V1}TokenExchangeService/BatchExchangeTokens": Row(CLIENT, _targets, MINTING, bounded=True),
        f"{_V1}TokenExchangeService/IntrospectToken": Row(CLIENT, 1, CALLS, bounded=True),
        f"{_V1}TokenExchangeService/RevokeToken": Row(CLIENT, 1, CALLS),
        f"{_V1}KeySetService/GetKeySet": Row(ANYBODY),
        f"{_V1}KeySetService/WatchKeySet": Row(ANYBODY),
        f"{_V1}RevocationService/WatchRevocations": Row(CLIENT, 1, CALLS),
    }
)
"""The data plane's listener."""

OAUTH: Final[Mapping[str, Row]] = MappingProxyType(
    {
        "/oauth2/token": Row(CLIENT, 1, MINTING, bounded=True),
        "/oauth2/introspect": Row(CLIENT, 1, CALLS, bounded=True),
        "/oauth2/revoke": Row(CLIENT, 1, CALLS),
    }
)
"""The public HTTP listener if OAuth is enabled: paths, each for POST. Public documents have no row."""

GATEWAY: Final[Mapping[str, Row]] = MappingProxyType({"/auth": Row(CLIENT, 1, MINTING, bounded=True)})
"""The public HTTP listener if gateways are served: the path, for GET, and below it the configured routes."""
SIGNALS: Final[Mapping[str, Row]] = MappingProxyType({"/signals/{provider}": Row(ANYBODY)})
"""The public HTTP listener, for providers with `signals`. Its senders prove themselves by the signatures of their
tokens. So `signals/receiver.py` counts and records them: each peer before that proof, each provider after it."""

CONSOLE: Final[Mapping[str, Row]] = MappingProxyType(
    {
        "/api/session": _LOOK,
        "/api/keys": _LOOK,
        "/api/exchanges": _LOOK,
        "/api/refusals": _LOOK,
        "/api/health": _LOOK,
        "/api/access": _LOOK,
        "/api/explain": Row(Role.SECURITY, 1, CHANGES),
    }
)
"""The operators' console, if it is served: paths. The page's own files have no row: they hold no data."""

ADMIN: Final[Mapping[str, Row]] = MappingProxyType(
    {
        **_EVERYWHERE,
        # Registered only where the configuration enables it.
        "/grpc.channelz.v1.Channelz/GetTopChannels": _LOOK,
        "/grpc.channelz.v1.Channelz/GetServers": _LOOK,
        "/grpc.channelz.v1.Channelz/GetServer": _LOOK,
        "/grpc.channelz.v1.Channelz/GetServerSockets": _LOOK,
        "/grpc.channelz.v1.Channelz/GetChannel": _LOOK,
        "/grpc.channelz.v1.Channelz/GetSubchannel": _LOOK,
        "/grpc.channelz.v1.Channelz/GetSocket": _LOOK,
        f"{_V1}TokenExchangeService/ExplainExchange": Row(Role.SECURITY, 1, CHANGES),
        f"{_V1}KeyAdminService/ListSigningKeys": _LOOK,
        f"{_V1}KeyAdminService/GetSigningKey": _LOOK,
        f"{_V1}KeyAdminService/PrepareSigningKey": _CHANGE,
        f"{_V1}KeyAdminService/ActivateSigningKey": _CHANGE,
        f"{_V1}KeyAdminService/RotateSigningKey": _CHANGE,
        f"{_V1}KeyAdminService/RevokeSigningKey": Row(Role.SECURITY, 1, URGENT_CHANGES),
        f"{_V1}KeyAdminService/ResealSigningKeys": Row(Role.SECURITY, 1, CHANGES),
        f"{_V1}KeyAdminService/GetKeyRingStatus": _LOOK,
        f"{_V1}ProfileAdminService/GetProfile": _LOOK,
        f"{_V1}ProfileAdminService/ListProfiles": _LOOK,
        f"{_V1}ProfileAdminService/CreateProfile": _CHANGE,
        f"{_V1}ProfileAdminService/UpdateProfile": _CHANGE,
        f"{_V1}ProfileAdminService/DeleteProfile": _CHANGE,
        f"{_V1}ProfileAdminService/LinkIdentity": _CHANGE,
        f"{_V1}ProfileAdminService/UnlinkIdentity": _CHANGE,
        f"{_V1}ProfileAdminService/ImportProfiles": _CHANGE,
        f"{_V1}ProfileAdminService/EraseProfile": Row(Role.SECURITY, 1, CHANGES),
        f"{_V1}ProfileAdminService/RevokePrincipalTokens": Row(Role.SECURITY, 1, CHANGES),
        f"{_V1}RevocationAdminService/RevokeTokens": Row(Role.SECURITY, 1, URGENT_CHANGES),
        f"{_V1}AuditAdminService/ListAuditEvents": _LOOK,
        f"{_V1}ProviderAdminService/ListProviders": _LOOK,
        f"{_V1}ProviderAdminService/GetProvider": _LOOK,
        f"{_V1}ProviderAdminService/RefreshProviderKeys": _CHANGE,
    }
)
"""The operators' listener."""

"""The access table: for each method its callers, what a call costs, how it is recorded. The gate acts on it.

A method without a row is refused. A row is all that a new method needs to be proved, limited and audited.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from tokenmint.admission.callers import Role

_V1: Final = "/tokenmint.v1."


class Caller(Enum):
    """Callers that are not told apart by a role."""

    ANYBODY = auto()
    CLIENT = auto()


ANYBODY: Final = Caller.ANYBODY
"""Nobody is proved. Connections, streams and waiting calls are limited; there is no caller to count calls of."""
CLIENT: Final = Caller.CLIENT
"""Every authenticated client. Policy decides the rest."""


@dataclass(frozen=True, slots=True)
class Audit:
    """How the calls of a method are recorded."""

    kind: str = ""
    """The kind of its events: "exchange" or "admin", each with a stream of its own; "": no events."""
    recordable: bool = False
    """Whether nothing is begun that has to be recorded and can't be."""
    refusals_alone: bool = False
    """Whether only calls that are refused are recorded."""
    before: bool = False
    """Whether a call is recorded before it changes anything, too."""
    confirmed: bool = False
    """Whether the change waits until that record is known to be on disk, which may take a second."""


NOTHING: Final = Audit()
"""Nobody was proved."""
CALLS: Final = Audit("exchange")
"""Each call of a client, when it has ended."""
MINTING: Final = Audit("exchange", recordable=True)
"""The same, where tokens are minted."""
REFUSALS: Final = Audit("admin", refusals_alone=True)
"""Operators' calls that look, and change nothing."""
CHANGES: Final = Audit("admin", before=True, confirmed=True)
"""Operators' calls that change something."""
URGENT_CHANGES: Final = Audit("admin", before=True)
"""The same, where to wait is worse than to lose the record with the disk."""

Cost: TypeAlias = int | Callable[[Any], int]
"""How many calls one counts as in its caller's rate limit, or what tells that from its request."""


@dataclass(frozen=True, slots=True)
class Row:
    """The rules of one method. A row with an authenticated caller always has a cost and a record.

    Raises:
        ValueError: the columns do not go together.
    """

    caller: Caller | Role
    """An operator needs the role that is named; none includes another."""
    cost: Cost = 0
    audit: Audit = NOTHING
    bounded: bool = False
    """Whether a call is refused while as many are in hand as may be (`limits.calls_in_flight`)."""
    served_to_the_end: bool = False
    """Whether a call is answered also while the process stops: load balancers see by it that it does."""

    def __post_init__(self) -> None:
        if self.caller is ANYBODY:
            if self.cost or self.audit.kind:
                raise ValueError("where nobody is proved, there is no caller to count or to record")
            return
        if isinstance(self.cost, int) and self.cost < 1:
            raise ValueError("a call of a proved caller costs 1 at least")
        if self.audit.kind != ("exchange" if self.caller is CLIENT else "admin"):
            raise ValueError(f"{self.audit} is not how calls of {self.caller} are recorded")


def _targets(request: Any) -> int:
    return len(request.targets)


_LOOK: Final = Row(Role.VIEWER, 1, REFUSALS)
_CHANGE: Final = Row(Role.OPERATOR, 1, CHANGES)
_EVERYWHERE: Final[Mapping[str, Row]] = {
    "/grpc.health.v1.Health/Check": Row(ANYBODY, served_to_the_end=True),
    "/grpc.health.v1.Health/Watch": Row(ANYBODY, served_to_the_end=True),
    "/grpc.health.v1.Health/List": Row(ANYBODY, served_to_the_end=True),
    # Registered only where the configuration asks for it.
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Row(ANYBODY),
}

DATA: Final[Mapping[str, Row]] = MappingProxyType(
    {
        **_EVERYWHERE,
        # Registered only where the configuration asks for it. Envoy is a client like any other.
        "/envoy.service.auth.v3.Authorization/Check": Row(CLIENT, 1, MINTING, bounded=True),
        f"{_V1}TokenExchangeService/ExchangeToken": Row(CLIENT, 1, MINTING, bounded=True),
        f"{_V1}TokenExchangeService/BatchExchangeTokens": Row(CLIENT, _targets, MINTING, bounded=True),
        f"{_V1}TokenExchangeService/IntrospectToken": Row(CLIENT, 1, CALLS, bounded=True),
        f"{_V1}TokenExchangeService/RevokeToken": Row(CLIENT, 1, CALLS),
        f"{_V1}KeySetService/GetKeySet": Row(ANYBODY),
        f"{_V1}KeySetService/WatchKeySet": Row(ANYBODY),
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
"""The public HTTP listener, where OAuth is switched on: paths, each for POST. What everybody may read has no row."""

ADMIN: Final[Mapping[str, Row]] = MappingProxyType(
    {
        **_EVERYWHERE,
        # Registered only where the configuration asks for it.
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
        f"{_V1}ProfileAdminService/RevokePrincipalTokens": Row(Role.SECURITY, 1, CHANGES),
        f"{_V1}ProviderAdminService/ListProviders": _LOOK,
        f"{_V1}ProviderAdminService/GetProvider": _LOOK,
        f"{_V1}ProviderAdminService/RefreshProviderKeys": _CHANGE,
    }
)
"""The operators' listener."""

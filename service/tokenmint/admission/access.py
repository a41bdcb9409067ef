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
    """Nobody is proved. Connections, streams and waiting calls are limited; there is no caller to count calls of."""
    CLIENT = auto()
    """Every authenticated client. Policy decides the rest."""


class Audit(Enum):
    """How the calls of a method are recorded."""

    NOTHING = auto()
    """Not at all: nobody was proved."""
    CALLS = auto()
    """Each call, when it has ended."""
    MINTING = auto()
    """The same, and nothing is begun that has to be recorded and can't be."""
    REFUSALS = auto()
    """Operators' calls that are refused."""
    CHANGES = auto()
    """Operators' calls, before they change anything, confirmed as on disk; and when they have ended."""
    URGENT_CHANGES = auto()
    """The same, but the change does not wait for the confirmation, which may take a second."""


Cost: TypeAlias = int | Callable[[Any], int]
"""How many calls one counts as in its caller's rate limit, or what tells that from its request."""

_OF_CLIENTS: Final = frozenset({Audit.CALLS, Audit.MINTING})
_OF_OPERATORS: Final = frozenset({Audit.REFUSALS, Audit.CHANGES, Audit.URGENT_CHANGES})


@dataclass(frozen=True, slots=True)
class Row:
    """What holds for one method. Proved callers have a limit and a record: there is no row without.

    Raises:
        ValueError: the columns do not go together.
    """

    caller: Caller | Role
    """An operator needs the role that is named; none includes another."""
    cost: Cost = 0
    audit: Audit = Audit.NOTHING
    bounded: bool = False
    """Whether a call is refused while as many are in hand as may be (`limits.calls_in_flight`)."""
    served_to_the_end: bool = False
    """Whether a call is answered also while the process stops: load balancers see by it that it does."""

    def __post_init__(self) -> None:
        if self.caller is Caller.ANYBODY:
            if self.cost or self.audit is not Audit.NOTHING:
                raise ValueError("where nobody is proved, there is no caller to count or to record")
            return
        if isinstance(self.cost, int) and self.cost < 1:
            raise ValueError("a call of a proved caller costs 1 at least")
        if self.audit not in (_OF_CLIENTS if self.caller is Caller.CLIENT else _OF_OPERATORS):
            raise ValueError(f"{self.audit} is not how calls of {self.caller} are recorded")


def _targets(request: Any) -> int:
    return len(request.targets)


def _viewer() -> Row:
    return Row(Role.VIEWER, 1, Audit.REFUSALS)


_EVERYWHERE: Final[Mapping[str, Row]] = {
    "/grpc.health.v1.Health/Check": Row(Caller.ANYBODY, served_to_the_end=True),
    "/grpc.health.v1.Health/Watch": Row(Caller.ANYBODY, served_to_the_end=True),
    "/grpc.health.v1.Health/List": Row(Caller.ANYBODY, served_to_the_end=True),
    # Registered only where the configuration asks for it.
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Row(Caller.ANYBODY),
}

DATA: Final[Mapping[str, Row]] = MappingProxyType(
    {
        **_EVERYWHERE,
        # Registered only where the configuration asks for it. Envoy is a client like any other.
        "/envoy.service.auth.v3.Authorization/Check": Row(Caller.CLIENT, 1, Audit.MINTING, bounded=True),
        f"{_V1}TokenExchangeService/ExchangeToken": Row(Caller.CLIENT, 1, Audit.MINTING, bounded=True),
        f"{_V1}TokenExchangeService/BatchExchangeTokens": Row(Caller.CLIENT, _targets, Audit.MINTING, bounded=True),
        f"{_V1}TokenExchangeService/IntrospectToken": Row(Caller.CLIENT, 1, Audit.CALLS, bounded=True),
        f"{_V1}TokenExchangeService/RevokeToken": Row(Caller.CLIENT, 1, Audit.CALLS),
        f"{_V1}KeySetService/GetKeySet": Row(Caller.ANYBODY),
        f"{_V1}KeySetService/WatchKeySet": Row(Caller.ANYBODY),
    }
)
"""The data plane's listener."""

OAUTH: Final[Mapping[str, Row]] = MappingProxyType(
    {
        "/oauth2/token": Row(Caller.CLIENT, 1, Audit.MINTING, bounded=True),
        "/oauth2/introspect": Row(Caller.CLIENT, 1, Audit.CALLS, bounded=True),
        "/oauth2/revoke": Row(Caller.CLIENT, 1, Audit.CALLS),
    }
)
"""The public HTTP listener, where OAuth is switched on: paths, each for POST. What everybody may read has no row."""

ADMIN: Final[Mapping[str, Row]] = MappingProxyType(
    {
        **_EVERYWHERE,
        # Registered only where the configuration asks for it.
        "/grpc.channelz.v1.Channelz/GetTopChannels": _viewer(),
        "/grpc.channelz.v1.Channelz/GetServers": _viewer(),
        "/grpc.channelz.v1.Channelz/GetServer": _viewer(),
        "/grpc.channelz.v1.Channelz/GetServerSockets": _viewer(),
        "/grpc.channelz.v1.Channelz/GetChannel": _viewer(),
        "/grpc.channelz.v1.Channelz/GetSubchannel": _viewer(),
        "/grpc.channelz.v1.Channelz/GetSocket": _viewer(),
        f"{_V1}TokenExchangeService/ExplainExchange": Row(Role.SECURITY, 1, Audit.CHANGES),
        f"{_V1}KeyAdminService/ListSigningKeys": _viewer(),
        f"{_V1}KeyAdminService/GetSigningKey": _viewer(),
        f"{_V1}KeyAdminService/PrepareSigningKey": Row(Role.OPERATOR, 1, Audit.CHANGES),
        f"{_V1}KeyAdminService/ActivateSigningKey": Row(Role.OPERATOR, 1, Audit.CHANGES),
        f"{_V1}KeyAdminService/RotateSigningKey": Row(Role.OPERATOR, 1, Audit.CHANGES),
        f"{_V1}KeyAdminService/RevokeSigningKey": Row(Role.SECURITY, 1, Audit.URGENT_CHANGES),
        f"{_V1}KeyAdminService/ResealSigningKeys": Row(Role.SECURITY, 1, Audit.CHANGES),
        f"{_V1}KeyAdminService/GetKeyRingStatus": _viewer(),
        f"{_V1}ProfileAdminService/GetProfile": _viewer(),
        f"{_V1}ProfileAdminService/ListProfiles": _viewer(),
        f"{_V1}ProfileAdminService/CreateProfile": Row(Role.OPERATOR, 1, Audit.CHANGES),
        f"{_V1}ProfileAdminService/UpdateProfile": Row(Role.OPERATOR, 1, Audit.CHANGES),
        f"{_V1}ProfileAdminService/DeleteProfile": Row(Role.OPERATOR, 1, Audit.CHANGES),
        f"{_V1}ProfileAdminService/LinkIdentity": Row(Role.OPERATOR, 1, Audit.CHANGES),
        f"{_V1}ProfileAdminService/UnlinkIdentity": Row(Role.OPERATOR, 1, Audit.CHANGES),
        f"{_V1}ProfileAdminService/ImportProfiles": Row(Role.OPERATOR, 1, Audit.CHANGES),
        f"{_V1}ProfileAdminService/RevokePrincipalTokens": Row(Role.SECURITY, 1, Audit.CHANGES),
        f"{_V1}ProviderAdminService/ListProviders": _viewer(),
        f"{_V1}ProviderAdminService/GetProvider": _viewer(),
        f"{_V1}ProviderAdminService/RefreshProviderKeys": Row(Role.OPERATOR, 1, Audit.CHANGES),
    }
)
"""The operators' listener."""

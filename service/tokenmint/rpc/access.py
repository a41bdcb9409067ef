"""Which method is served where, and who may call it. A method that is not listed is not served: fail closed."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tokenmint.admission.callers import Role

_V1: Final = "/tokenmint.v1."


@dataclass(frozen=True, slots=True)
class Public:
    """Anybody may call it."""


@dataclass(frozen=True, slots=True)
class Clients:
    """Every authenticated client may call it; policy decides the rest."""

    urgent: bool = False
    """It is served however many calls are in hand."""
    exchanges: bool = False
    """It mints tokens: nothing of it is begun where it has to be recorded and can't be."""


@dataclass(frozen=True, slots=True)
class Operators:
    """Operators with this role may call it."""

    role: Role
    urgent: bool = False
    """Its change does not wait until the record of it is known to be on disk, which may take a second."""


Access = Public | Clients | Operators


def _operators(service: str, **roles: Role) -> dict[str, Access]:
    return {f"{_V1}{service}/{method}": Operators(role) for method, role in roles.items()}


_STANDARD: Final[Mapping[str, Access]] = {
    "/grpc.health.v1.Health/Check": Public(),
    "/grpc.health.v1.Health/Watch": Public(),
    "/grpc.health.v1.Health/List": Public(),
    # Registered only where the configuration asks for it.
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Public(),
}

_CHANNELZ: Final = (
    "GetTopChannels",
    "GetServers",
    "GetServer",
    "GetServerSockets",
    "GetChannel",
    "GetSubchannel",
    "GetSocket",
)

DATA: Final[Mapping[str, Access]] = MappingProxyType(
    {
        **_STANDARD,
        # Registered only where the configuration asks for it. Envoy is a client like any other.
        "/envoy.service.auth.v3.Authorization/Check": Clients(exchanges=True),
        f"{_V1}TokenExchangeService/ExchangeToken": Clients(exchanges=True),
        f"{_V1}TokenExchangeService/BatchExchangeTokens": Clients(exchanges=True),
        f"{_V1}TokenExchangeService/IntrospectToken": Clients(),
        f"{_V1}TokenExchangeService/RevokeToken": Clients(urgent=True),
        f"{_V1}KeySetService/GetKeySet": Public(),
        f"{_V1}KeySetService/WatchKeySet": Public(),
    }
)
"""The data plane's listener."""

ADMIN: Final[Mapping[str, Access]] = MappingProxyType(
    {
        **_STANDARD,
        # Registered only where the configuration asks for it.
        **{f"/grpc.channelz.v1.Channelz/{method}": Operators(Role.VIEWER) for method in _CHANNELZ},
        **_operators("TokenExchangeService", ExplainExchange=Role.SECURITY),
        **_operators(
            "KeyAdminService",
            ListSigningKeys=Role.VIEWER,
            GetSigningKey=Role.VIEWER,
            PrepareSigningKey=Role.OPERATOR,
            ActivateSigningKey=Role.OPERATOR,
            RotateSigningKey=Role.OPERATOR,
            ResealSigningKeys=Role.SECURITY,
            GetKeyRingStatus=Role.VIEWER,
        ),
        f"{_V1}KeyAdminService/RevokeSigningKey": Operators(Role.SECURITY, urgent=True),
        **_operators(
            "ProfileAdminService",
            GetProfile=Role.VIEWER,
            ListProfiles=Role.VIEWER,
            CreateProfile=Role.OPERATOR,
            UpdateProfile=Role.OPERATOR,
            DeleteProfile=Role.OPERATOR,
            LinkIdentity=Role.OPERATOR,
            UnlinkIdentity=Role.OPERATOR,
            ImportProfiles=Role.OPERATOR,
            RevokePrincipalTokens=Role.SECURITY,
        ),
        **_operators(
            "ProviderAdminService",
            ListProviders=Role.VIEWER,
            GetProvider=Role.VIEWER,
            RefreshProviderKeys=Role.OPERATOR,
        ),
    }
)
"""The operators' listener."""

"""A checked configuration, in the types that the service works with: no later code checks it again."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from tokenmint.admission.callers import Operator
from tokenmint.base.addresses import Address
from tokenmint.config.gateway_tables import EnvoyTable, GatewayTable
from tokenmint.config.places import Place
from tokenmint.config.providers import provider_from_table
from tokenmint.config.spiffe_table import SpiffeTable
from tokenmint.config.status_lists_table import StatusListsTable
from tokenmint.config.tables import (
    AuditTable,
    AwsKmsTable,
    CachesTable,
    LimitsTable,
    ListenTable,
    LogTable,
    OAuthTable,
)
from tokenmint.formats.table import Formats
from tokenmint.keys.schedule import Schedule
from tokenmint.model.policy import Audience, Client
from tokenmint.model.proxies import Proxy
from tokenmint.model.secret import Secret
from tokenmint.regions.options import RegionOptions
from tokenmint.storage.options import StoreOptions
from tokenmint.tracing.options import TracingOptions
from tokenmint.verification.jwk import ALGORITHMS
from tokenmint.verification.provider import Provider


@dataclass(frozen=True, slots=True)
class Pkcs11:
    """The access to a hardware security module."""

    module: Path
    token: str
    pin: Secret


@dataclass(frozen=True, slots=True)
class Settings:
    """A checked configuration, in the types that the service works with."""

    issuer: str | None
    """The issuer of minted tokens; None: the address of the HTTP listener."""
    data_dir: Path
    regions: RegionOptions
    """This region, and the others of the same issuer."""
    redis_url: str | None = field(repr=False)  # from the environment, it may contain a password
    redis_prefix: str
    redis_options: StoreOptions
    proxy: Proxy | None
    """The proxy for fetches of keys, except for providers with their own."""
    listen: ListenTable
    proxy_hashes: tuple[str, ...]
    """SHA-256 in hex of each secret of the proxy that may forward clients' certificates; none: no proxy may."""
    key_encryption_key: Secret | None
    """32 bytes; None: generated in the data directory."""
    other_encryption_keys: tuple[Secret, ...]
    """Further keys that open keys encrypted with them."""
    high_water_mark_file: Path
    signer: str
    """The signer that makes new keys."""
    pkcs11: Pkcs11 | None
    aws_kms: AwsKmsTable | None
    algorithms: tuple[str, ...]
    schedule: Schedule
    limits: LimitsTable
    caches: CachesTable
    log: LogTable
    audit: AuditTable
    tracing: TracingOptions | None
    """The export of spans; None: there is none."""
    oauth: OAuthTable
    spiffe: SpiffeTable
    status_lists: StatusListsTable
    envoy: EnvoyTable
    gateway: GatewayTable
    firebase_emulator: bool
    """Whether Firebase is an emulator that does not sign: with `--dev` only."""
    reflection: bool
    channelz: bool
    """Whether operators may inspect connections (gRPC channelz), on their listener."""
    providers: Mapping[str, Provider]
    audiences: Mapping[str, Audience]
    formats: Formats
    """The formats for audiences, by name."""
    clients: Mapping[str, Client]
    operators: Mapping[str, Operator]
    assertions: Mapping[str, Provider]
    """The conditions for the assertions of clients that sign their own, by client id."""
    warnings: tuple[str, ...] = ()
    """Notes on settings that work and should be changed."""
    places: Mapping[str, Place] = field(default_factory=lambda: MappingProxyType({}))
    """The place of each key that file or environment set, by its path."""


def issuer_of(configured: str | None, http: Address | str) -> str:
    """Return the issuer of our tokens: the configured one, or the address of the HTTP listener."""
    return configured or f"http://{http}"


def client_provider(client_id: str, keys: Mapping[str, object], issuer: str, proxy: Proxy | None) -> Provider:
    """Return the conditions for a client's assertion (RFC 7523 section 3): by itself, for us, used once.

    Its audience is our issuer, or the URL of the token endpoint.

    Raises:
        ConfigurationError: its keys can't be used.
    """
    table = {
        "issuer": client_id,
        "audiences": [issuer, f"{issuer}/oauth2/token"],
        "algorithms": sorted(ALGORITHMS),
        "single_use": True,
    }
    provider = provider_from_table(client_id, table | dict(keys), own_issuer=issuer, proxy=proxy)
    return replace(provider, header_types=frozenset({"client-authentication+jwt"}))


def provider_conditions(providers: Mapping[str, Provider]) -> dict[str, str]:
    """Return the providers' conditions, for the policy."""
    return {name: provider.condition for name, provider in providers.items() if provider.condition is not None}


def provider_claims(providers: Mapping[str, Provider]) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return the claims that providers' configurations compute, for the policy."""
    return {name: provider.claims for name, provider in providers.items() if provider.claims}

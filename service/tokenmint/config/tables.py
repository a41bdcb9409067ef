"""The tables of the configuration file, as operators write them: names, types, ranges and defaults."""

from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, create_model, field_validator

from tokenmint.base.addresses import Address
from tokenmint.base.config_values import Name, Seconds, Table, TextList, TextSet
from tokenmint.base.extras import is_installed
from tokenmint.config.gateway_tables import EnvoyTable, GatewayTable
from tokenmint.config.regions_table import RegionsTable
from tokenmint.config.spiffe_table import SpiffeTable
from tokenmint.config.status_lists_table import StatusListsTable
from tokenmint.config.tracing_table import TracingTable
from tokenmint.model.policy import MAX_LIFETIME, OnMissingProfile
from tokenmint.verification.jws import MAX_TOKEN, MOST_TOKEN

LISTENERS: Final = ("grpc", "admin", "http", "ops", "console")
MAX_REUSE_WINDOW: Final = 60
MAX_GATEWAY_CACHE: Final = 300
MAX_CONNECTION: Final = 14 * 86400  # gRPC counts milliseconds in 32 bits


def _address(value: Any) -> Any:
    return Address.parse(value) if isinstance(value, str) else value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _path(value: str) -> str:
    if "\0" in value:
        raise ValueError("has the character U+0000, which no path has")
    return value


PathText = Annotated[str, AfterValidator(_path)]
"""A path that may name something other than a file to read."""
ListenAddress = Annotated[Address, BeforeValidator(_address)]


class RedisTable(Table):
    """`[redis]`: the store. Without a URL the service keeps a private Valkey in its data directory."""

    url: str | None = None
    username: str | None = None
    password: str | None = None
    password_file: str | None = None
    sentinel_username: str | None = None
    sentinel_password_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9:_-]{1,32}$")] = "tm:"
    read_timeout: Annotated[Seconds, Field(gt=0, le=10)] = 1.0
    write_timeout: Annotated[Seconds, Field(gt=0, le=30)] = 3.0
    max_connections: Annotated[int, Field(ge=4, le=10000)] = 64
    min_replicas: Annotated[int, Field(ge=0, le=16)] = 0


class ProxyTable(Table):
    """`[proxy]`: the proxy for fetches of providers' and clients' keys."""

    url: str | None = None
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    no_proxy: TextList = ()
    environment: bool = False
    """Takes missing values from HTTPS_PROXY and NO_PROXY."""


class ForwardedTable(Table):
    """`[listen.forwarded]`: the proxy in front of the native transport that forwards clients' certificates."""

    secrets: TextList
    """`sha256:` and the hash of the secret in every call of the proxy (`tokenmint-proxy-secret`)."""


class ListenTable(Table):
    """`[listen]`: the listeners, and TLS for those of gRPC and the console, and for HTTP."""

    grpc: ListenAddress = Address("127.0.0.1", 7443)
    admin: ListenAddress = Address("127.0.0.1", 7444)
    http: ListenAddress = Address("127.0.0.1", 8080)
    ops: ListenAddress = Address("127.0.0.1", 9464)
    console: ListenAddress | None = None
    """The operators' console, for browsers. None: it is not served."""
    console_hosts: TextList = ()
    """The names under which browsers reach the console, beside localhost and addresses."""
    cert_file: str | None = None
    key_file: str | None = None
    client_ca_file: str | None = None
    http_cert_file: str | None = None
    http_key_file: str | None = None
    http_client_ca_file: str | None = None
    """The authorities of clients' certificates on the HTTP listener; callers without one still get the key set."""
    plaintext: bool = False
    """Lets gRPC listen without TLS beyond loopback: behind a mesh or a proxy that adds it."""
    transport: Literal["auto", "grpcio", "native"] = "auto"
    """The server of exchanges: `native` (an extra) costs less CPU and has no TLS. Operators: always grpcio."""
    forwarded: ForwardedTable | None = None

    @property
    def native(self) -> bool:
        """Whether exchanges are served by the native transport; `auto`: without TLS, where the extra is installed."""
        if self.transport == "auto":
            return self.cert_file is None and is_installed("native")
        return self.transport == "native"

    def addresses(self) -> dict[str, Address]:
        """Return the addresses by the name of the listener, without one that is off."""
        return {name: address for name in LISTENERS if (address := getattr(self, name)) is not None}


class Pkcs11Table(Table):
    """`[keys.pkcs11]`: a hardware security module for keys."""

    module: PathText
    token: str
    pin_file: str


class AwsKmsTable(Table):
    """`[keys.aws_kms]`: AWS Key Management Service. Credentials are found as AWS's own tools find them."""

    region: str | None = None
    endpoint_url: str | None = None
    deletion_days: Annotated[int, Field(ge=7, le=30)] = 7


class KeysTable(Table):
    """`[keys]`: algorithms, sealing, and the timing rules."""

    algorithms: TextList = ("ES256",)
    encryption_key: str | None = None
    encryption_key_file: str | None = None
    other_encryption_key_files: TextList = ()
    """Key-encryption keys that only decrypt: the previous one, or the next one."""
    high_water_mark_file: PathText | None = None
    """The record of the keys outside the store. Default: in the data directory."""
    signer: Literal["local", "pkcs11", "aws-kms"] = "local"
    """The signer that makes and keeps new keys. Earlier keys stay with theirs."""
    pkcs11: Pkcs11Table | None = None
    aws_kms: AwsKmsTable | None = None
    replica_lag: Annotated[Seconds, Field(ge=1, le=300)] = 10.0
    max_age: Annotated[Seconds, Field(ge=1, le=86400)] = 300.0
    verifier_cache: Annotated[Seconds, Field(ge=0)] = 24 * 3600.0
    skew: Annotated[Seconds, Field(ge=0, le=300)] = 60.0
    publish_ahead: Seconds | None = None
    rotation_interval: Seconds = 30 * 24 * 3600.0


class ActorsTable(Table):
    """`[audiences.NAME.actors]`: the actors that may act for a subject."""

    providers: TextSet = frozenset()
    audiences: TextSet = frozenset()
    impersonation: bool = False
    without_may_act: bool = False
    scopes: Literal["client", "intersection"] = "client"
    subject_scopes: str = "profile.claims.scopes"
    actor_scopes: str = "actor.profile.claims.scopes"
    scopes_by_actor: dict[str, TextSet] | None = None


class AudienceTable(Table):
    """`[audiences."NAME"]`: a service for which tokens are minted.

    :func:`audience_table` adds the tables of formats.
    """

    clients: TextSet = frozenset()
    providers: TextSet = frozenset()
    reexchange_from: TextSet = frozenset()
    resources: TextSet = frozenset()
    scopes: TextSet = frozenset()
    unknown_scopes: Literal["refuse", "drop"] = "refuse"
    lifetime: Annotated[Seconds, Field(ge=1, le=MAX_LIFETIME)] = 600.0
    max_lifetime: Annotated[Seconds, Field(ge=1, le=MAX_LIFETIME)] | None = None
    algorithm: str | None = None
    token_type: Literal["at+jwt", "JWT"] = "at+jwt"  # noqa: S105  # the header's typ
    claims: dict[str, str] = Field(default_factory=dict)
    public_clients: bool = False
    on_missing_profile: OnMissingProfile = OnMissingProfile.DENY
    single_use: bool = False
    condition: str | None = None
    max_token_bytes: Annotated[int, Field(ge=512, le=65536)] = 8192
    reuse_window: Annotated[Seconds, Field(ge=0, le=MAX_REUSE_WINDOW)] = 0.0
    gateway_cache: Annotated[Seconds, Field(ge=0, le=MAX_GATEWAY_CACHE)] = 1.0
    """For how long a gateway may keep an answer: as long, a revocation or a changed profile may go unnoticed there."""
    status_list: bool = False
    bound: Literal["dpop", "mtls", "any"] | None = None
    relying_party: str | None = None
    """The entry of a service outside that verifies its tokens (``parties/*.toml``)."""
    relying_party_keys: Literal["fetched", "uploaded"] = "fetched"
    actors: ActorsTable | None = None

    @field_validator("on_missing_profile", mode="before")
    @classmethod
    def _on_missing_profile(cls, value: object) -> object:
        if isinstance(value, str) and value in set(OnMissingProfile):
            return OnMissingProfile(value)
        raise ValueError('expected "deny", "without" or "create"')


class CachesTable(Table):
    """`[caches]`: the caches of one worker; 0: none."""

    profiles: Annotated[int, Field(ge=0, le=10_000_000)] = 50_000
    """Profiles of usual length (200 bytes), each with an identity; longer ones count for more. The store reports each
    change (server-assisted invalidation), in a Cluster each primary."""


class RateTable(Table):
    """A rate limit: calls per second in the long run, and at once. A call for N targets counts N times."""

    per_second: Annotated[float, BeforeValidator(_number), Field(gt=0, le=1_000_000)]
    burst: Annotated[int, Field(ge=1, le=1_000_000)]


class WorkloadTable(Table):
    """A workload whose tokens authenticate a client."""

    provider: str
    subject: str


class ClientTable(Table):
    """`[clients.ID]`: a caller."""

    secrets: TextList = ()
    certificates: TextSet = frozenset()
    workloads: Annotated[tuple[WorkloadTable, ...], BeforeValidator(_tuple)] = ()
    jwks: str | None = None
    jwks_file: str | None = None
    jwks_url: str | None = None
    allow_private: bool = False
    public: bool = False
    serves: TextSet = frozenset()
    audience: str | None = None
    subject_token_type: Literal["id_token", "access_token", "jwt"] | None = None
    scopes: dict[str, TextSet] | None = None
    rate: RateTable | None = None


class OperatorTable(Table):
    """`[operators.ID]`: a person or program that runs the service."""

    secrets: TextList = ()
    certificates: TextSet = frozenset()
    roles: TextSet = frozenset({"viewer"})


class LimitsTable(Table):
    """`[limits]`: the limits of one process."""

    watch_streams: Annotated[int, Field(ge=1)] = 1000
    watch_streams_per_peer: Annotated[int, Field(ge=1)] = 10
    watch_age: Annotated[Seconds, Field(ge=1)] = 3600.0
    revocations: Annotated[int, Field(ge=100, le=1_000_000)] = 100_000
    message_bytes: Annotated[int, Field(ge=32 * 1024, le=4 * 1024 * 1024)] = 64 * 1024
    token_bytes: Annotated[int, Field(ge=4 * 1024, le=MOST_TOKEN)] = MAX_TOKEN
    """The longest token of a provider, before anything of it is decoded."""
    metadata_bytes: Annotated[int, Field(ge=4 * 1024, le=64 * 1024)] = 8 * 1024
    streams_per_connection: Annotated[int, Field(ge=1, le=10_000)] = 100
    grpc_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Connections of each gRPC listener, and no more than a quarter of the files that the process may have open."""
    grpc_connections_per_peer: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    """Connections of one peer of a gRPC listener. None: all of them, as long as no other peer wants any."""
    connection_age: Annotated[Seconds, Field(ge=1, le=MAX_CONNECTION)] = 3600.0
    connection_grace: Annotated[Seconds, Field(ge=1, le=3600)] = 30.0
    """The time in which calls on a connection that has reached its age may end."""
    keepalive: Annotated[Seconds, Field(ge=1, le=MAX_CONNECTION)] = 60.0
    """The service pings a peer after this time without traffic."""
    keepalive_timeout: Annotated[Seconds, Field(ge=1, le=MAX_CONNECTION)] = 20.0
    """The time in which the peer has to answer such a ping."""
    ping_interval: Annotated[Seconds, Field(ge=1, le=MAX_CONNECTION)] = 10.0
    """A peer that pings more often than this is disconnected."""
    calls_in_flight: Annotated[int, Field(ge=1, le=100_000)] = 128
    """Calls of clients that one process handles at a time; a further call is refused at once."""
    calls_waiting: Annotated[int, Field(ge=1, le=100_000)] = 320
    """Calls of one method that wait in grpcio until the process can begin them; a further call ends as CANCELLED."""
    request_time: Annotated[Seconds, Field(gt=0, le=120)] = 10.0
    """The longest time for a handshake, for sending an HTTP request, and for reading its answer."""
    http_connections: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Connections of each HTTP listener, and no more than an eighth of the files that the process may have open."""
    http_connections_per_peer: Annotated[int, Field(ge=1, le=100_000)] = 250
    """Connections of one peer of an HTTP listener."""
    http_requests: Annotated[int, Field(ge=1, le=100_000)] = 200
    """HTTP requests that a listener answers at a time; health checks do not count."""
    call_deadline: Annotated[Seconds, Field(gt=0, le=60)] = 10.0
    lame_duck: Annotated[Seconds, Field(ge=0, le=60)] = 5.0
    """The time after SIGTERM in which the process reports that it is not ready and still serves calls."""
    drain: Annotated[Seconds, Field(ge=0, le=30)] = 10.0
    each_client: RateTable | None = RateTable(per_second=1000.0, burst=2000)
    all_clients: RateTable | None = None


class OAuthTable(Table):
    """`[oauth]`: the OAuth 2.0 endpoints on the public HTTP listener.

    Off by default: that listener is for the public key set, and is often reachable from outside and without its own
    TLS. Client secrets and users' tokens pass it only if an operator enables this.
    """

    enabled: bool = False
    drafts: TextSet = frozenset()
    """The Internet-Drafts that are followed (``model/drafts.py``)."""


class LogTable(Table):
    """`[log]`: the level and the form of the log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class AuditTable(Table):
    """`[audit]`: the size of the audit stream in the store, and whether exchanges need a record."""

    required: bool = False
    """Refuses exchanges (not revocations) that neither the log nor the stream would record."""
    exchange_events: Annotated[int, Field(ge=1000, le=100_000_000)] = 100_000
    exchange_bytes: Annotated[int, Field(ge=1024 * 1024, le=1024**4)] = 64 * 1024 * 1024
    shards: Annotated[int, Field(ge=1, le=24)] = 1
    """The keys that the stream of exchanges is spread over, each with an equal part of its limits."""
    admin_events: Annotated[int, Field(ge=1000, le=100_000_000)] = 100_000
    admin_bytes: Annotated[int, Field(ge=1024 * 1024, le=1024**4)] = 32 * 1024 * 1024
    event_bytes: Annotated[int, Field(ge=1024, le=16 * 1024)] = 8 * 1024
    waiting_events: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    waiting_bytes: Annotated[int, Field(ge=64 * 1024, le=1024**3)] = 8 * 1024 * 1024
    refusals_per_client: RateTable = RateTable(per_second=10.0, burst=500)
    """The refusals of one client that are recorded one by one in the stream; the rest are counted."""


class File(Table):
    """The whole file."""

    issuer: str | None = None
    data_dir: PathText = ".tokenmint"
    reflection: bool = False
    channelz: bool = False
    redis: RedisTable = RedisTable()
    proxy: ProxyTable = ProxyTable()
    listen: ListenTable = ListenTable()
    keys: KeysTable = KeysTable()
    limits: LimitsTable = LimitsTable()
    caches: CachesTable = CachesTable()
    log: LogTable = LogTable()
    audit: AuditTable = AuditTable()
    tracing: TracingTable = TracingTable()
    oauth: OAuthTable = OAuthTable()
    spiffe: SpiffeTable = SpiffeTable()
    status_lists: StatusListsTable = StatusListsTable()
    regions: RegionsTable = RegionsTable()
    envoy: EnvoyTable = EnvoyTable()
    gateway: GatewayTable = GatewayTable()
    providers: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    audiences: dict[str, AudienceTable] = Field(default_factory=dict)
    clients: dict[Name, ClientTable] = Field(default_factory=dict)
    operators: dict[Name, OperatorTable] = Field(default_factory=dict)


@lru_cache(maxsize=8)
def audience_table(formats: tuple[tuple[str, type[Table]], ...]) -> type[AudienceTable]:
    """Return the table of an audience with the tables of these ``formats``, by name.

    Raises:
        ValueError: a format has the name of a key of audiences.
    """
    taken = [name for name, _ in formats if name in AudienceTable.model_fields]
    if taken:
        raise ValueError(f"audiences have keys of these names, so formats can't: {', '.join(taken)}")
    tables: dict[str, Any] = {name: (table | None, None) for name, table in formats}
    return create_model("AudienceTable", __base__=AudienceTable, __module__=__name__, **tables)


@lru_cache(maxsize=8)
def file_table(formats: tuple[tuple[str, type[Table]], ...]) -> type[File]:
    """Return the whole file, whose audiences have the tables of these ``formats``, by name."""
    audiences: Any = (dict[str, audience_table(formats)], Field(default_factory=dict))  # type: ignore[misc]  # made here
    return create_model("File", __base__=File, __module__=__name__, audiences=audiences)

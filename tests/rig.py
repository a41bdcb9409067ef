"""The whole service in the test's own event loop: real ports, a real store, a real provider over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from tests.fakes import FakeClock
from tests.issuer import Issuer
from tests.tls import Authority

from tokenmint.base.addresses import Reservations
from tokenmint.base.clock import Clock
from tokenmint.base.log_writer import LineWriter
from tokenmint.config.load import load
from tokenmint.config.settings import Settings
from tokenmint.formats.table import Formats
from tokenmint.model.secret import Secret
from tokenmint.process.app import App
from tokenmint.process.foundation import Foundation
from tokenmint.process.new_secrets import new_encryption_key, new_secret
from tokenmint.process.supervisor import Job
from tokenmint.process.wiring import Parts
from tokenmint.v1.audit_admin_service_pb2_grpc import AuditAdminServiceStub
from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceStub
from tokenmint.v1.key_set_service_pb2_grpc import KeySetServiceStub
from tokenmint.v1.profile_admin_service_pb2 import CreateProfileRequest
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub
from tokenmint.v1.profile_pb2 import Identity, Profile
from tokenmint.v1.provider_admin_service_pb2_grpc import ProviderAdminServiceStub
from tokenmint.v1.revocation_admin_service_pb2_grpc import RevocationAdminServiceStub
from tokenmint.v1.revocation_service_pb2_grpc import RevocationServiceStub
from tokenmint.v1.token_exchange_service_pb2 import ExchangeTokenRequest
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

if TYPE_CHECKING:
    from tokenmint.v1.audit_admin_service_pb2_grpc import AuditAdminServiceAsyncStub
    from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceAsyncStub
    from tokenmint.v1.key_set_service_pb2_grpc import KeySetServiceAsyncStub
    from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceAsyncStub
    from tokenmint.v1.provider_admin_service_pb2_grpc import ProviderAdminServiceAsyncStub
    from tokenmint.v1.revocation_admin_service_pb2_grpc import RevocationAdminServiceAsyncStub
    from tokenmint.v1.revocation_service_pb2_grpc import RevocationServiceAsyncStub
    from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceAsyncStub

AUDIENCE = "https://orders.example"
LEGACY_AUDIENCE = "https://legacy.example"
OPEN_AUDIENCE = "https://open.example"
DEADLINE = 20.0
GRPC_TLS = 'cert_file = "tls.crt"\nkey_file = "tls.key"\nclient_ca_file = "ca.crt"\n'
HTTP_TLS = 'http_cert_file = "tls.crt"\nhttp_key_file = "tls.key"\nhttp_client_ca_file = "ca.crt"\n'
PATIENCE = 'read_timeout = "10s"\nwrite_timeout = "20s"\n'
"""A busy machine is not what most tests are about."""

OWN_ISSUER = "https://tokens.example"
CONFIG = """
issuer = "{own_issuer}"
data_dir = "{directory}"

[redis]
prefix = "{prefix}"
{patience}
[listen]
grpc = "127.0.0.1:0"
admin = "127.0.0.1:0"
http = "127.0.0.1:0"
ops = "127.0.0.1:0"

[keys]
encryption_key_file = "kek"
algorithms = {algorithms}

[providers.idp]
issuer = "{issuer}"
audiences = ["app"]
allow_private = true

[audiences."https://orders.example"]
clients = ["web"]
providers = ["idp"]
scopes = ["read", "write"]
max_lifetime = "1h"

[audiences."https://orders.example".claims]
email = "assertion.email"
tenant = "profile.claims.tenant"
roles = "profile.roles"

[audiences."https://legacy.example"]
clients = ["web"]
providers = ["idp"]
algorithm = "{legacy}"
token_type = "JWT"
on_missing_profile = "without"

[audiences."https://open.example"]
clients = ["web", "batch"]
providers = ["idp"]
scopes = ["read"]
on_missing_profile = "create"
single_use = true

[clients.web]
secrets = ["sha256:{old}", "sha256:{web}"]

[clients.batch]
secrets = ["sha256:{batch}"]
scopes = {{ "https://open.example" = [] }}

[operators.root]
secrets = ["sha256:{root}"]
roles = ["viewer", "operator", "security"]

[operators.guest]
secrets = ["sha256:{guest}"]
roles = ["viewer"]
"""


@dataclass
class Rig:
    """A running service and what is needed to use it."""

    app: App
    issuer: Issuer
    config: Path
    secrets: dict[str, Secret]
    clock: Clock
    data: grpc.aio.Channel
    admin: grpc.aio.Channel

    def auth(self, name: str) -> dict[str, Any]:
        """Arguments of a call by a client or an operator."""
        secret = self.secrets[name].reveal()
        identifier = "web" if name == "old" else name
        metadata = (("tokenmint-client-id", identifier), ("tokenmint-client-secret", secret))
        return {"metadata": metadata, "timeout": DEADLINE}

    @property
    def parts(self) -> Parts:
        """The parts of the service, for tests that break or watch one of them."""
        return self.app.parts

    @property
    def base(self) -> Foundation:
        """The parts of the service that need no store: metrics, background tasks, readiness."""
        return self.app.base

    @property
    def exchange(self) -> "TokenExchangeServiceAsyncStub":
        return TokenExchangeServiceStub(self.data)

    @property
    def key_set(self) -> "KeySetServiceAsyncStub":
        return KeySetServiceStub(self.data)

    @property
    def keys(self) -> "KeyAdminServiceAsyncStub":
        return KeyAdminServiceStub(self.admin)

    @property
    def trail(self) -> "AuditAdminServiceAsyncStub":
        return AuditAdminServiceStub(self.admin)

    @property
    def profiles(self) -> "ProfileAdminServiceAsyncStub":
        return ProfileAdminServiceStub(self.admin)

    @property
    def providers(self) -> "ProviderAdminServiceAsyncStub":
        return ProviderAdminServiceStub(self.admin)

    @property
    def watch(self) -> "RevocationServiceAsyncStub":
        return RevocationServiceStub(self.data)

    @property
    def revocation(self) -> "RevocationAdminServiceAsyncStub":
        return RevocationAdminServiceStub(self.admin)

    async def create(self, *profiles: Profile) -> None:
        """Create profiles, as an operator."""
        for profile in profiles:
            await self.profiles.CreateProfile(CreateProfileRequest(profile=profile), **self.auth("root"))

    def request(self, token: str | None = None, audience: str = AUDIENCE, **fields: Any) -> ExchangeTokenRequest:
        """Return a request for the exchange of a token; of one of Ada's by default."""
        subject_token = self.issuer.token(self.clock.now(), email="ada@example.com") if token is None else token
        return ExchangeTokenRequest(subject_token=subject_token, audience=audience, **fields)

    async def set_time(self, now: float) -> None:
        """Set the wall clocks of service and store, without a loop that wakes up for it."""
        assert isinstance(self.clock, FakeClock)
        self.clock.set(now)
        await self.app.parts.signing.clocks.look()

    async def let_pass(self, seconds: float) -> None:
        """Move the service's clock on, once the service has caught up with it: on a busy machine a confirmation of the
        key ring takes long, and a clock that runs on meanwhile stops signing."""
        clock = self.clock
        assert isinstance(clock, FakeClock)
        async with asyncio.timeout(DEADLINE):
            while not clock.sleeps("key ring poll"):  # noqa: ASYNC110  # it waits for a store
                await asyncio.sleep(0.001)
        clock.advance(seconds)
        await asyncio.sleep(0.01)

    async def until(self, holds: Callable[[], Any]) -> None:
        """Let time pass until something holds."""
        async with asyncio.timeout(DEADLINE):
            while not holds():
                await self.let_pass(0.5)

    def settings(self) -> Settings:
        """The configuration, read again."""
        return load(self.config, {}, formats=self.base.settings.formats)

    @property
    def native(self) -> bool:
        """Whether exchanges are served by the transport whose HTTP/2 is done in Rust."""
        return self.base.settings.listen.native

    def url(self, listener: str, path: str) -> str:
        """The URL of a path on one of the HTTP listeners."""
        return f"http://{self.app.listen[listener]}{path}"


@dataclass(frozen=True)
class Serve:
    """Runs services of one test, with the parts that they share with it."""

    directory: Path
    redis_url: str
    prefix: str
    issuer: Issuer
    clock: Clock
    entropy: Any
    rsa: bool = False
    """Whether the legacy audience's tokens are signed with RS256. Its keys take longer to make than all the rest."""

    def __call__(
        self,
        extra: str = "",
        *,
        redis_url: str | None = None,
        clock: Clock | None = None,
        rsa: bool | None = None,
        **options: Any,
    ) -> AbstractAsyncContextManager[Rig]:
        """Run one: ``options`` are those of :class:`Options`, and the others stand in the place of the test's parts."""
        others: dict[str, Any] = {"redis_url": redis_url, "clock": clock, "rsa": rsa}
        parts = replace(self, **{name: part for name, part in others.items() if part is not None})
        return running(parts, Options(extra, **options))


@dataclass(frozen=True)
class Options:
    """The things that a test may need otherwise."""

    extra: str = ""
    """Appended to the configuration."""
    listen: str = ""
    """Put at the begin of its table of listeners."""
    patience: str = PATIENCE
    head: str = ""
    """Put before everything else."""
    own_issuer: str = OWN_ISSUER
    """Its own, which its tokens name. The issuer of the provider `idp` is another one."""
    transport: str = "grpcio"
    log_writer: LineWriter | None = None
    formats: Formats | None = None
    on_open: Callable[[dict[str, str]], None] | None = None
    """Called with the addresses of the listeners before the first of them takes connections."""


def write_configuration(serve: Serve, options: Options, secrets: Mapping[str, Secret]) -> Path:
    """Write the configuration of a service, and its key-encryption key, unless a service before has left one.

    The first start may have sealed keys in the store before it failed, and another start opens only its own.
    """
    if not (kek := serve.directory / "kek").exists():
        kek.write_text(new_encryption_key(serve.entropy))
    config = serve.directory / "tokenmint.toml"
    text = options.head + CONFIG.replace("[listen]\n", f'[listen]\ntransport = "{options.transport}"\n{options.listen}')
    algorithms, legacy = ('["ES256", "RS256"]', "RS256") if serve.rsa else ('["ES256"]', "ES256")
    written = text.format(
        patience=options.patience, directory=serve.directory, prefix=serve.prefix, issuer=serve.issuer.url,
        algorithms=algorithms, legacy=legacy, own_issuer=options.own_issuer,
        **{name: secret.fingerprint() for name, secret in secrets.items()},
    )  # fmt: skip
    config.write_text(written + options.extra)
    return config


@asynccontextmanager
async def running(serve: Serve, options: Options) -> AsyncIterator[Rig]:
    """Run the service."""
    clock, entropy = serve.clock, serve.entropy
    secrets = {name: new_secret(entropy) for name in ("web", "old", "batch", "root", "guest")}
    config = write_configuration(serve, options, secrets)
    settings = load(config, {}, formats=options.formats)
    ports = Reservations(settings.listen.addresses())
    places = ports.listen
    store_time = clock.store_time if isinstance(clock, FakeClock) else None
    job = Job(str(config), serve.redis_url, places)
    on_open = None if options.on_open is None else partial(options.on_open, places)
    app = App(
        settings,
        job,
        clock=clock,
        entropy=entropy,
        store_time=store_time,
        log_writer=options.log_writer,
        on_open=on_open,
    )
    async with AsyncExitStack() as stack:
        stack.callback(ports.close)
        await app.start()
        stack.push_async_callback(app.stop)
        data = await stack.enter_async_context(grpc.aio.insecure_channel(places["grpc"]))
        admin = await stack.enter_async_context(grpc.aio.insecure_channel(places["admin"]))
        yield Rig(app, serve.issuer, config, secrets, clock, data, admin)


def person(principal: str = "ada", subject: str = "1842", *roles: str, **claims: Any) -> Profile:
    """Return a profile of a user of the provider `idp`."""
    made = Profile(principal=principal, identities=[Identity(provider="idp", subject=subject)], roles=roles)
    made.claims.update(claims)
    return made


def write_tls(directory: Path, ca: Authority) -> None:
    """Write the service's certificate and the authority of its clients, for `GRPC_TLS` and `HTTP_TLS`."""
    for name, pem in zip(("tls.crt", "tls.key"), ca.issue("service", "localhost", "127.0.0.1"), strict=True):
        (directory / name).write_bytes(pem)
    (directory / "ca.crt").write_bytes(ca.pem)


@dataclass(frozen=True)
class Refusal:
    """The answer of a failed call."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    details: tuple[str, ...]
    """The names of the further details."""
    status: status_pb2.Status


async def refusal(call: Any) -> Refusal:
    """Await a call that has to fail, and return what it says."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        raw = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
        status = status_pb2.Status.FromString(raw if isinstance(raw, bytes) else raw.encode())
        info = error_details_pb2.ErrorInfo()
        names = [detail.type_url.rpartition(".")[2] for detail in status.details if not detail.Unpack(info)]
        return Refusal(error.code(), error.details() or "", info.reason, info.domain, tuple(names), status)
    raise AssertionError("the call succeeded")

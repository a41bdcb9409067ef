"""From tables as they are written to settings: what can only be checked across tables, with every problem collected."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from tokenmint.base.addresses import Address
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.key_path import key_path
from tokenmint.config.callers import CallerRules
from tokenmint.config.formats import AudienceRules
from tokenmint.config.keys import KeyRules
from tokenmint.config.providers import provider_from_table
from tokenmint.config.settings import Settings, provider_claims, provider_conditions
from tokenmint.config.tables import File
from tokenmint.firebase.clients import EMULATOR
from tokenmint.formats.table import Formats
from tokenmint.keys import high_water_mark as mark
from tokenmint.model.policy import Audience, Client
from tokenmint.model.secret import Secret, shown
from tokenmint.policy.grant import Policy
from tokenmint.storage import urls
from tokenmint.storage.connections import StoreOptions, check_ca_file
from tokenmint.verification.provider import Provider


class Checker:
    """Turns the tables into settings, collecting what is wrong on the way."""

    def __init__(self, file: File, base: Path, problems: list[str], formats: Formats) -> None:
        self.file = file
        self.base = base
        self.problems = problems
        self.formats = formats

    def settings(self, environ: Mapping[str, str], *, development: bool) -> Settings:
        file = self.file
        self._check_issuer()
        self._check_listen()
        self._check_development(environ, development=development)
        providers = self._providers()
        callers = CallerRules(file, self.base, self.problems)
        clients = callers.clients()
        audiences = self._audiences(clients, development=development)
        self._check_envoy(audiences)
        operators = callers.operators()
        proxy_hashes = callers.proxy_hashes()
        keys = KeyRules(file, self.base, self.problems)
        keys.check()
        schedule = keys.schedule(audiences)
        encryption_key = keys.encryption_key()
        other_keys = keys.other_encryption_keys()
        pkcs11 = keys.pkcs11()
        options = self._store_options()
        if self.problems:
            raise ConfigurationError(self.problems)
        # Compiles claim mappings and conditions, and says what is wrong with them.
        Policy(audiences, "https://issuer.invalid", provider_conditions(providers), provider_claims(providers))
        return Settings(
            issuer=file.issuer,
            data_dir=(self.base / file.data_dir).resolve(),
            redis_url=file.redis.url,
            redis_prefix=file.redis.prefix,
            redis_options=options,
            listen=file.listen.model_copy(
                update={
                    key: self._path(getattr(file.listen, key))
                    for key in (
                        "cert_file",
                        "key_file",
                        "client_ca_file",
                        "http_cert_file",
                        "http_key_file",
                        "http_client_ca_file",
                    )
                }
            ),
            proxy_hashes=proxy_hashes,
            key_encryption_key=encryption_key,
            other_encryption_keys=other_keys,
            high_water_mark_file=(
                self.base / file.keys.high_water_mark_file
                if file.keys.high_water_mark_file
                else self.base / file.data_dir / mark.FILE
            ).resolve(),
            signer=file.keys.signer,
            pkcs11=pkcs11,
            aws_kms=file.keys.aws_kms,
            algorithms=file.keys.algorithms,
            schedule=schedule,
            limits=file.limits,
            caches=file.caches,
            log=file.log,
            audit=file.audit,
            oauth=file.oauth,
            envoy=file.envoy,
            firebase_emulator=development and bool(environ.get(EMULATOR)),
            reflection=file.reflection,
            channelz=file.channelz,
            providers=MappingProxyType(providers),
            audiences=MappingProxyType(audiences),
            formats=self.formats,
            clients=MappingProxyType(clients),
            operators=MappingProxyType(operators),
            client_keys=MappingProxyType(
                {
                    client_id: known
                    for client_id, table in file.clients.items()
                    if len(known := callers.keys_of(table)) > 1
                }
            ),
        )

    def _path(self, name: str | None) -> str | None:
        return str(self.base / name) if name else None

    def _check_issuer(self) -> None:
        issuer = self.file.issuer
        if issuer is None:
            if not self.file.listen.http.is_loopback:
                self.problems.append(
                    "issuer: is required where listen.http is not on loopback: the https URL under which verifiers "
                    "reach /.well-known/jwks.json"
                )
        elif not issuer.startswith(("https://", "http://")) or issuer.endswith("/") or "?" in issuer or "#" in issuer:
            self.problems.append("issuer: expected an https URL without query, fragment and trailing slash (RFC 8414)")
        else:
            try:
                HttpUrl.parse(issuer)
            except BadUrl as error:
                self.problems.append(f"issuer: {error}")

    def _check_listen(self) -> None:
        listen = self.file.listen
        if (listen.cert_file is None) != (listen.key_file is None):
            self.problems.append("listen.cert_file, listen.key_file: both or none")
        if (listen.http_cert_file is None) != (listen.http_key_file is None):
            self.problems.append("listen.http_cert_file, listen.http_key_file: both or none")
        if listen.client_ca_file is not None and listen.cert_file is None:
            self.problems.append("listen.client_ca_file: needs listen.cert_file and listen.key_file")
        if listen.transport == "native" and listen.cert_file is not None:
            self.problems.append(
                "listen.transport: native has no TLS: leave listen.cert_file and listen.key_file out and let Envoy or "
                "a mesh add TLS, or use grpcio"
            )
        if listen.transport == "native" and find_spec("pygrpc_native") is None:
            self.problems.append(
                "listen.transport: native needs the extra of that name: pip install 'tokenmint[native]'"
            )
        if listen.forwarded is not None and listen.transport != "native":
            self.problems.append(
                'listen.forwarded: is for listen.transport = "native": grpcio takes certificates from its own TLS '
                "(listen.client_ca_file) and from nobody else"
            )
        if listen.http_client_ca_file is not None and listen.http_cert_file is None:
            self.problems.append("listen.http_client_ca_file: needs listen.http_cert_file and listen.http_key_file")
        in_the_open = listen.http_cert_file is None and not listen.plaintext and not listen.http.is_loopback
        if self.file.oauth.enabled and in_the_open:
            self.problems.append(
                "oauth.enabled: secrets would cross the network unencrypted: set listen.http_cert_file and "
                "listen.http_key_file, or listen.plaintext = true behind a mesh or proxy that adds TLS"
            )
        if listen.cert_file is None and not listen.plaintext:
            for name in ("grpc", "admin"):
                if not getattr(listen, name).is_loopback:
                    self.problems.append(
                        f"listen.{name}: secrets would cross the network unencrypted: set listen.cert_file and "
                        "listen.key_file, or listen.plaintext = true behind a mesh or proxy that adds TLS"
                    )

    def _check_development(self, environ: Mapping[str, str], *, development: bool) -> None:
        if not development:
            if environ.get(EMULATOR):
                self.problems.append(
                    f"{EMULATOR}: makes Firebase's SDK accept unsigned tokens: unset it (allowed with --dev only)"
                )
            return
        if environ.get(EMULATOR) and not _on_loopback(environ[EMULATOR]):
            self.problems.append(f"{EMULATOR}: expected an emulator on loopback, e.g. 127.0.0.1:9099")
        for name, address in self.file.listen.addresses().items():
            if not address.is_loopback:
                self.problems.append(f"listen.{name}: --dev lets callers in without credentials: on loopback only")
        if self.file.redis.url:
            self.problems.append("redis.url: --dev is for a private store only: leave it out")
        if (self.file.issuer or "").startswith("https://"):
            self.problems.append("issuer: --dev signs for anybody, so never as an https issuer: leave it out")

    def _providers(self) -> dict[str, Provider]:
        providers: dict[str, Provider] = {}
        owners: dict[str, str] = {}
        for name, table in self.file.providers.items():
            resolved = {
                key: self._path(value)
                if key in ("ca_file", "jwks_file", "service_account_file") and isinstance(value, str)
                else value
                for key, value in table.items()
            }
            try:
                provider = provider_from_table(name, resolved, own_issuer=self.file.issuer or "")
            except ConfigurationError as error:
                self.problems.extend(error.problems)
                continue
            for issuer in provider.issuers:
                if issuer in owners:
                    self.problems.append(
                        f"providers.{name}: has the issuer of providers.{owners[issuer]}: one provider for each "
                        "issuer, with all the audiences"
                    )
                owners[issuer] = name
            providers[name] = provider
        return providers

    def _audiences(self, clients: Mapping[str, Client], *, development: bool) -> dict[str, Audience]:
        audiences: dict[str, Audience] = {}
        for name, table in self.file.audiences.items():
            path = key_path("audiences", name)
            if not 0 < len(name) <= 255:
                self.problems.append(f"{path}: expected a name of 1 to 255 characters")
            if not table.clients and not development:
                self.problems.append(f"{path}.clients: is required: the ids of the clients that may have tokens for it")
            missing = [("clients", client) for client in sorted(table.clients - clients.keys())]
            missing += [("providers", provider) for provider in sorted(table.providers - self.file.providers.keys())]
            self.problems += [f"{path}.{key}: there is no [{key}.{unknown}]" for key, unknown in missing]
            if not table.providers and not table.reexchange_from:
                self.problems.append(
                    f"{path}.providers: is required: whose tokens are exchanged for it (or reexchange_from)"
                )
            for scope in sorted(table.scopes):
                if not _is_scope(scope):
                    self.problems.append(f"{path}.scopes: {scope!r} is no scope (RFC 6749 section 3.3)")
            rules = AudienceRules(name, table, self.file, self.base, self.formats, development=development)
            lifetime, longest = rules.lifetimes()
            if lifetime > longest:
                self.problems.append(f"{path}.lifetime: is longer than max_lifetime")
            algorithm = table.algorithm or next(iter(self.file.keys.algorithms), "")
            if algorithm not in self.file.keys.algorithms:
                self.problems.append(
                    f"{path}.algorithm: is not in keys.algorithms: add it there, so that there is a key"
                )
            audience = Audience(
                name=name,
                clients=table.clients,
                providers=table.providers,
                format=rules.form.traits,
                scopes=table.scopes,
                lifetime=lifetime,
                max_lifetime=longest,
                algorithm=algorithm,
                claims=tuple(table.claims.items()),
                on_missing_profile=table.on_missing_profile,
                public_clients=table.public_clients,
                single_use=table.single_use,
                max_token_bytes=table.max_token_bytes,
                condition=table.condition,
                reexchange_from=table.reexchange_from,
                bound=table.bound,
                actors=rules.actors(),
                reuse_window=rules.reuse_window(),
            )
            audiences[name] = rules.formatted(audience)
            self.problems += rules.problems
        return audiences

    def _check_envoy(self, audiences: Mapping[str, Audience]) -> None:
        table = self.file.envoy
        named = {"audience": table.audience} | {key_path("hosts", host): name for host, name in table.hosts.items()}
        for key, name in named.items():
            if name is not None and name not in audiences:
                self.problems.append(f'envoy.{key}: there is no [audiences."{name}"]')
        for host in table.hosts:
            if host != host.lower() or ":" in host:
                self.problems.append(f"envoy.{key_path('hosts', host)}: expected a host in lower case, without port")

    def _store_options(self) -> StoreOptions:
        redis = self.file.redis
        ca_file = self.base / redis.ca_file if redis.ca_file else None
        self._check_store_url(ca_file)
        password = Secret(redis.password) if redis.password else None
        if redis.password_file:
            try:
                password = Secret((self.base / redis.password_file).read_text().strip())
            except (OSError, UnicodeDecodeError):
                self.problems.append(f"redis.password_file: {shown(self.base / redis.password_file)} can't be read")
        return StoreOptions(
            username=redis.username,
            password=password,
            ca_file=ca_file,
            read_timeout=redis.read_timeout,
            write_timeout=redis.write_timeout,
            max_connections=redis.max_connections,
            min_replicas=redis.min_replicas,
        )

    def _check_store_url(self, ca_file: Path | None) -> None:
        url = self.file.redis.url
        try:
            tls = url is not None and urls.parse(url).tls
            if ca_file is not None and not tls:
                self.problems.append(
                    "redis.ca_file: is for TLS, which redis.url does not ask for: expected rediss://, "
                    "rediss+sentinel:// or rediss+cluster://, or no ca_file"
                )
            elif ca_file is not None:
                check_ca_file(ca_file)
        except ConfigurationError as error:
            self.problems.append(error.message)


def _on_loopback(text: str) -> bool:
    try:
        return Address.parse(text).is_loopback
    except ValueError:
        return False


def _is_scope(text: str) -> bool:
    return 0 < len(text) <= 128 and all(0x21 <= ord(char) <= 0x7E and char not in '"\\' for char in text)

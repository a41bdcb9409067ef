"""Callers: clients, operators and the proxy before them, from their tables, with their ways of authentication."""

from pathlib import Path
from types import MappingProxyType
from typing import Final

from tokenmint.admission.callers import Operator, Role
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.key_path import key_path
from tokenmint.config.settings import client_provider
from tokenmint.config.suggestions import did_you_mean, no_such_table
from tokenmint.config.tables import ClientTable, File
from tokenmint.model.policy import Client
from tokenmint.model.proxies import Proxy
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, JWT
from tokenmint.verification.provider import Provider

_URNS: Final = {"id_token": ID_TOKEN, "access_token": ACCESS_TOKEN, "jwt": JWT}


class CallerRules:
    """Reads the tables of callers.

    Args:
        file: the whole file.
        base: the directory of relative paths.
        problems: receives the problems.
        issuer: the issuer of our tokens.
        proxy: the proxy for fetches of clients' keys.
    """

    def __init__(self, file: File, base: Path, problems: list[str], issuer: str, proxy: Proxy | None) -> None:
        self._issuer = issuer
        self._proxy = proxy
        self._file = file
        self._base = base
        self._problems = problems
        self.assertions: dict[str, Provider] = {}
        """The conditions for the assertions of clients that sign their own, by client id, once :meth:`clients` has read
        them."""

    def clients(self) -> dict[str, Client]:
        """Return the clients, in the form of the policy."""
        clients: dict[str, Client] = {}
        for client_id, table in self._file.clients.items():
            hashes = self._hashes("clients", client_id, table.secrets)
            self._check_methods(client_id, table)
            for workload in table.workloads:
                if workload.provider not in self._file.providers:
                    self._problems.append(
                        f"{key_path('clients', client_id, 'workloads')}: "
                        + no_such_table("providers", workload.provider, self._file.providers)
                    )
            scopes = None
            if table.scopes is not None:
                scopes = MappingProxyType(dict(table.scopes))
                for audience, names in table.scopes.items():
                    known = self._file.audiences.get(audience)
                    path = key_path("clients", client_id, "scopes", audience)
                    if known is None:
                        meant = did_you_mean(audience, self._file.audiences)
                        self._problems.append(f"{path}: there is no such audience{meant}")
                    elif names - known.scopes:
                        self._problems += [
                            f"{path}: the audience has no scope {name!r}{did_you_mean(name, sorted(known.scopes))}"
                            for name in sorted(names - known.scopes)
                        ]
            rate = (table.rate.per_second, table.rate.burst) if table.rate is not None else None
            clients[client_id] = Client(
                client_id,
                hashes,
                scopes,
                rate,
                certificates=self._certificates("clients", client_id, table.certificates),
                workloads=frozenset((workload.provider, workload.subject) for workload in table.workloads),
                public=table.public,
                serves=self._serves(client_id, table),
                audience=self._audience(client_id, table),
                subject_token_type=_URNS.get(table.subject_token_type or "", ""),
            )
        return clients

    def _serves(self, client_id: str, table: ClientTable) -> frozenset[str]:
        path = key_path("clients", client_id, "serves")
        if table.public and table.serves:
            self._problems.append(f"{path}: a public client proves only its name, so it can't be an audience")
        self._problems += [
            f"{path}: {no_such_table('audiences', unknown, self._file.audiences)}"
            for unknown in sorted(table.serves - self._file.audiences.keys())
        ]
        return table.serves

    def _audience(self, client_id: str, table: ClientTable) -> str:
        """Return the default audience, which has to be one of the client's."""
        name = table.audience
        if name is None:
            return ""
        path, known = key_path("clients", client_id, "audience"), self._file.audiences.get(name)
        if known is None:
            self._problems.append(f"{path}: {no_such_table('audiences', name, self._file.audiences)}")
        elif client_id not in known.clients:
            others = key_path("audiences", name, "clients")
            self._problems.append(f"{path}: {others} does not name this client, which so can't have its tokens")
        return name

    def _hashes(self, section: str, name: str, secrets: tuple[str, ...]) -> tuple[str, ...]:
        hashes = []
        for index, line in enumerate(secrets):
            kind, _, digest = line.partition(":")
            if kind != "sha256" or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
                self._problems.append(
                    f'{key_path(section, name, "secrets")}[{index}]: expected "sha256:" and 64 hexadecimal digits, as '
                    "`tokenmint clients new-secret` prints it (the hash, never the secret)"
                )
            hashes.append(digest)
        return tuple(hashes)

    def proxy_hashes(self) -> tuple[str, ...]:
        """Return the hashes of the secrets of the proxy that forwards certificates."""
        table = self._file.listen.forwarded
        if table is None:
            return ()
        hashes = self._hashes("listen", "forwarded", table.secrets)
        if not hashes:
            self._problems.append(
                "listen.forwarded.secrets: is empty, so no proxy is trusted: `tokenmint clients new-secret` makes one"
            )
        others = {line for client in self._file.clients.values() for line in client.secrets}
        others |= {line for operator in self._file.operators.values() for line in operator.secrets}
        if others & set(table.secrets):
            self._problems.append(
                "listen.forwarded.secrets: one is also a client's or an operator's: its holder could act as any client"
            )
        return hashes

    def _check_methods(self, client_id: str, table: ClientTable) -> None:
        keys = [key for key in ("jwks", "jwks_file", "jwks_url") if getattr(table, key)]
        proved = bool(table.secrets or table.certificates or table.workloads or keys)
        if not proved and not table.public:
            self._problems.append(
                f"{key_path('clients', client_id, 'secrets')}: is required (`tokenmint clients new-secret`), or "
                "certificates, workloads, jwks, jwks_file or jwks_url"
            )
        if proved and table.public:
            self._problems.append(f"{key_path('clients', client_id, 'public')}: a public client has no credential")
        if keys:
            try:
                self.assertions[client_id] = client_provider(client_id, self._keys_of(table), self._issuer, self._proxy)
            except ConfigurationError as error:
                self._problems += [line.replace("providers.", "clients.", 1) for line in error.problems]

    def _keys_of(self, table: ClientTable) -> dict[str, object]:
        names = ("jwks", "jwks_url", "jwks_file")
        keys: dict[str, object] = {name: getattr(table, name) for name in names if getattr(table, name)}
        if "jwks_file" in keys:
            keys["jwks_file"] = str(self._base / table.jwks_file) if table.jwks_file else None
        return keys | {"allow_private": table.allow_private}

    def _certificates(self, section: str, name: str, identities: frozenset[str]) -> frozenset[str]:
        for identity in sorted(identities):
            if not identity.startswith(("spiffe://", "dns:", "subject:")):
                self._problems.append(
                    f"{key_path(section, name, 'certificates')}: expected spiffe://…, dns:NAME or subject:DN (RFC 4514)"
                )
        authorities = [self._file.listen.client_ca_file]
        if section == "clients":
            authorities.append(self._file.listen.http_client_ca_file)
        path = key_path(section, name, "certificates")
        if not identities or any(authorities):
            return identities
        if self._file.listen.transport != "native" and self._file.listen.forwarded is None:
            self._problems.append(f"{path}: need listen.client_ca_file")
        elif section == "operators":
            self._problems.append(
                f'{path}: need TLS, which listen.transport = "native" has on no listener: give a secret'
            )
        elif self._file.listen.forwarded is None:
            self._problems.append(
                f'{path}: need [listen.forwarded], the proxy that forwards certificates to listen.transport = "native"'
            )
        return identities

    def operators(self) -> dict[str, Operator]:
        """Return the operators."""
        operators: dict[str, Operator] = {}
        for name, table in self._file.operators.items():
            unknown = table.roles - set(Role)
            if unknown or not table.roles:
                meant = did_you_mean(min(unknown), Role) if unknown else ""
                self._problems.append(
                    f"{key_path('operators', name, 'roles')}: expected some of {', '.join(Role)}{meant}"
                )
            if not table.secrets and not table.certificates:
                self._problems.append(
                    f"{key_path('operators', name, 'secrets')}: is required (`tokenmint clients new-secret`), "
                    "or certificates"
                )
            roles = frozenset(Role(role) for role in table.roles - unknown)
            hashes = self._hashes("operators", name, table.secrets)
            certificates = self._certificates("operators", name, table.certificates)
            operators[name] = Operator(name, hashes, roles, certificates)
        return operators

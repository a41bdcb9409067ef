"""The rules of audiences: from their tables to the policy's types."""

from collections.abc import Iterator
from pathlib import Path

from tokenmint.base.key_path import key_path
from tokenmint.base.uri import BadUri, normal_uri
from tokenmint.config.formats import AudienceRules
from tokenmint.config.suggestions import no_such_table
from tokenmint.config.tables import AudienceTable, File
from tokenmint.formats.table import Formats
from tokenmint.model.policy import Audience
from tokenmint.model.proxies import Proxy


def audiences_of(
    file: File, base: Path, formats: Formats, *, development: bool, proxy: Proxy | None = None
) -> tuple[dict[str, Audience], list[str]]:
    """Return the audiences by name, and the problems of their tables. ``proxy``: that of `[proxy]`."""
    audiences: dict[str, Audience] = {}
    problems: list[str] = []
    for name, table in file.audiences.items():
        problems += _problems(name, table, file, development=development)
        rules = AudienceRules(name, table, file, base, formats, development=development, proxy=proxy)
        lifetime, longest = rules.lifetimes()
        if lifetime > longest:
            problems.append(f"{key_path('audiences', name)}.lifetime: is longer than max_lifetime")
        audience = Audience(
            name=name,
            clients=table.clients,
            providers=table.providers,
            scopes=table.scopes,
            resources=frozenset(filter(None, map(_normal, table.resources))),
            drops_foreign_scopes=table.unknown_scopes == "drop",
            lifetime=lifetime,
            max_lifetime=longest,
            algorithm=_algorithm(table, file),
            claims=tuple(table.claims.items()),
            on_missing_profile=table.on_missing_profile,
            public_clients=table.public_clients,
            single_use=table.single_use,
            max_token_bytes=table.max_token_bytes,
            condition=table.condition,
            format=rules.form.traits,
            reexchange_from=table.reexchange_from,
            bound=table.bound,
            actors=rules.actors(),
            reuse_window=rules.reuse_window(),
            gateway_cache=rules.gateway_cache(),
            status_list=rules.status_list(),
        )
        audiences[name] = rules.formatted(audience)
        problems += rules.problems
    return audiences, problems


def _algorithm(table: AudienceTable, file: File) -> str:
    return table.algorithm or next(iter(file.keys.algorithms), "")


def _problems_of_resources(name: str, table: AudienceTable, file: File) -> Iterator[str]:
    """Yield the resources that are no URIs, or that name another audience too: nothing would tell which is meant."""
    path = key_path("audiences", name, "resources")
    others = {uri: other for other in file.audiences if other != name for uri in _names_of(other, file)}
    for resource in sorted(table.resources):
        try:
            uri = normal_uri(resource)
        except BadUri as error:
            yield f"{path}: expected absolute URIs without fragments (RFC 8707), and one is not: {error}"
            continue
        if uri in others:
            yield f"{path}: {resource!r} names {key_path('audiences', others[uri])} too: leave it out of one of them"


def _names_of(name: str, file: File) -> Iterator[str]:
    """Yield the normal forms of the URIs that name an audience."""
    yield from filter(None, map(_normal, (name, *file.audiences[name].resources)))


def _normal(text: str) -> str:
    try:
        return normal_uri(text)
    except BadUri:
        return ""


def _problems(name: str, table: AudienceTable, file: File, *, development: bool) -> list[str]:
    path = key_path("audiences", name)
    problems = []
    if not 0 < len(name) <= 255:
        problems.append(f"{path}: expected a name of 1 to 255 characters")
    if not table.clients and not development:
        problems.append(f"{path}.clients: is required: the ids of the clients that may get tokens for it")
    if not table.providers and not table.reexchange_from:
        problems.append(f"{path}.providers: is required: the providers of its subject tokens (or reexchange_from)")
    problems += [
        f"{path}.{section}: {no_such_table(section, missing, tables)}"
        for section, names, tables in (
            ("clients", table.clients, file.clients),
            ("providers", table.providers, file.providers),
        )
        for missing in sorted(names - tables.keys())
    ]
    problems += _problems_of_resources(name, table, file)
    problems += [
        f"{path}.scopes: {scope!r} is not a scope (RFC 6749 section 3.3)"
        for scope in sorted(table.scopes)
        if not _is_scope(scope)
    ]
    if _algorithm(table, file) not in file.keys.algorithms:
        problems.append(f"{path}.algorithm: is not in keys.algorithms: add it there, so that it gets a key")
    return problems


def _is_scope(text: str) -> bool:
    return 0 < len(text) <= 128 and all(0x21 <= ord(char) <= 0x7E and char not in '"\\' for char in text)

"""Sources of a provider's keys: pinned in the configuration, or fetched from a URL."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import read_bytes
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.tls_files import verifying
from tokenmint.config.entries import Entry, ProviderTable
from tokenmint.config.provider_requests import Problem, problems_of_requests, proxy_of
from tokenmint.model.proxies import Proxy
from tokenmint.verification.jwk_set import MAX_KEYS
from tokenmint.verification.key_file import key_file, usable_keys
from tokenmint.verification.key_source import KeySource

OWN_KEYS: Final = ("jwks", "jwks_file", "jwks_url", "x509_url", "discovery_url")
"""Keys of the table that name a source."""
_NO_TLS: Final = (
    "expected https (http only on loopback, with allow_private = true): an attacker could change the keys on the way. "
    "Name a private authority in ca_file, or let a sidecar on loopback add TLS, or keep the keys in jwks_file"
)
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put configured values into a template; a placeholder without a value stays, and matches nothing."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


def key_source(
    table: ProviderTable,
    entry: Entry,
    issuers: Mapping[str, object],
    values: Mapping[str, str],
    proxy: Proxy | None,
) -> tuple[KeySource | None, list[Problem]]:
    """Return the source of the keys, None if there is none, and the problems of the table.

    Args:
        values: replacements for placeholders in the URLs of the shipped entry.
        proxy: the proxy of providers without their own.
    """
    problems = [*_authorities(table.ca_file), *problems_of_requests(table)]
    own = [key for key in OWN_KEYS if getattr(table, key)]
    if len(own) > 1:
        return None, [*problems, (own[1], f"only one of {', '.join(own)} is used: remove the others")]
    if table.jwks_file or table.jwks:
        source, wrong = _not_fetched(table, entry)
        return source, [*problems, *wrong]
    kind, url = _kind(table, entry, replaced=table.issuer is not None or bool(own))
    expected, others = "", list[str]()
    if kind == "discovery":
        if not issuers and entry.trust_domain_from is not None:
            return None, [*problems, ("jwks_url", "is required, or jwks or jwks_file: the trust bundle's keys")]
        if not issuers or (len(issuers) != 1 and not isinstance(table.issuer, tuple)):
            return None, problems
        expected, *others = issuers
        url = url or expected.rstrip("/") + "/.well-known/openid-configuration"
    url = fill(url, values)
    if (
        not _PLACEHOLDER.search(url) or own or table.issuer is not None
    ):  # otherwise a parameter is missing, which was reported
        problems += [(own[0] if own else "issuer", text) for text in _unusable(url, allow_private=table.allow_private)]
    try:
        proxy = proxy_of(table, proxy)
    except BadUrl as error:
        problems.append(("proxy", str(error)))
    source = KeySource(
        kind,
        url=url,
        issuer=expected,
        more_issuers=frozenset(others),
        max_keys=_most_keys(table, entry),
        ca_file=table.ca_file,
        allow_private=table.allow_private,
        timeout=table.timeout,
        bearer_token_file=Path(table.bearer_token_file) if table.bearer_token_file else None,
        headers=tuple(sorted(table.headers.items())),
        header_files=tuple((name, Path(path)) for name, path in sorted(table.header_files.items())),
        proxy=proxy,
    )
    return source, problems


def _kind(table: ProviderTable, entry: Entry, *, replaced: bool) -> tuple[Literal["jwks", "x509", "discovery"], str]:
    """Return the kind of document and its URL. If the issuer was ``replaced``, the shipped URL is another issuer's."""
    if table.jwks_url or (entry.jwks_url and not replaced):
        return "jwks", table.jwks_url or entry.jwks_url or ""
    if table.x509_url or (entry.x509_url and not replaced):
        return "x509", table.x509_url or entry.x509_url or ""
    return "discovery", table.discovery_url or ""


def _unusable(url: str, *, allow_private: bool) -> list[str]:
    try:
        parts = HttpUrl.parse(url)
    except BadUrl as error:
        return [str(error)]
    if parts.scheme == "http" and not (allow_private and parts.is_loopback):
        return [_NO_TLS]
    return []


def _authorities(ca_file: str | None) -> list[Problem]:
    if ca_file is None:
        return []
    try:
        verifying(read_bytes(Path(ca_file)))
    except ValueError:
        return [("ca_file", "holds no certificates in PEM")]
    except OSError as error:
        return [("ca_file", f"can't be read ({error.strerror})")]
    return []


def _most_keys(table: ProviderTable, entry: Entry) -> int:
    return table.max_keys or entry.max_keys or MAX_KEYS


def _not_fetched(table: ProviderTable, entry: Entry) -> tuple[KeySource, list[Problem]]:
    body, most = (table.jwks or "").encode(), _most_keys(table, entry)
    source = KeySource("pinned", pinned=body, max_keys=most)
    key = "jwks_file" if table.jwks_file else "jwks"
    try:
        if table.jwks_file:
            path = Path(table.jwks_file)
            read_bytes(path)
            source = KeySource("file", path=path, file=key_file(path, most), max_keys=most)
        else:
            usable_keys(key, body, most)
    except OSError as error:
        return source, [(key, f"can't be read ({error.strerror})")]
    except ConfigurationError as error:
        return source, [(key, error.message.removeprefix(f"{key}: "))]
    return source, []

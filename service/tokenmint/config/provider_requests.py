"""The requests for the keys of a provider: headers, a token, a proxy."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tokenmint.base.errors import ConfigurationError
from tokenmint.config.entries import ProviderTable
from tokenmint.config.proxies import NONE, proxy_url
from tokenmint.model.proxies import Proxy
from tokenmint.verification.key_source import BEARER_TOKEN_FILE, HEADER_FILES
from tokenmint.verification.source_files import secret_file

Problem = tuple[str, str]
"""A key of the table, and the text of its problem."""
MAX_HEADERS: Final = 16
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?")
_OURS: Final = frozenset(
    {
        "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect",
        "range", "if-none-match", "accept-encoding", "proxy-authorization", "proxy-connection",
    }
)  # fmt: skip
"""Headers that the request has anyway, or that would change its meaning."""
_SECRET: Final = re.compile(r"auth|cookie|key|token|secret|password|credential", re.IGNORECASE)
"""Names of headers that hold secrets."""


def proxy_of(table: ProviderTable, shared: Proxy | None) -> Proxy | None:
    """Return a provider's proxy: its own, none, or the shared one. Raises ``BadUrl``."""
    if table.proxy is None:
        return shared
    return None if table.proxy == NONE else Proxy(proxy_url(table.proxy))


def problems_of_requests(table: ProviderTable) -> Iterator[Problem]:
    """Yield the problems of the headers of a provider's table, and of their files."""
    names = [name.lower() for name in (*table.headers, *table.header_files)]
    if table.bearer_token_file:
        names.append("authorization")
    if len(names) > MAX_HEADERS:
        yield "headers", f"expected {MAX_HEADERS} at most"
        return
    for key, headers in (("headers", table.headers), ("header_files", table.header_files)):
        for name in headers:
            if not _NAME.fullmatch(name):
                yield key, "the name of a header has letters, digits and !#$%&'*+.^_`|~- only (RFC 9110 section 5.1)"
            elif name.lower() in _OURS:
                yield key, f"{name} can't be set in the configuration"
            elif names.count(name.lower()) > 1:
                yield key, f"{name} is set twice"
    for name, value in table.headers.items():
        if _SECRET.search(name):
            yield "headers", f"{name}: a secret is not allowed in the file: use header_files, or bearer_token_file"
        elif not _VALUE.fullmatch(value):
            yield "headers", f"{name}: expected one line of printable ASCII, 1 to 1024 bytes"
    files = [(HEADER_FILES.format(name), path) for name, path in table.header_files.items()]
    if table.bearer_token_file:
        files.append((BEARER_TOKEN_FILE, table.bearer_token_file))
    for setting, path in files:
        try:
            secret_file(setting, Path(path))
        except ConfigurationError as error:
            yield setting.partition(".")[0], error.message.partition(": ")[2]
    if (names or table.proxy) and (table.jwks or table.jwks_file):
        key = "proxy" if table.proxy else "bearer_token_file" if table.bearer_token_file else "headers"
        yield key, "is for keys that are fetched, and this provider's are in jwks or jwks_file: leave it out"

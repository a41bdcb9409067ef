"""The rules of `[proxy]`, and of each provider's `proxy`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.foreign_text import quoted
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.tls_files import CA_FILE, client_tls
from tokenmint.config.tables import ProxyTable
from tokenmint.model.proxies import Proxy, is_entry
from tokenmint.model.secret import Secret
from tokenmint.verification.key_source import PROXY_PASSWORD_FILE
from tokenmint.verification.source_files import secret_file

NONE: Final = "none"
"""The value of a provider's `proxy` for direct connections."""
FROM_ENVIRONMENT: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_NO_PROXY: Final = ("no_proxy", "NO_PROXY")


def shared_proxy(table: ProxyTable, base: Path, environ: Mapping[str, str], problems: list[str]) -> Proxy | None:
    """Return the proxy of every provider without its own, and add the problems of the table to ``problems``.

    Args:
        base: the directory at which relative paths begin.
        environ: is read only if the table asks for it.
    """
    found = len(problems)
    problems += [
        f"proxy.no_proxy: {quoted(entry)} matches no host: expected a name, .name, an address, a network or *"
        for entry in table.no_proxy
        if not is_entry(entry)
    ]
    key, text, no_proxy = "proxy.url", table.url, table.no_proxy
    if table.environment:
        if text is None:
            key, text = next(((name, environ[name]) for name in FROM_ENVIRONMENT if environ.get(name)), (key, None))
        listed = next((environ[name] for name in _NO_PROXY if environ.get(name)), "")
        no_proxy += tuple(entry for part in listed.split(",") if (entry := part.strip()))
    if text is None:
        problems += [
            f"proxy.{name}: needs a proxy: set proxy.url"
            for name in ("username", "password_file", "ca_file")
            if getattr(table, name) is not None
        ]
        return None
    username, password, text = _credentials(text) if key != "proxy.url" else ("", None, text)
    files = {name: base / value for name in ("password_file", "ca_file") if (value := getattr(table, name))}
    tls, secret = None, None
    try:
        url = proxy_url(text)
        if CA_FILE in files:
            tls = client_tls("proxy", {CA_FILE: files[CA_FILE]})
        if "password_file" in files:
            secret = secret_file(PROXY_PASSWORD_FILE, files["password_file"])
    except BadUrl as error:
        problems.append(f"{key}: {error}")
        return None
    except ConfigurationError as error:
        problems += error.problems
        return None
    if table.password_file is not None and table.username is None:
        problems.append("proxy.password_file: needs proxy.username")
    if table.ca_file is not None and url.scheme != "https":
        problems.append(
            "proxy.ca_file: is for TLS to the proxy, which its URL does not ask for (https://). The authority of a "
            "proxy that opens providers' TLS belongs into the ca_file of each provider"
        )
    if len(problems) > found:
        return None
    return Proxy(
        url=url,
        username=table.username or username,
        password=password if "password_file" not in files else None,
        password_file=files.get("password_file"),
        ca_file=str(files[CA_FILE]) if CA_FILE in files else None,
        no_proxy=no_proxy,
        secret=secret,
        tls=tls,
    )


def proxy_url(text: str) -> HttpUrl:
    """Read the URL of a proxy. Raises ``BadUrl``."""
    scheme, separator, _ = text.partition("://")
    if separator and scheme not in ("http", "https"):
        raise BadUrl("a proxy of another kind is not supported: expected http://host:port or https://host:port")
    url = HttpUrl.parse(text if separator else f"http://{text}")
    if url.target != "/":
        raise BadUrl("a proxy has no path: expected http://host:port or https://host:port")
    return url


def _credentials(text: str) -> tuple[str, Secret | None, str]:
    """Return user, password and the URL without them: programs put both into the environment's variable."""
    scheme, separator, rest = text.rpartition("://")
    userinfo, at, place = rest.rpartition("@")
    if not at:
        return "", None, text
    username, _, password = userinfo.partition(":")
    return unquote(username), Secret(unquote(password)), f"{scheme}{separator}{place}"

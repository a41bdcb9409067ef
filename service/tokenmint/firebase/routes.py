"""The way of the SDK's requests: through the configured proxy or directly, never by a variable of the environment.

The module loads `requests`, so it is imported only where the SDK is.
"""

import ssl
from collections.abc import Mapping
from typing import Any

import google.auth
from google.auth.compute_engine import Credentials as MachineCredentials
from google.auth.compute_engine import _metadata as machine
from google.auth.transport.requests import Request
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidURL

from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.model.proxies import Proxy


class Routes(HTTPAdapter):
    """Sends requests: https through a proxy if there is one for the host, all others directly.

    Args:
        proxy: the proxy; None: all requests are sent directly.
        authorities: verifies the servers, and a proxy without authorities of its own.
        max_retries: as in the base class.
    """

    def __init__(self, proxy: Proxy | None, authorities: ssl.SSLContext, max_retries: Any = 0) -> None:
        self._proxy = proxy
        self._authorities = authorities
        self._in_use: tuple[str, int] | None = None
        super().__init__(max_retries=max_retries)

    def __deepcopy__(self, memo: Any) -> "Routes":
        """Return another adapter of the same way: google-auth copies it for its own threads."""
        return Routes(self._proxy, self._authorities, self.max_retries)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        """Make the pool of direct connections."""
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._authorities, **pool_kwargs)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Return the pool of connections through the proxy. One that was made with other files is closed."""
        tls = self._proxy.tls if self._proxy is not None else None
        made_with = proxy, tls.generation if tls is not None else 0
        if made_with != self._in_use:
            before, self.proxy_manager, self._in_use = self.proxy_manager, {}, made_with
            for manager in before.values():
                manager.clear()
        to_proxy = tls.value if tls is not None else self._authorities
        return super().proxy_manager_for(
            proxy, ssl_context=self._authorities, proxy_ssl_context=to_proxy, **proxy_kwargs
        )

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:  # noqa: ARG002
        """Leave the authorities to the contexts: the base class would add others, also to those of the proxy."""
        conn.cert_reqs = "CERT_REQUIRED"

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,  # noqa: ARG002
        cert: Any = None,  # noqa: ARG002
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> Response:
        """Send a request. The proxies that the session found are ignored."""
        try:
            url = HttpUrl.parse(request.url or "")
        except BadUrl as error:
            raise InvalidURL(str(error)) from None
        through: dict[str, str] = {}
        if self._proxy is not None and url.scheme == "https" and self._proxy.serves(url):
            through["https"] = self._proxy.with_login().reveal()
        return super().send(request, stream, timeout, True, None, through)


def route(session: Session, proxy: Proxy | None, authorities: ssl.SSLContext) -> None:
    """Make a session use :class:`Routes`, and nothing of the environment."""
    session.trust_env = False
    for prefix in ("https://", "http://"):
        retries = getattr(session.get_adapter(prefix), "max_retries", 0)
        session.mount(prefix, Routes(proxy, authorities, retries))


def route_client(client: Any, proxy: Proxy | None, authorities: ssl.SSLContext) -> None:
    """Make each session of an SDK's client (``firebase_admin.auth.Client``) use :class:`Routes`.

    The SDK has no option for it. An attribute that a later version names otherwise fails here, before any request.
    """
    generator = client._token_generator  # noqa: SLF001  # see above
    for session in (generator.http_client.session, generator.request.session):
        route(session, proxy, authorities)
    # It fetches the access tokens. The emulator's session has none.
    if (tokens := getattr(generator.http_client.session, "_auth_request_session", None)) is not None:
        route(tokens, proxy, authorities)


def default_credentials(scopes: list[str], proxy: Proxy | None, authorities: ssl.SSLContext) -> Any:
    """Return the application default credentials. Raises google-auth's errors."""
    session = Session()
    route(session, proxy, authorities)
    request = Request(session)
    found, _ = google.auth.default(scopes=scopes, request=request)
    if isinstance(found, MachineCredentials):  # otherwise it would ask for that by a session of its own
        found = found.with_universe_domain(machine.get_universe_domain(request))  # type: ignore[no-untyped-call]
    return found

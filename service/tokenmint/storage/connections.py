"""How the store's connections are made, and what their failures are to everybody else."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.asyncio as driver
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import BlockingConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, MovedError, RedisError, ResponseError

from tokenmint.errors import ConfigurationError, OutcomeUnknown, StoreUnavailable
from tokenmint.secret import Secret
from tokenmint.storage import urls
from tokenmint.storage.refusals import code_of, named


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How the store is reached. Times are in seconds."""

    username: str | None = None
    password: Secret | None = None
    ca_file: Path | None = None
    read_timeout: float = 0.2
    """For any read as a whole, connecting included: an exchange waits no longer."""
    write_timeout: float = 3.0
    """For a confirmed write as a whole; with `appendfsync everysec` a confirmation takes up to a second."""
    max_connections: int = 64
    min_replicas: int = 0
    """How many replicas have to have a write before it counts as durable."""


class _PrimaryConnection(SentinelManagedConnection):
    """A connection that asks the sentinels anew when a primary has lost its replicas: it may have been overtaken.

    Such a primary goes on answering until it is demoted, which takes Sentinel ten seconds or more. The driver itself
    leaves a primary only once that calls itself read-only.
    """

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read a reply as the driver does."""
        try:
            return await super().read_response(*args, **kwargs)
        except ResponseError as error:
            if str(error).startswith("NOREPLICAS"):
                await self.disconnect(nowait=True)
            raise


def sentinel_pool(url: urls.StoreUrl, options: StoreOptions) -> tuple[Sentinel, SentinelConnectionPool]:
    """Return the sentinels, and connections to the primary that they name."""
    sentinel = Sentinel(  # type: ignore[no-untyped-call]  # the driver's sentinel module is untyped
        list(url.hosts), socket_timeout=options.read_timeout, socket_connect_timeout=options.read_timeout
    )
    pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]  # as above
        url.service,
        sentinel,
        max_connections=options.max_connections,
        connection_class=_PrimaryConnection,
        **_connection(url, options),
    )
    return sentinel, pool


def _connection(url: urls.StoreUrl, options: StoreOptions) -> dict[str, Any]:
    password = options.password.reveal() if options.password else url.password
    kwargs: dict[str, Any] = {
        "username": options.username or url.username,
        "password": password,
        "socket_timeout": options.write_timeout,
        "socket_connect_timeout": options.read_timeout,
        # A pooled connection may be dead; one more try is a fresh one. Time-outs are not tried again: they add up.
        "retry": Retry(NoBackoff(), 1, supported_errors=(driver.ConnectionError,)),
        "protocol": 2,
    }
    if url.kind != "cluster":
        kwargs["db"] = url.database
    return kwargs


def server_pool(url: urls.StoreUrl, options: StoreOptions) -> BlockingConnectionPool:
    """Return connections to the one server that ``url`` names."""
    kwargs = _connection(url, options)
    if url.socket_path is not None:
        kwargs |= {"connection_class": UnixDomainSocketConnection, "path": url.socket_path}
    else:
        host, port = url.hosts[0]
        kwargs |= {"host": host, "port": port}
        if url.tls:
            kwargs |= {"connection_class": SSLConnection} | _tls(options)
    return BlockingConnectionPool(max_connections=options.max_connections, timeout=options.read_timeout, **kwargs)


def cluster_client(url: urls.StoreUrl, options: StoreOptions) -> RedisCluster:
    """Return a client of the cluster that ``url`` names."""
    kwargs = _connection(url, options) | (({"ssl": True} | _tls(options)) if url.tls else {})
    return RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in url.hosts],
        max_connections=options.max_connections,
        **kwargs,
    )


def _tls(options: StoreOptions) -> dict[str, Any]:
    return {"ssl_cert_reqs": "required", "ssl_ca_certs": str(options.ca_file) if options.ca_file else None}


@contextlib.contextmanager
def translated(url: urls.StoreUrl, *, writes: bool, starting: bool = False, follow: bool = False) -> Iterator[None]:
    """Turn the driver's errors into ours. The one place that knows them.

    Refused credentials are a mistake of the configuration at the start, and an outage after it. With ``follow`` a
    redirection of the cluster is the caller's to follow.
    """
    try:
        yield
    except AuthenticationError:
        text = f"{url.describe()} refuses the credentials: check redis.username and redis.password_file"
        if starting:
            raise ConfigurationError(f"redis: {text}") from None
        raise StoreUnavailable(detail=text) from None
    except ResponseError as error:
        if follow and isinstance(error, MovedError):
            raise
        # The server's answer: it did nothing. READONLY, LOADING, OOM, CLUSTERDOWN, NOPERM, MISCONF ...
        raise StoreUnavailable(detail=f"{url.describe()} answered {named(code_of(error))}") from None
    except (RedisError, OSError, TimeoutError) as error:
        kind = OutcomeUnknown if writes else StoreUnavailable
        what = named(code_of(error)) if isinstance(error, BusyLoadingError) else type(error).__name__
        raise kind(detail=f"{url.describe()}: {what}") from None

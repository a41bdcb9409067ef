"""Connections to the store, and the translation of their failures for all callers."""

import asyncio
import contextlib
import copy
import ssl
from collections.abc import Iterator
from typing import Any, Final

import redis.asyncio as driver
import structlog
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import (
    AbstractConnection,
    BlockingConnectionPool,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MovedError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from tokenmint.base.errors import ConfigurationError, CorruptRecord, OutcomeUnknown, StoreUnavailable, TokenmintError
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.base.telemetry import places
from tokenmint.storage import urls
from tokenmint.storage.files import StoreFiles
from tokenmint.storage.options import StoreOptions
from tokenmint.storage.refusals import WRONG_TYPE, code_of, named

log = structlog.get_logger(__name__)

_DRIVER: Final = DriverInfo()
"""Made once: each connection would otherwise read the driver's version from its installed metadata, for 5 ms."""
_FAULTS: Final = 100  # kinds of faults that were logged, and are not logged again
_logged: set[tuple[str, str]] = set()


class _Dependable(AbstractConnection):
    """A connection that reconnects after a loss, and fails only with the driver's own errors.

    The driver handles errors of the operating system, but not errors of an event loop: uvloop answers a write to a
    connection that was reset with `RuntimeError`. Nor does the driver check for a lost connection before it uses one.
    """

    async def connect(self) -> None:
        """Connect, unless a working connection exists."""
        if self._lost():
            await self.disconnect(nowait=True)
        with _AsConnectionError():
            await super().connect()  # type: ignore[no-untyped-call]  # untyped there

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        """Close the connection, and ignore the errors of a broken one."""
        try:
            await super().disconnect(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # it is gone either way
            _note(error)
            self._reader = self._writer = None

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Send, as the driver does."""
        with _AsConnectionError():
            await super().send_packed_command(*args, **kwargs)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read a reply, as the driver does."""
        with _AsConnectionError():
            return await super().read_response(*args, **kwargs)

    async def _send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        # The driver sends in a task of its own. Another task may have read the loss, and closed the connection, before
        # that one begins. A transport that is closing takes nothing: asyncio drops it, and uvloop raises.
        if self._writer is None or self._writer.is_closing():
            raise driver.ConnectionError("the connection was lost before the command was sent")
        await super()._send_packed_command(*args, **kwargs)

    def out_of_date(self) -> bool:
        """Return whether the files of this connection have been renewed since it was made."""
        return False

    def _lost(self) -> bool:
        reader, writer = self._reader, self._writer
        if reader is None or writer is None:
            return False
        return self.out_of_date() or writer.is_closing() or reader.exception() is not None or reader.at_eof()


class _AsConnectionError:
    """Turns other errors into a connection error of the driver. A class, because it is faster than a generator."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, RedisError | OSError | TimeoutError | TokenmintError):
            _note(error)
            raise driver.ConnectionError(type(error).__name__) from error


class _ServerConnection(_Dependable, Connection):
    pass


class _SocketConnection(_Dependable, UnixDomainSocketConnection):
    pass


class _TlsConnection(_Dependable, SSLConnection):
    """A connection with TLS 1.2 or later. The server's certificate has to name the dialled host.

    If its files have been renewed, the connection is made anew before its next use. So a withdrawn certificate or
    authority is no longer used.
    """

    def __init__(self, *, tls: RenewedFiles[ssl.SSLContext], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._tls = tls
        self._generation = tls.generation

    def out_of_date(self) -> bool:
        """Return whether the authorities, or this side's certificate, have been renewed."""
        return self._generation != self._tls.generation

    def _connection_arguments(self) -> dict[str, Any]:
        # All connections share a context, because the driver would make one for each, and load every public authority
        # each time.
        plain: dict[str, Any] = dict(Connection._connection_arguments(self))  # noqa: SLF001  # of its base class
        self._generation = self._tls.generation
        return plain | {"ssl": self._tls.value}


class _OfNode(_Dependable):
    """A connection to a node of a cluster. The driver hands it out without connecting it first."""

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Send, as the driver does, on a working connection."""
        if self._lost():
            await self.disconnect(nowait=True)
        await super().send_packed_command(*args, **kwargs)


class _NodeConnection(_OfNode, _ServerConnection):
    pass


class _NodeTlsConnection(_OfNode, _TlsConnection):
    pass


class _PrimaryConnection(_Dependable, SentinelManagedConnection):
    """A connection that asks the sentinels again when a primary has lost its replicas: it may have been replaced.

    Such a primary still answers until Sentinel demotes it, which takes ten seconds or more. The driver itself leaves a
    primary only after that primary reports that it is read-only.
    """

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read a reply, as the driver does."""
        try:
            return await super().read_response(*args, **kwargs)
        except ResponseError as error:
            if str(error).startswith("NOREPLICAS"):
                await self.disconnect(nowait=True)
            raise


class _PrimaryTlsConnection(_PrimaryConnection, _TlsConnection):
    """The certificate has to name the primary as the sentinels announce it."""


class _SentinelClient(driver.Redis):
    refused = False
    """Whether the sentinel refused the credentials at the last request."""

    async def sentinel_masters(self, *args: Any, **kwargs: Any) -> Any:
        """Ask, as the driver does. A sentinel with an unusable answer is skipped, like one that is unreachable."""
        try:
            answer = await super().sentinel_masters(*args, **kwargs)
            self.refused = False
            return answer
        except AuthenticationError:  # the driver takes it for one that is away, and tells nobody
            if not self.refused:
                log.warning(
                    "a sentinel refuses the credentials",
                    check=["redis.sentinel_username", "redis.sentinel_password_file"],
                )
            self.refused = True
            raise
        except (driver.ConnectionError, driver.TimeoutError):
            raise
        except Exception as error:
            raise driver.ConnectionError(type(error).__name__) from error


class _Sentinels(Sentinel):
    """Puts the sentinel that answered first, as the driver does, and never loses one.

    The driver swaps two places of the list that other calls are swapping too, so that one sentinel stands there twice,
    and another is asked no more.
    """

    async def discover_master(self, service_name: str) -> Any:
        """Ask, as the driver does."""
        one = copy.copy(self)
        one.sentinels = list(self.sentinels)
        address = await Sentinel.discover_master(one, service_name)
        answered = one.sentinels[0]
        self.sentinels.sort(key=lambda sentinel: sentinel is not answered)
        return address


def sentinel_pool(
    url: urls.StoreUrl, options: StoreOptions, files: StoreFiles
) -> tuple[Sentinel, SentinelConnectionPool]:
    """Return the sentinels, and a pool of connections to the primary. TLS is used for both, or for neither."""
    sentinel = _Sentinels([])  # type: ignore[no-untyped-call]  # the driver's sentinel module is untyped
    for host, port in url.hosts:
        pool_of_one: driver.ConnectionPool = driver.ConnectionPool(
            host=host,
            port=port,
            socket_timeout=options.read_timeout,
            socket_connect_timeout=options.read_timeout,
            retry=Retry(NoBackoff(), 1, supported_errors=(driver.ConnectionError,)),
            protocol=2,
            credential_provider=files.sentinels,
            driver_info=_DRIVER,
            **_transport(files),
        )
        sentinel.sentinels.append(_SentinelClient.from_pool(pool_of_one))
    kwargs = _connection(url, options, files) | _transport(files)
    kwargs["connection_class"] = _PrimaryTlsConnection if url.tls else _PrimaryConnection
    pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]  # as above
        url.service, sentinel, max_connections=options.max_connections, **kwargs
    )
    return sentinel, pool


def _connection(url: urls.StoreUrl, options: StoreOptions, files: StoreFiles) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "credential_provider": files.store,
        "socket_timeout": options.write_timeout,
        "socket_connect_timeout": options.read_timeout,
        # A pooled connection may be dead, so one retry gets a fresh one. Time-outs are not retried, because they add
        # up.
        "retry": Retry(NoBackoff(), 1, supported_errors=(driver.ConnectionError,)),
        "protocol": 2,
        "driver_info": _DRIVER,
    }
    if url.kind != "cluster":
        kwargs["db"] = url.database
    return kwargs


def _ask_once(commands: Any) -> None:
    """Let the driver ask for the server's commands once, and not anew whenever it looks for nodes.

    It asks the first primary. If that one does not answer, the driver would reach none of the others.
    """
    ask = commands.initialize

    async def initialize(node: ClusterNode | None = None) -> None:
        if not commands.commands:
            await ask(node)

    commands.initialize = initialize


def server_pool(url: urls.StoreUrl, options: StoreOptions, files: StoreFiles) -> BlockingConnectionPool:
    """Return a pool of connections to the single server of ``url``."""
    kwargs = _connection(url, options, files)
    if url.socket_path is not None:
        kwargs |= {"connection_class": _SocketConnection, "path": url.socket_path}
    else:
        host, port = url.hosts[0]
        kwargs |= {"host": host, "port": port} | _transport(files)
    return BlockingConnectionPool(max_connections=options.max_connections, timeout=options.read_timeout, **kwargs)


def cluster_client(url: urls.StoreUrl, options: StoreOptions, files: StoreFiles) -> RedisCluster:
    """Return a client of the cluster of ``url``."""
    client = RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in url.hosts],
        max_connections=options.max_connections,
        # The configured names stay: if all nodes return with other addresses, only these names lead to them.
        dynamic_startup_nodes=False,
        **_connection(url, options, files),
    )
    _ask_once(client.commands_parser)
    # It takes no connection class, and passes these arguments to every node that it discovers later.
    transport = _transport(files)
    transport["connection_class"] = _NodeTlsConnection if url.tls else _NodeConnection
    client.connection_kwargs.update(transport)
    if client.nodes_manager.connection_kwargs is not client.connection_kwargs:
        raise RuntimeError("the driver makes its nodes from unexpected arguments")
    for node in client.startup_nodes:
        of_node = dict(transport)
        node.connection_class = of_node.pop("connection_class")
        node.connection_kwargs.update(of_node)
    return client


def _transport(files: StoreFiles) -> dict[str, Any]:
    """Return the arguments of a connection over TCP. Only here the URL's scheme decides whether it uses TLS."""
    if files.tls is None:
        return {"connection_class": _ServerConnection}
    return {"connection_class": _TlsConnection, "tls": files.tls}


@contextlib.contextmanager
def translated(
    url: urls.StoreUrl, *, writes: bool, starting: bool = False, follow: bool = False, record: str = ""
) -> Iterator[None]:
    """Turn errors of the driver or the event loop into ours. Only this function knows them.

    Refused credentials are a configuration error at the start, and an outage later. With ``follow``, the caller follows
    a redirection of the cluster. ``record`` is the full name of the one key whose value the commands use: a value of
    another type is a ``CorruptRecord``, because no retry helps before an operator has removed it.
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
        if record and code_of(error) == WRONG_TYPE:
            raise CorruptRecord(detail=f"{record}: a value of another type than the one that was written") from None
        # The server answered that it did nothing: READONLY, LOADING, OOM, CLUSTERDOWN, NOPERM, MISCONF ...
        raise StoreUnavailable(detail=f"{url.describe()} answered {named(code_of(error))}") from None
    except TokenmintError:
        raise
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and (
            (task := asyncio.current_task()) is None or task.cancelling()
        ):
            raise  # the caller's own error
        _note(error)
        kind = OutcomeUnknown if writes else StoreUnavailable
        what = named(code_of(error)) if isinstance(error, BusyLoadingError) else type(error).__name__
        raise kind(detail=f"{url.describe()}: {what}") from None


def _note(error: BaseException) -> None:
    """Log an error that no store should cause, once for each place: it may be our own bug."""
    if isinstance(error, RedisError | RedisClusterException | OSError | TimeoutError):
        return
    where = places(error)[-6:]
    kind = (type(error).__name__, where[-1] if where else "")
    if kind not in _logged and len(_logged) < _FAULTS:
        _logged.add(kind)
        log.error("a store operation failed in an unexpected way", error=kind[0], where=where)

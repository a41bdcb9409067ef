"""The commands' connection to a service: its address, the caller's credentials, and the meaning of refusals."""

import functools
import inspect
import ipaddress
import json
import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import grpc
import typer
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from tokenmint.base.errors import CallerUnauthenticated, ConfigurationError, MethodDenied
from tokenmint.cli.options import ConnectionOptions, collected, expanded
from tokenmint.cli.output import plain
from tokenmint.cli.tls_failures import tls_failure
from tokenmint.model.secret import Secret, shown

ADMIN_TARGET: Final = "127.0.0.1:7444"
DATA_TARGET: Final = "127.0.0.1:7443"
GENERATED_OPERATOR: Final = Path(".tokenmint/operator.json")
_TARGET: Final = re.compile(r"(unix|unix-abstract):\S+|(dns:(//[^/\s]*/)?)?(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):\d{1,5}")
_EXIT: Final = {
    grpc.StatusCode.UNAVAILABLE: 3,
    grpc.StatusCode.DEADLINE_EXCEEDED: 3,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 3,
    grpc.StatusCode.UNAUTHENTICATED: 4,
    grpc.StatusCode.PERMISSION_DENIED: 4,
    grpc.StatusCode.NOT_FOUND: 5,
    grpc.StatusCode.INVALID_ARGUMENT: 2,
}

LONGEST: Final = 256 << 20
"""Bytes of an answer: a page of 500 profiles, each as large as the service allows, and twice as many."""
UNREACHED: Final = 1.0  # seconds between attempts to reach a service
MOST_DELAY: Final = 60.0  # seconds that a service can make a command wait between two attempts

Stub = TypeVar("Stub")


@dataclass(frozen=True, slots=True)
class Connection:
    """A service, and the caller's credentials for it."""

    target: str
    identifier: str | None
    secret: Secret | None
    options: ConnectionOptions

    @contextmanager
    def stub(self, make: Callable[[grpc.Channel], Stub], *, long_answers: bool = False) -> Iterator[Stub]:
        """Yield a stub; a failed call in the block ends the command with a clear line.

        ``long_answers``: an answer may be longer than gRPC's usual limit.
        """
        with self._channel([("grpc.max_receive_message_length", LONGEST)] if long_answers else []) as channel:
            try:
                yield make(channel)
            except grpc.RpcError as error:
                message, status = describe(error, self.target, self.options)
                typer.echo(f"tokenmint: {message}", err=True)
                raise typer.Exit(status) from None

    @property
    def call(self) -> dict[str, Any]:
        """Arguments of every call: the credentials, and the time limit."""
        metadata: list[tuple[str, str]] = []
        if self.identifier:
            metadata.append(("tokenmint-client-id", self.identifier))
        if self.secret:
            metadata.append(("tokenmint-client-secret", self.secret.reveal()))
        return {"metadata": metadata, "timeout": self.options.timeout}

    def _channel(self, more: list[tuple[str, int]]) -> grpc.Channel:
        loopback = _on_loopback(self.target)
        # A proxy would receive data for this machine, and can't reach this machine anyway.
        options = (*more, ("grpc.enable_http_proxy", 0)) if loopback else tuple(more)
        if self.options.uses_tls:
            return grpc.secure_channel(self.target, self._tls_credentials(), options)
        if not self.options.insecure and not loopback:
            raise ConfigurationError(
                f"{self.target}: secrets and tokens would cross the network unencrypted: use --tls or --ca-file, "
                "or --insecure if something else encrypts"
            )
        return grpc.insecure_channel(self.target, options)

    def _tls_credentials(self) -> grpc.ChannelCredentials:
        given = self.options
        if (given.cert_file is None) is not (given.key_file is None):
            raise ConfigurationError("--cert-file and --key-file belong together: name both")
        files = [path for path in (given.ca_file, given.cert_file, given.key_file) if path is not None]
        content = {path: _read(path).encode() for path in files}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # gRPC does not say which file is wrong
        try:
            if given.ca_file is not None:
                context.load_verify_locations(given.ca_file)
        except ssl.SSLError:
            raise ConfigurationError(f"{given.ca_file}: holds no certificates in PEM form") from None
        try:
            if given.cert_file is not None:
                context.load_cert_chain(given.cert_file, given.key_file, password=_no_password)
        except (ssl.SSLError, ValueError):
            raise ConfigurationError(
                f"{given.cert_file}, {given.key_file}: are not a certificate and its unencrypted private key "
                "in PEM form"
            ) from None
        roots, key, chain = (
            content.get(path) if path else None for path in (given.ca_file, given.key_file, given.cert_file)
        )
        return grpc.ssl_channel_credentials(roots, key, chain)


def connect(options: ConnectionOptions, *, operator: bool, typed: Callable[[str], bool]) -> Connection:
    """Return the connection of the options; ``typed`` returns whether an option is from the command line.

    Raises:
        ConfigurationError: they contradict each other, or name a file that can't be read or a value that can't be
            right.
    """
    identifier, secret = _credentials_among(options, operator=operator, typed=typed)
    if operator and (identifier is None or secret is None):
        raise ConfigurationError(
            "an operator needs credentials: --credentials FILE, or --client-id and --secret-file "
            "(in the environment TOKENMINT_CREDENTIALS, or TOKENMINT_CLIENT_ID and TOKENMINT_SECRET_FILE)"
        )
    if (identifier is None) is not (secret is None):
        missing = "an id: --client-id" if identifier is None else "a secret: --secret-file"
        raise ConfigurationError(f"a client needs an id and a secret: add {missing}, or use --credentials FILE instead")
    for name, value in (("id", identifier), ("secret", secret.reveal() if secret else None)):
        if value is not None and not (value.isascii() and value.isprintable() and value):
            raise ConfigurationError(f"the {name} can't be sent: expected printable ASCII characters on one line")
    place = options.target or (ADMIN_TARGET if operator else DATA_TARGET)
    if not _TARGET.fullmatch(place):
        raise ConfigurationError(
            f"{plain(place)}: expected host:port, for example {ADMIN_TARGET if operator else DATA_TARGET}"
        )
    return Connection(place, identifier, secret, options)


def _credentials_among(
    options: ConnectionOptions, *, operator: bool, typed: Callable[[str], bool]
) -> tuple[str | None, Secret | None]:
    """Return the id and the secret of the options and the environment. Raises as :func:`connect`."""
    secret_file, credentials = options.secret_file, options.credentials
    if typed("credentials") and typed("secret_file"):
        raise ConfigurationError("--credentials and --secret-file both name a secret: give one of them")
    if typed("credentials"):
        secret_file, environment = None, ""
    else:
        environment = os.environ.get("TOKENMINT_CLIENT_SECRET", "")
        if not environment.isascii():
            raise ConfigurationError("the secret can't be sent: expected printable ASCII characters on one line")
    identifier, secret = options.client_id or None, None
    if secret_file is not None:
        secret = Secret(_read(secret_file).strip())
    elif environment:
        secret = Secret(environment)
    if credentials is None and operator and secret is None and GENERATED_OPERATOR.exists():
        credentials = GENERATED_OPERATOR
    if credentials is not None and secret is None:
        found, secret = _credentials(credentials)
        if not typed("client_id"):  # an id of the environment belongs to another secret
            identifier = found
    return identifier, secret


def pages(call: Callable[..., Any], request: Any, field: str, arguments: Mapping[str, Any]) -> list[Any]:
    """Return all elements of ``field`` from a method that lists by pages."""
    found: list[Any] = []
    while True:
        answer = call(request, **arguments)
        found += getattr(answer, field)
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


def as_operator(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a connection, and pass the connection as its argument `service`."""
    return _connected(function, operator=True)


def as_client(function: Callable[..., None]) -> Callable[..., None]:
    """The same for the data plane."""
    return _connected(function, operator=False)


def _connected(function: Callable[..., None], *, operator: bool) -> Callable[..., None]:
    own = [parameter for name, parameter in inspect.signature(function).parameters.items() if name != "service"]

    @functools.wraps(function)
    def command(context: typer.Context, **arguments: Any) -> None:
        def typed(name: str) -> bool:
            source = context.get_parameter_source(name)
            return source is not None and source.name == "COMMANDLINE"

        given = collected(own, arguments)
        function(service=connect(ConnectionOptions(**arguments), operator=operator, typed=typed), **given)

    first = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    shared = inspect.signature(ConnectionOptions).parameters.values()
    parameters = [first, *expanded(own), *expanded(shared)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads the options of it
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _no_password() -> str:
    return ""


def _credentials(path: Path) -> tuple[str, Secret]:
    try:
        document = json.loads(_read(path))
        return str(document["id"]), Secret(str(document["secret"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigurationError(f'{path}: expected JSON like {{"id": …, "secret": …}}') from None


def _read(path: Path) -> str:
    try:
        return path.read_text().removeprefix("\ufeff")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigurationError(f"{plain(shown(path))}: can't be read ({why})") from None


def _on_loopback(target: str) -> bool:
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    host = target.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def describe(error: grpc.RpcError, target: str, given: ConnectionOptions) -> tuple[str, int]:
    """Return the message about a failed call, and the exit status. ``given``: the options of the connection."""
    code, details = error.code(), plain(error.details() or "")
    status = rpc_status.from_call(cast(grpc.Call, error))
    if status is None and code is grpc.StatusCode.UNAVAILABLE and (failed := tls_failure(details, target, given)):
        return failed
    reason, lines = _details(status)
    if status is None and code is grpc.StatusCode.UNAVAILABLE:
        head = f"{target}: the service can't be reached: is it running, and is this the right listener?"
        lines.append(f"  {details.rpartition('last error: ')[2]}")
    elif status is None and code is grpc.StatusCode.DEADLINE_EXCEEDED:
        head = f"{target}: no answer in time; --timeout allows more"
    elif status is None and code is grpc.StatusCode.CANCELLED:  # the call did not begin
        return f"{target}: the service has no place for another waiting call, or is stopping: try again later", 3
    elif status is None and code is grpc.StatusCode.UNIMPLEMENTED:
        head = f"{target}: this listener lacks the method: operators and clients have different ones (--target)"
    elif code is grpc.StatusCode.INVALID_ARGUMENT and lines:
        head = "the request is not valid"
    else:
        head = f"{details} ({plain(reason) or code.name})"
        if reason == CallerUnauthenticated.reason:
            sent = f"the id {given.client_id!r} was sent to {target}; " if given.client_id else ""
            lines.append(
                f"  {plain(sent)}the service's log says more; operators and clients have different listeners (--target)"
            )
        if reason == MethodDenied.reason:
            lines.append(
                "  clients call the listener of exchanges, operators their own (--target, --client-id), "
                "and an operator needs the role (operators.ID.roles)"
            )
    if is_too_long(error):
        return "\n".join([head, *lines]), 1
    return "\n".join([head, *lines]), _EXIT.get(code, 1)


def is_too_long(error: grpc.RpcError) -> bool:
    """Return whether gRPC itself refused a message, or metadata, for its length: no retry helps."""
    return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and rpc_status.from_call(cast(grpc.Call, error)) is None


def retry_after(error: grpc.RpcError) -> float | None:
    """Return the seconds after which a failed call is worth another try (RetryInfo); None if it is not."""
    status = rpc_status.from_call(cast(grpc.Call, error))
    if status is None:
        return UNREACHED if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED) else None
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(retry):
            delay: int = retry.retry_delay.ToMilliseconds()
            return min(MOST_DELAY, max(0.0, delay / 1000))
    return None


def refusal_of(status: Status) -> str:
    """Return the message about one refusal among several results."""
    reason, lines = _details(status)
    return "\n".join([f"{plain(status.message)} ({plain(reason)})", *lines])


def _details(status: Status | None) -> tuple[str, list[str]]:
    """Return the reason of a status, and a line for each further detail."""
    reason, lines = "", []
    for detail in status.details if status is not None else ():
        info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
            lines += [f"  {plain(name)}: {plain(value)}" for name, value in sorted(info.metadata.items())]
        elif detail.Unpack(bad):
            lines += [f"  {plain(item.field)}: {plain(item.description)}" for item in bad.field_violations]
        elif detail.Unpack(retry):
            lines.append(f"  try again in {retry.retry_delay.ToMilliseconds() / 1000:g} s")
    return reason, lines

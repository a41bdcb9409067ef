"""How the commands reach a service: where, as whom, and what its refusals mean."""

import functools
import inspect
import ipaddress
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, cast

import grpc
import typer
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tokenmint.errors import ConfigurationError, TokenmintError
from tokenmint.secret import Secret

ADMIN_TARGET: Final = "127.0.0.1:7444"
DATA_TARGET: Final = "127.0.0.1:7443"
GENERATED_OPERATOR: Final = Path(".tokenmint/operator.json")
_EXIT: Final = {
    grpc.StatusCode.UNAVAILABLE: 3,
    grpc.StatusCode.DEADLINE_EXCEEDED: 3,
    grpc.StatusCode.UNAUTHENTICATED: 4,
    grpc.StatusCode.PERMISSION_DENIED: 4,
    grpc.StatusCode.NOT_FOUND: 5,
    grpc.StatusCode.INVALID_ARGUMENT: 2,
}

Target = Annotated[str | None, typer.Option(envvar="TOKENMINT_TARGET", help="host:port of the service's listener.")]
ClientId = Annotated[str | None, typer.Option(envvar="TOKENMINT_CLIENT_ID", help="Who you are to the service.")]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        envvar="TOKENMINT_SECRET_FILE", help="File that holds the secret ($TOKENMINT_CLIENT_SECRET also works)."
    ),
]
Credentials = Annotated[
    Path | None,
    typer.Option(
        envvar="TOKENMINT_CREDENTIALS",
        help="JSON file with id and secret. Default for operators: ./.tokenmint/operator.json where there is one.",
    ),
]
CaFile = Annotated[Path | None, typer.Option(envvar="TOKENMINT_CA_FILE", help="Use TLS, trusting this PEM file.")]
Tls = Annotated[bool, typer.Option("--tls", help="Use TLS, trusting the public authorities.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Send the secret unencrypted beyond loopback.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")]

Stub = TypeVar("Stub")


class CallFailed(TokenmintError):
    """The service refused, or was not reached. ``status`` is the exit status."""

    reason = "CALL_FAILED"
    summary = "the call failed"

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Connection:
    """A service, and how to be known to it."""

    target: str
    identifier: str | None
    secret: Secret | None
    ca_file: Path | None
    tls: bool
    insecure: bool
    timeout: float

    @contextmanager
    def stub(self, make: Callable[[grpc.Channel], Stub]) -> Iterator[Stub]:
        """Yield a stub; what a call in the block fails with ends the command with a clear line."""
        with self._channel() as channel:
            try:
                yield make(channel)
            except grpc.RpcError as error:
                message, status = describe(error, self.target)
                typer.echo(f"tokenmint: {message}", err=True)
                raise typer.Exit(status) from None

    @property
    def call(self) -> dict[str, Any]:
        """Arguments of every call: who calls, and how long it may take."""
        metadata: list[tuple[str, str]] = []
        if self.identifier:
            metadata.append(("tokenmint-client-id", self.identifier))
        if self.secret:
            metadata.append(("tokenmint-client-secret", self.secret.reveal()))
        return {"metadata": metadata, "timeout": self.timeout}

    def _channel(self) -> grpc.Channel:
        if self.tls or self.ca_file is not None:
            roots = self.ca_file.read_bytes() if self.ca_file is not None else None
            return grpc.secure_channel(self.target, grpc.ssl_channel_credentials(roots))
        if self.secret and not self.insecure and not _on_loopback(self.target):
            raise ConfigurationError(
                f"{self.target}: the secret would cross the network unencrypted: use --tls or --ca-file, "
                "or --insecure if something else encrypts"
            )
        return grpc.insecure_channel(self.target)


def connect(
    target: str | None,
    client_id: str | None,
    secret_file: Path | None,
    credentials: Path | None,
    ca_file: Path | None,
    *,
    tls: bool,
    insecure: bool,
    timeout: float,
    operator: bool,
) -> Connection:
    """Return the connection that the options describe. Raises ``ConfigurationError``."""
    identifier, secret = client_id, None
    if secret_file is not None:
        secret = Secret(_read(secret_file).strip())
    elif os.environ.get("TOKENMINT_CLIENT_SECRET"):
        secret = Secret(os.environ["TOKENMINT_CLIENT_SECRET"])
    if credentials is None and operator and secret is None and GENERATED_OPERATOR.exists():
        credentials = GENERATED_OPERATOR
    if credentials is not None and secret is None:
        try:
            document = json.loads(_read(credentials))
            identifier, secret = identifier or str(document["id"]), Secret(str(document["secret"]))
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError(f'{credentials}: expected JSON like {{"id": …, "secret": …}}') from None
    if operator and (identifier is None or secret is None):
        raise ConfigurationError(
            "operators have to say who they are: --credentials FILE, or --client-id and --secret-file"
        )
    place = target or (ADMIN_TARGET if operator else DATA_TARGET)
    return Connection(place, identifier, secret, ca_file, tls, insecure, timeout)


def _options(
    target: Target = None,
    client_id: ClientId = None,
    secret_file: SecretFile = None,
    credentials: Credentials = None,
    ca_file: CaFile = None,
    tls: Tls = False,
    insecure: Insecure = False,
    timeout: Timeout = 10.0,
) -> None:
    """The options that every command with a connection has."""


def as_operator(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a connection, and the connection in the place of its argument `service`."""
    return _connected(function, operator=True)


def as_client(function: Callable[..., None]) -> Callable[..., None]:
    """The same for the data plane."""
    return _connected(function, operator=False)


def _connected(function: Callable[..., None], *, operator: bool) -> Callable[..., None]:
    shared = inspect.signature(_options).parameters
    own = inspect.signature(function).parameters

    @functools.wraps(function)
    def command(**arguments: Any) -> None:
        options = {name: arguments.pop(name) for name in shared}
        function(service=connect(**options, operator=operator), **arguments)

    parameters = [own[name] for name in own if name != "service"] + list(shared.values())
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what typer reads the options from
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigurationError(f"{path}: can't be read ({why})") from None


def _on_loopback(target: str) -> bool:
    if target.startswith("unix:"):
        return True
    host = target.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def describe(error: grpc.RpcError, target: str) -> tuple[str, int]:
    """Return what to tell about a failed call, and the exit status."""
    code, details = error.code(), error.details() or ""
    lines = []
    status = rpc_status.from_call(cast(grpc.Call, error))
    reason = ""
    for detail in status.details if status is not None else ():
        info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(bad):
            lines = [f"  {item.field}: {item.description}" for item in bad.field_violations]
        elif detail.Unpack(retry):
            lines = [f"  try again in {retry.retry_delay.ToMilliseconds() / 1000:g} s"]
    if status is None and code is grpc.StatusCode.UNAVAILABLE:
        head = f"{target}: the service can't be reached: is it running, and is this the right listener?"
    elif status is None and code is grpc.StatusCode.DEADLINE_EXCEEDED:
        head = f"{target}: no answer in time; --timeout allows more"
    elif code is grpc.StatusCode.INVALID_ARGUMENT and lines:
        head = "the request is not valid"
    else:
        head = f"{details} ({reason or code.name})"
    return "\n".join([head, *lines]), _EXIT.get(code, 1)

"""Clients of TokenExchangeService, for threads and for asyncio."""

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration

from tokenmint_client.credentials import ClientCertificate, Credential
from tokenmint_client.errors import TokenmintError
from tokenmint_client.status import from_rpc_error, from_status
from tokenmint_client.transport import Options, Transport
from tokenmint_client.types import ExchangeOptions, Target, Token
from tokenmint_client.v1 import token_exchange_service_pb2 as pb
from tokenmint_client.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

if TYPE_CHECKING:
    from tokenmint_client.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceAsyncStub

DEFAULT_TIMEOUT: Final = 10.0  # seconds for a call with all its retries


class _Base:
    """The common part of both clients.

    Args:
        target: tokenmint's gRPC listener, ``host:port``.
        credential: what proves this client.
        ca_file: the authorities of tokenmint's certificate, in PEM. Default: gRPC's own.
        certificate: a client certificate for a ``credential`` of another kind (mutual TLS).
        plaintext: speak without TLS, to a loopback address.
        timeout: seconds for a call with all its retries.
        options: further options of the gRPC channel.

    Raises:
        ValueError: plaintext beyond loopback.
        OSError: a file can't be read.
    """

    def __init__(
        self,
        target: str,
        credential: Credential,
        *,
        ca_file: str | Path | None = None,
        certificate: ClientCertificate | None = None,
        plaintext: bool = False,
        timeout: float = DEFAULT_TIMEOUT,
        options: Options = (),
    ) -> None:
        self.transport = Transport(
            target, credential, ca_file=ca_file, certificate=certificate, plaintext=plaintext, options=options
        )
        self._timeout = timeout

    def _within(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else timeout


class Client(_Base):
    __doc__ = f"""Exchanges tokens, for threads. Close it, or use it in a ``with``.{_Base.__doc__}"""

    _channel: grpc.Channel | None = None

    def _stub(self) -> TokenExchangeServiceStub:
        if self._channel is None:
            self._channel = self.transport.open()
        return TokenExchangeServiceStub(self._channel)

    def exchange(
        self,
        subject_token: str,
        audience: str,
        *,
        scopes: Sequence[str] = (),
        timeout: float | None = None,
        **options: Unpack[ExchangeOptions],
    ) -> Token:
        """Exchange ``subject_token`` for one token for ``audience``. Nothing is cached.

        Args:
            subject_token: the token that somebody else signed.
            audience: a configured audience, or ``""`` where ``resources`` name it.
            scopes: default: all that the audience grants this client.
            timeout: seconds for this call with all its retries.
            options: further fields of the request.

        Raises:
            TokenmintError: see its subclasses.
        """
        request = exchange_request(subject_token, audience, scopes, options)
        try:
            answer = self._stub().ExchangeToken(
                request, timeout=self._within(timeout), metadata=self.transport.metadata()
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        return token_of(answer)

    def exchange_batch(
        self,
        subject_token: str,
        targets: Sequence[Target],
        *,
        subject_token_type: str = "",
        nonce: str = "",
        timeout: float | None = None,
    ) -> list[Token | TokenmintError]:
        """Exchange ``subject_token`` for one token for each of at most 16 targets, in their order.

        A refused target does not fail the others: its place holds the error.

        Raises:
            TokenmintError: the subject token, the client or the whole request was refused.
        """
        request = batch_request(subject_token, targets, subject_token_type, nonce)
        try:
            answer = self._stub().BatchExchangeTokens(
                request, timeout=self._within(timeout), metadata=self.transport.metadata()
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        return results_of(answer)

    def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncClient(_Base):
    __doc__ = f"""Exchanges tokens, for one event loop. Close it, or use it in an ``async with``.{_Base.__doc__}"""

    _channel: grpc.aio.Channel | None = None

    def _stub(self) -> "TokenExchangeServiceAsyncStub":
        if self._channel is None:
            self._channel = self.transport.open_aio()
        return TokenExchangeServiceStub(self._channel)

    async def exchange(
        self,
        subject_token: str,
        audience: str,
        *,
        scopes: Sequence[str] = (),
        timeout: float | None = None,  # noqa: ASYNC109  # it is gRPC's deadline, which the server learns of
        **options: Unpack[ExchangeOptions],
    ) -> Token:
        """As :meth:`Client.exchange`."""
        request = exchange_request(subject_token, audience, scopes, options)
        try:
            answer = await self._stub().ExchangeToken(
                request, timeout=self._within(timeout), metadata=self.transport.metadata()
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        return token_of(answer)

    async def exchange_batch(
        self,
        subject_token: str,
        targets: Sequence[Target],
        *,
        subject_token_type: str = "",
        nonce: str = "",
        timeout: float | None = None,  # noqa: ASYNC109  # as above
    ) -> list[Token | TokenmintError]:
        """As :meth:`Client.exchange_batch`."""
        request = batch_request(subject_token, targets, subject_token_type, nonce)
        try:
            answer = await self._stub().BatchExchangeTokens(
                request, timeout=self._within(timeout), metadata=self.transport.metadata()
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        return results_of(answer)

    async def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


def exchange_request(
    subject_token: str, audience: str, scopes: Sequence[str], options: ExchangeOptions
) -> pb.ExchangeTokenRequest:
    """Build a request. Its id makes gRPC's retries of it safe where the subject token may be used once.

    Raises:
        TypeError: there is no such option, or a value that JSON has no type for.
        ValueError: a value that JSON can't hold, such as NaN.
    """
    if unknown := options.keys() - ExchangeOptions.__annotations__.keys():
        raise TypeError(f"an exchange has no option {', '.join(sorted(unknown))}")
    return pb.ExchangeTokenRequest(
        subject_token=subject_token,
        subject_token_type=options.get("subject_token_type", ""),
        audience=audience,
        scopes=scopes,
        resources=options.get("resources", ()),
        lifetime=_duration(options.get("lifetime")),
        requested_token_type=options.get("requested_token_type", ""),
        nonce=options.get("nonce", ""),
        actor_token=options.get("actor_token", ""),
        actor_token_type=options.get("actor_token_type", ""),
        dpop_jkt=options.get("dpop_jkt", ""),
        request_id=str(uuid.uuid4()),
        request_context=_json(options.get("request_context")),
        request_details=_json(options.get("request_details")),
    )


def batch_request(
    subject_token: str, targets: Sequence[Target], subject_token_type: str, nonce: str
) -> pb.BatchExchangeTokensRequest:
    """Build a request for several."""
    return pb.BatchExchangeTokensRequest(
        subject_token=subject_token,
        subject_token_type=subject_token_type,
        nonce=nonce,
        request_id=str(uuid.uuid4()),
        targets=[
            pb.BatchExchangeTarget(
                audience=target.audience,
                scopes=target.scopes,
                lifetime=_duration(target.lifetime),
                resources=target.resources,
            )
            for target in targets
        ],
    )


def token_of(answer: pb.ExchangeTokenResponse) -> Token:
    """Read an answer."""
    return Token(
        value=answer.token,
        expires_at=answer.expire_time.ToMilliseconds() / 1000,
        subject=answer.subject,
        scopes=tuple(answer.scopes),
        token_id=answer.token_id,
        key_id=answer.key_id,
        token_type=answer.token_type,
        issued_token_type=answer.issued_token_type,
    )


def results_of(answer: pb.BatchExchangeTokensResponse) -> list[Token | TokenmintError]:
    """Read the answer for several."""
    return [
        from_status(result.error) if result.WhichOneof("outcome") == "error" else token_of(result.token)
        for result in answer.results
    ]


def _json(members: Mapping[str, Any] | None) -> str:
    if members is None:
        return ""
    return json.dumps(dict(members), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _duration(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    duration = Duration()
    duration.FromMilliseconds(round(seconds * 1000))
    return duration

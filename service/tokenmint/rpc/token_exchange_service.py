"""TokenExchangeService."""

from collections.abc import Callable, Mapping

from tokenmint.errors import NotFound, TokenmintError, Unimplemented
from tokenmint.exchange import ExchangeRecord, TokenExchange
from tokenmint.explain import explain
from tokenmint.policy.types import Client
from tokenmint.ratelimit import RateLimiter
from tokenmint.rpc import convert
from tokenmint.rpc.interceptors import Context, current_client, current_operator, tell_audit
from tokenmint.rpc.status import to_status
from tokenmint.telemetry import Metrics
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1 import token_exchange_service_pb2_grpc as pb_grpc


class TokenExchangeService(pb_grpc.TokenExchangeServiceServicer):
    """Serves exchanges; introspection and revocation are not served yet.

    Args:
        exchange: the use case.
        clients: returns the clients that are known now, whose exchanges may be explained.
        limiter: counts calls.
        metrics: counts tokens.
    """

    def __init__(
        self,
        exchange: TokenExchange,
        clients: Callable[[], Mapping[str, Client]],
        limiter: RateLimiter,
        metrics: Metrics,
    ) -> None:
        self._exchange = exchange
        self._clients = clients
        self._limiter = limiter
        self._metrics = metrics

    async def ExchangeToken(self, request: pb.ExchangeTokenRequest, context: Context) -> pb.ExchangeTokenResponse:
        """Exchange one token for one."""
        await self._limiter.take(current_client())
        wanted = convert.exchange_request(request)
        record = ExchangeRecord()
        tell_audit(audience=wanted.audience)
        try:
            minted = await self._exchange.exchange(wanted, current_client(), record)
        finally:
            _tell(record)
        self._metrics.minted(wanted.audience)
        return convert.minted_token(minted)

    async def BatchExchangeTokens(
        self, request: pb.BatchExchangeTokensRequest, context: Context
    ) -> pb.BatchExchangeTokensResponse:
        """Exchange one token for several."""
        await self._limiter.take(current_client(), max(1, len(request.targets)))
        wanted = convert.batch_requests(request)
        record = ExchangeRecord()
        tell_audit(audience=[target.audience for target in wanted])
        try:
            outcomes = await self._exchange.exchange_batch(wanted, current_client(), record)
        finally:
            _tell(record)
        tell_audit(refused=[error.reason for error in outcomes if isinstance(error, TokenmintError)])
        results = []
        for target, outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, TokenmintError):
                results.append(pb.BatchExchangeResult(error=to_status(outcome)))
            else:
                self._metrics.minted(target.audience)
                results.append(pb.BatchExchangeResult(token=convert.minted_token(outcome)))
        return pb.BatchExchangeTokensResponse(results=results)

    async def ExplainExchange(self, request: pb.ExplainExchangeRequest, context: Context) -> pb.ExplainExchangeResponse:
        """Say step by step how an exchange would end."""
        await self._limiter.take(Client(f"operator:{current_operator().operator_id}"))
        violations = convert.Violations()
        violations.check("client_id", "is required", holds=bool(request.client_id))
        violations.raise_any()
        client = self._clients().get(request.client_id)
        if client is None:
            raise NotFound("client", request.client_id[:128])
        steps = await explain(self._exchange, convert.exchange_request(request.exchange), client)
        return pb.ExplainExchangeResponse(steps=[convert.explain_step(step) for step in steps])

    async def IntrospectToken(self, request: pb.IntrospectTokenRequest, context: Context) -> pb.IntrospectTokenResponse:
        """Not served yet."""
        raise Unimplemented()

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Context) -> pb.RevokeTokenResponse:
        """Not served yet."""
        raise Unimplemented()


def _tell(record: ExchangeRecord) -> None:
    tell_audit(
        token_sha256=record.token_sha256,
        provider=record.provider,
        principal=record.principal,
        minted=[{"jti": minted.token_id, "kid": minted.key_id} for minted in record.minted],
    )

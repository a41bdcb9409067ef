"""TokenExchangeService."""

from tokenmint.errors import TokenmintError, Unimplemented
from tokenmint.exchange import TokenExchange
from tokenmint.ratelimit import RateLimiter
from tokenmint.rpc import convert
from tokenmint.rpc.interceptors import Context, current_client
from tokenmint.rpc.status import to_status
from tokenmint.telemetry import Metrics
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1 import token_exchange_service_pb2_grpc as pb_grpc


class TokenExchangeService(pb_grpc.TokenExchangeServiceServicer):
    """Serves exchanges; introspection, revocation and explanation are not served yet."""

    def __init__(self, exchange: TokenExchange, limiter: RateLimiter, metrics: Metrics) -> None:
        self._exchange = exchange
        self._limiter = limiter
        self._metrics = metrics

    async def ExchangeToken(self, request: pb.ExchangeTokenRequest, context: Context) -> pb.ExchangeTokenResponse:
        """Exchange one token for one."""
        await self._limiter.take(current_client())
        wanted = convert.exchange_request(request)
        minted = await self._exchange.exchange(wanted, current_client())
        self._metrics.minted(wanted.audience)
        return convert.minted_token(minted)

    async def BatchExchangeTokens(
        self, request: pb.BatchExchangeTokensRequest, context: Context
    ) -> pb.BatchExchangeTokensResponse:
        """Exchange one token for several."""
        await self._limiter.take(current_client(), max(1, len(request.targets)))
        wanted = convert.batch_requests(request)
        results = []
        for target, outcome in zip(wanted, await self._exchange.exchange_batch(wanted, current_client()), strict=True):
            if isinstance(outcome, TokenmintError):
                results.append(pb.BatchExchangeResult(error=to_status(outcome)))
            else:
                self._metrics.minted(target.audience)
                results.append(pb.BatchExchangeResult(token=convert.minted_token(outcome)))
        return pb.BatchExchangeTokensResponse(results=results)

    async def ExplainExchange(self, request: pb.ExplainExchangeRequest, context: Context) -> pb.ExplainExchangeResponse:
        """Not served yet."""
        raise Unimplemented()

    async def IntrospectToken(self, request: pb.IntrospectTokenRequest, context: Context) -> pb.IntrospectTokenResponse:
        """Not served yet."""
        raise Unimplemented()

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Context) -> pb.RevokeTokenResponse:
        """Not served yet."""
        raise Unimplemented()

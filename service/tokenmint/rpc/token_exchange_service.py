"""TokenExchangeService."""

from tokenmint.admission.gate import ClientExchanges, current_client, current_possession
from tokenmint.admission.validation import Violations
from tokenmint.base.errors import NotFound, TokenmintError
from tokenmint.exchange.deciding import Written, citations
from tokenmint.exchange.explain import explain
from tokenmint.rpc import convert, structs
from tokenmint.rpc.interceptors import Context
from tokenmint.rpc.status import to_status
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1 import token_exchange_service_pb2_grpc as pb_grpc


class TokenExchangeService(pb_grpc.TokenExchangeServiceServicer):
    """Serves exchanges, introspection and revocation.

    Args:
        exchanges: the use cases, with audit and metrics.
        written: the configuration that explanations cite.
    """

    def __init__(self, exchanges: ClientExchanges, written: Written) -> None:
        self._exchanges = exchanges
        self._written = written

    async def ExchangeToken(self, request: pb.ExchangeTokenRequest, context: Context) -> pb.ExchangeTokenResponse:
        """Exchange a token for one token."""
        minted = await self._exchanges.one(convert.exchange_request(request, current_possession()), current_client())
        return convert.minted_token(minted)

    async def BatchExchangeTokens(
        self, request: pb.BatchExchangeTokensRequest, context: Context
    ) -> pb.BatchExchangeTokensResponse:
        """Exchange a token for several tokens."""
        results = []
        for outcome in await self._exchanges.batch(
            convert.batch_requests(request, current_possession()), current_client()
        ):
            if isinstance(outcome, TokenmintError):
                results.append(pb.BatchExchangeResult(error=to_status(outcome)))
            else:
                results.append(pb.BatchExchangeResult(token=convert.minted_token(outcome)))
        return pb.BatchExchangeTokensResponse(results=results)

    async def ExplainExchange(self, request: pb.ExplainExchangeRequest, context: Context) -> pb.ExplainExchangeResponse:
        """Explain step by step how an exchange would end."""
        violations = Violations()
        violations.check("client_id", "is required", holds=bool(request.client_id))
        violations.raise_any()
        client = self._exchanges.gate.clients.get(request.client_id)
        if client is None:
            raise NotFound("client", request.client_id[:128])
        found = await explain(self._exchanges.use_case, convert.exchange_request(request.exchange), client)
        return pb.ExplainExchangeResponse(
            steps=[convert.explain_step(step) for step in found.steps],
            planned_token=convert.planned_token(found.planned) if found.planned is not None else None,
            deciding_keys=[convert.deciding_key(citation) for citation in citations(found, self._written)],
        )

    async def IntrospectToken(self, request: pb.IntrospectTokenRequest, context: Context) -> pb.IntrospectTokenResponse:
        """Return whether an issued token is active, to clients that may ask about it."""
        token = convert.token_asked_about(request)
        claims = await self._exchanges.introspect(token, current_client(), request.token_type_hint or None)
        if claims is None:
            return pb.IntrospectTokenResponse(active=False)
        return pb.IntrospectTokenResponse(active=True, claims=structs.struct(claims))

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Context) -> pb.RevokeTokenResponse:
        """Revoke an issued token."""
        token = convert.token_asked_about(request)
        await self._exchanges.revoke(token, current_client(), request.token_type_hint or None)
        return pb.RevokeTokenResponse()

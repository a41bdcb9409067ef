"""RevocationAdminService."""

from typing import Final

import structlog

from tokenmint.admission.gate import annotate_audit, current_operator
from tokenmint.admission.validation import Violations
from tokenmint.base.errors import NotFound
from tokenmint.base.foreign_text import LONG, clipped
from tokenmint.exchange.mass_revocation import MassRevocation, Revoked
from tokenmint.profiles.limits import PRINCIPAL
from tokenmint.rpc import convert
from tokenmint.rpc.interceptors import Context
from tokenmint.v1 import revocation_admin_service_pb2 as pb
from tokenmint.v1 import revocation_admin_service_pb2_grpc as pb_grpc

MAX_NAME: Final = 1024

log = structlog.get_logger(__name__)


class RevocationAdminService(pb_grpc.RevocationAdminServiceServicer):
    """Revokes many tokens at once."""

    def __init__(self, revocation: MassRevocation) -> None:
        self._revocation = revocation

    async def RevokeTokens(self, request: pb.RevokeTokensRequest, context: Context) -> pb.RevokeTokensResponse:
        """Revoke the tokens of a client, for an audience, of a provider or of a principal."""
        selector = request.WhichOneof("selector")
        name = getattr(request, selector) if selector is not None else ""
        violations = Violations()
        violations.check("selector", "exactly one of client_id, audience, provider, principal", holds=bool(name))
        violations.check("selector", f"is too long: at most {MAX_NAME} characters", holds=len(name) <= MAX_NAME)
        violations.check("reason", "is required: 1 to 200 characters", holds=0 < len(request.reason) <= 200)
        violations.raise_any()
        done = await self._revoke(str(selector), name, request)
        annotate_audit(audiences=list(done.audiences))
        log.info(
            "many tokens revoked",
            operator=current_operator().operator_id,
            selector=selector,
            name=clipped(name, LONG),
            audiences=list(done.audiences),
        )
        return pb.RevokeTokensResponse(
            tokens_valid_after_time=convert.timestamp(done.valid_after), audiences=done.audiences
        )

    async def _revoke(self, selector: str, name: str, request: pb.RevokeTokensRequest) -> Revoked:
        derived, removed = request.with_derived, request.removed
        match selector:
            case "client_id":
                return await self._revocation.client(name, with_derived=derived, removed=removed)
            case "audience":
                return await self._revocation.audience(name, with_derived=derived, removed=removed)
            case "provider":
                return await self._revocation.provider(name)
            case _:
                if not PRINCIPAL.match(name):
                    raise NotFound("principal", name)
                return await self._revocation.principal(name)

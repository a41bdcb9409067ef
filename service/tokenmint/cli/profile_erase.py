"""`tokenmint profiles erase`: the steps of an erasure, and what it leaves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenmint.cli.output import as_dict
from tokenmint.v1 import profile_admin_service_pb2 as pb
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub


@dataclass(slots=True)
class ErasedPerson:
    """The outcome of an erasure."""

    found: bool = False
    identities: int = 0
    tokens: int = 0
    retention: pb.AuditRetention = field(default_factory=pb.AuditRetention)

    @property
    def anything(self) -> bool:
        """Whether there was anything of the person."""
        return self.found or bool(self.identities) or bool(self.tokens)

    @property
    def document(self) -> dict[str, Any]:
        """The outcome as JSON."""
        return {
            "found": self.anything,
            "identities_count": self.identities,
            "tokens_count": self.tokens,
            "audit_retention": as_dict(self.retention),
        }

    def described(self, principal: str, *, allow_return: bool) -> str:
        """Return the outcome for people, with what is left of the person elsewhere."""
        if not self.anything:
            return f"nothing was kept of {principal}"
        left = (
            "nothing refuses the person: on_missing_profile decides on a later sign-in"
            if allow_return
            else "a keyed hash of the principal and of each identity is left, which refuses them"
        )
        kept = self.retention
        return (
            f"erased {principal}: profile, {self.identities} identities, {self.tokens} reference tokens\n"
            f"{left}\n"
            f"audit events still name the principal, until {kept.exchange_events} newer events of exchanges and "
            f"{kept.admin_events} of operators (or {_mebibytes(kept.exchange_bytes)} and "
            f"{_mebibytes(kept.admin_bytes)}) have pushed them out; so do logs, backups, and the store's append-only "
            "file until it is rewritten\n"
            "signed tokens that were issued before can't be erased: verifiers accept them until they expire"
        )


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"


def erase(
    stub: ProfileAdminServiceStub, call: Mapping[str, Any], principal: str, *, allow_return: bool
) -> ErasedPerson:
    """Erase a person, step by step. Raises ``grpc.RpcError``; run it again then."""
    erased = ErasedPerson()
    request = pb.EraseProfileRequest(principal=principal, allow_return=allow_return)
    while True:
        answer = stub.EraseProfile(request, **call)
        erased.found = erased.found or answer.found
        erased.identities += answer.identities_count
        erased.tokens += answer.tokens_count
        erased.retention = answer.audit_retention
        if not answer.next_page_token:
            return erased
        request.page_token = answer.next_page_token

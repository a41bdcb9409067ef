"""ProfileAdminService."""

from collections.abc import AsyncIterator
from typing import Final

import structlog

from tokenmint.admission.gate import current_operator
from tokenmint.admission.validation import Violations
from tokenmint.base.errors import DependencyUnavailable, InvalidRequest, NotFound, TokenmintError
from tokenmint.base.foreign_text import quoted
from tokenmint.model.profile import Identity, Profile
from tokenmint.profiles.limits import (
    claims_violations,
    identity_violations,
    principal_violations,
    profile_violations,
    roles_violations,
)
from tokenmint.profiles.store import ProfileStore
from tokenmint.rpc import convert
from tokenmint.rpc.interceptors import Context
from tokenmint.v1 import profile_admin_service_pb2 as pb
from tokenmint.v1 import profile_admin_service_pb2_grpc as pb_grpc
from tokenmint.v1 import profile_pb2

log = structlog.get_logger(__name__)

UPDATABLE: Final = ("disabled", "claims", "roles")
MAX_FAILURES: Final = 100  # in the response of an import


class ProfileAdminService(pb_grpc.ProfileAdminServiceServicer):
    """Manages the profiles."""

    def __init__(self, profiles: ProfileStore) -> None:
        self._profiles = profiles

    async def GetProfile(self, request: pb.GetProfileRequest, context: Context) -> pb.GetProfileResponse:
        """Return one profile."""
        selector = request.WhichOneof("selector")
        violations = Violations()
        violations.check("selector", "exactly one of principal and identity is required", holds=selector is not None)
        violations.raise_any()
        if selector == "principal":
            profile = await self._profiles.get(request.principal)
        else:
            profile = await self._profiles.get_by_identity(convert.identity(request.identity))
        return pb.GetProfileResponse(profile=convert.profile_message(profile))

    async def CreateProfile(self, request: pb.CreateProfileRequest, context: Context) -> pb.CreateProfileResponse:
        """Create a profile."""
        profile = _checked(request.profile)
        created = await self._profiles.create(profile, replace_deleted=request.replace_deleted)
        _record("profile created", profile.principal)
        return pb.CreateProfileResponse(profile=convert.profile_message(created))

    async def UpdateProfile(self, request: pb.UpdateProfileRequest, context: Context) -> pb.UpdateProfileResponse:
        """Change the fields that the mask names."""
        fields = convert.profile(request.profile)
        mask = list(request.update_mask.paths)
        violations = Violations()
        violations.add(principal_violations(fields.principal, "profile.principal"))
        violations.check("update_mask", f"is required: some of {', '.join(UPDATABLE)}", holds=bool(mask))
        for path in mask:
            violations.check("update_mask", f"{quoted(path)} can't be changed here", holds=path in UPDATABLE)
        if "claims" in mask:
            violations.add(claims_violations(fields.claims, "profile.claims"))
        if "roles" in mask:
            violations.add(roles_violations(fields.roles, "profile.roles"))
        violations.raise_any()
        changed = await self._profiles.update(
            fields.principal,
            etag=request.profile.etag,
            disabled=fields.disabled if "disabled" in mask else None,
            claims=dict(fields.claims) if "claims" in mask else None,
            roles=fields.roles if "roles" in mask else None,
        )
        _record("profile updated", fields.principal, fields=mask)
        return pb.UpdateProfileResponse(profile=convert.profile_message(changed))

    async def DeleteProfile(self, request: pb.DeleteProfileRequest, context: Context) -> pb.DeleteProfileResponse:
        """Replace the profile by a tombstone."""
        await self._profiles.delete(_principal(request.principal), etag=request.etag)
        _record("profile deleted", request.principal)
        return pb.DeleteProfileResponse()

    async def ListProfiles(self, request: pb.ListProfilesRequest, context: Context) -> pb.ListProfilesResponse:
        """List profiles in the store's order."""
        violations = Violations()
        is_cursor = all(part.isdecimal() for part in request.page_token.split(":")) if request.page_token else True
        violations.check("page_token", "expected the next_page_token of the previous response", holds=is_cursor)
        violations.raise_any()
        profiles, following = await self._profiles.list(convert.page_size(request.page_size), request.page_token)
        messages = [convert.profile_message(profile) for profile in profiles]
        return pb.ListProfilesResponse(profiles=messages, next_page_token=following)

    async def LinkIdentity(self, request: pb.LinkIdentityRequest, context: Context) -> pb.LinkIdentityResponse:
        """Make an identity resolve to a principal."""
        principal, identity = _link(request.principal, request.identity)
        changed = await self._profiles.link(principal, identity)
        _record("identity linked", principal, provider=identity.provider)
        return pb.LinkIdentityResponse(profile=convert.profile_message(changed))

    async def UnlinkIdentity(self, request: pb.UnlinkIdentityRequest, context: Context) -> pb.UnlinkIdentityResponse:
        """Refuse an identity from now on."""
        principal, identity = _link(request.principal, request.identity)
        changed = await self._profiles.unlink(principal, identity)
        _record("identity unlinked", principal, provider=identity.provider)
        return pb.UnlinkIdentityResponse(profile=convert.profile_message(changed))

    async def RevokePrincipalTokens(
        self, request: pb.RevokePrincipalTokensRequest, context: Context
    ) -> pb.RevokePrincipalTokensResponse:
        """Refuse every token of the principal that was issued up to now."""
        second = await self._profiles.revoke_tokens(_principal(request.principal))
        _record("tokens of a principal revoked", request.principal)
        return pb.RevokePrincipalTokensResponse(tokens_valid_after_time=convert.timestamp(second))

    async def ImportProfiles(
        self, request_iterator: AsyncIterator[pb.ImportProfilesRequest], context: Context
    ) -> pb.ImportProfilesResponse:
        """Create or replace profiles as they arrive."""
        response = pb.ImportProfilesResponse()
        index = -1
        async for request in request_iterator:
            index += 1
            try:
                if await self._profiles.put(_checked(request.profile)):
                    response.created_count += 1
                else:
                    response.updated_count += 1
            except DependencyUnavailable:
                raise  # the rest would fail too; imported profiles stay, and a second import is safe
            except TokenmintError as refusal:
                response.failed_count += 1
                if len(response.failures) < MAX_FAILURES:
                    response.failures.add(
                        index=index,
                        principal=request.profile.principal[:128],
                        reason=refusal.reason,
                        message=refusal.message,
                    )
        log.info("profiles imported", operator=current_operator().operator_id, count=index + 1)
        return response


def _checked(message: profile_pb2.Profile) -> Profile:
    profile = convert.profile(message)
    violations = profile_violations(profile)
    if violations:
        raise InvalidRequest(violations)
    return profile


def _principal(principal: str) -> str:
    if principal_violations(principal, "principal"):
        raise NotFound("profile", principal)
    return principal


def _link(principal: str, message: profile_pb2.Identity) -> tuple[str, Identity]:
    identity = convert.identity(message)
    violations = principal_violations(principal, "principal") + identity_violations(identity, "identity")
    if violations:
        raise InvalidRequest(violations)
    return principal, identity


def _record(event: str, principal: str, **facts: object) -> None:
    log.info(event, operator=current_operator().operator_id, principal=principal, **facts)

"""ProfileAdminService."""

from collections.abc import AsyncIterator, Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import structlog

from tokenmint.admission.gate import annotate_audit, current_operator
from tokenmint.admission.validation import Violations
from tokenmint.base.errors import InvalidRequest, NotFound
from tokenmint.base.foreign_text import quoted
from tokenmint.exchange.erasure import PersonErasure, is_step
from tokenmint.model.profile import Identity, Profile
from tokenmint.profiles.batches import ProfileBatches
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
from tokenmint.rpc.profile_import import Import
from tokenmint.v1 import profile_admin_service_pb2 as pb
from tokenmint.v1 import profile_admin_service_pb2_grpc as pb_grpc
from tokenmint.v1 import profile_pb2

log = structlog.get_logger(__name__)

UPDATABLE: Final = ("disabled", "claims", "roles")
MAX_UNKNOWN: Final = 20  # providers that are not configured, in a response


@dataclass(frozen=True, slots=True)
class ProfileParts:
    """The parts that profiles are managed with."""

    profiles: ProfileStore
    batches: ProfileBatches
    erasure: PersonErasure
    providers: Callable[[], AbstractSet[str]]
    """Returns the names of the configured providers."""
    copied_at: Callable[[str], float]
    """Returns the time up to which a region's profiles were copied, Unix seconds; 0: not yet."""
    retention: pb.AuditRetention
    """The size of the audit streams, which bounds the life of their records."""


class ProfileAdminService(pb_grpc.ProfileAdminServiceServicer):
    """Manages the profiles."""

    def __init__(self, parts: ProfileParts) -> None:
        self._parts = parts
        self._profiles = parts.profiles

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
        message = convert.profile_message(profile)
        if profile.home:
            copied = convert.timestamp(self._parts.copied_at(profile.home) or None)
            message.MergeFrom(profile_pb2.Profile(copied_time=copied))
        return pb.GetProfileResponse(profile=message)

    async def CreateProfile(self, request: pb.CreateProfileRequest, context: Context) -> pb.CreateProfileResponse:
        """Create a profile."""
        profile = _checked(request.profile)
        created = await self._profiles.create(profile, replace_deleted=request.replace_deleted)
        _record("profile created", profile.principal)
        unknown = self._unknown(identity.provider for identity in profile.identities)
        return pb.CreateProfileResponse(profile=convert.profile_message(created), unknown_providers=unknown)

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
        unknown = self._unknown([identity.provider])
        return pb.LinkIdentityResponse(profile=convert.profile_message(changed), unknown_providers=unknown)

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
        """Create or replace profiles in batches as they arrive."""
        running = Import(self._parts.batches)
        async for request in request_iterator:
            await running.add(request)
        response = await running.end()
        response.unknown_providers.extend(self._unknown(running.providers))
        annotate_audit(count=running.count, refused=response.failed_count, validate_only=running.dry)
        log.info("profiles imported", operator=current_operator().operator_id, count=running.count)
        return response

    async def EraseProfile(self, request: pb.EraseProfileRequest, context: Context) -> pb.EraseProfileResponse:
        """Erase a person, one step at a time."""
        violations = Violations()
        violations.add(principal_violations(request.principal, "principal"))
        right = not request.page_token or is_step(request.page_token)
        violations.check("page_token", "expected the next_page_token of the previous response", holds=right)
        violations.raise_any()
        erasure = self._parts.erasure
        if request.page_token:
            done = await erasure.go_on(request.principal, request.page_token, allow_return=request.allow_return)
        else:
            done = await erasure.begin(request.principal, allow_return=request.allow_return)
            _record("person erased", request.principal)
        return pb.EraseProfileResponse(
            found=done.found,
            identities_count=done.identities,
            tokens_count=done.tokens,
            next_page_token=done.following,
            audit_retention=self._parts.retention,
        )

    def _unknown(self, names: Iterable[str]) -> list[str]:
        """Return those of ``names`` that are no configured provider."""
        return sorted(set(names) - self._parts.providers())[:MAX_UNKNOWN]


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

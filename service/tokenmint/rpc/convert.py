"""Conversion between the API's messages and the service's types. It also validates requests, listing all violations."""

import math
import re
from dataclasses import replace
from typing import Final, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from tokenmint.admission.validation import SUBJECT_TOKEN_TYPES, Violations
from tokenmint.exchange.deciding import Citation
from tokenmint.exchange.explain import Outcome, Step
from tokenmint.keys.published import PublishedKeySet
from tokenmint.keys.ring import activation_allowed, activation_planned
from tokenmint.keys.schedule import Schedule
from tokenmint.keys.timeline import planned_end
from tokenmint.keys.types import KeyRing, KeyState, SigningKey
from tokenmint.model.minted import MintedToken, PlannedToken
from tokenmint.model.policy import Binding, ExchangeRequest
from tokenmint.model.profile import Identity, Profile
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import GRANTS, ID_TOKEN, REFRESH_TOKEN, TXN_TOKEN
from tokenmint.rpc import structs
from tokenmint.v1 import (
    json_web_key_pb2,
    key_set_service_pb2,
    profile_pb2,
    provider_admin_service_pb2,
    signing_key_pb2,
    token_exchange_service_pb2,
)
from tokenmint.verification.jws import MOST_TOKEN
from tokenmint.verification.keyset import KeySetStatus
from tokenmint.verification.provider import Provider

Item = TypeVar("Item")

MAX_TARGETS: Final = 16
MAX_LIFETIME: Final = 24 * 3600
MAX_PAGE: Final = 1000
DEFAULT_PAGE: Final = 100
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\Z")
_ONE_TYPE: Final = f"one of {', '.join(SUBJECT_TOKEN_TYPES)}"
_NO_BINDING: Final = Binding()
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z")  # 32 bytes, without surplus bits at the end

_STATES: Final = {
    KeyState.PREPARED: signing_key_pb2.SigningKey.STATE_PREPARED,
    KeyState.ACTIVE: signing_key_pb2.SigningKey.STATE_ACTIVE,
    KeyState.RETIRING: signing_key_pb2.SigningKey.STATE_RETIRING,
    KeyState.RETIRED: signing_key_pb2.SigningKey.STATE_RETIRED,
    KeyState.REVOKED: signing_key_pb2.SigningKey.STATE_REVOKED,
}


_OUTCOMES: Final = {
    Outcome.PASSED: token_exchange_service_pb2.ExplainStep.OUTCOME_PASSED,
    Outcome.FAILED: token_exchange_service_pb2.ExplainStep.OUTCOME_FAILED,
    Outcome.SKIPPED: token_exchange_service_pb2.ExplainStep.OUTCOME_SKIPPED,
}


# --- exchanges ----------------------------------------------------------------------------------------------------


def exchange_request(
    message: token_exchange_service_pb2.ExchangeTokenRequest, possession: Binding = _NO_BINDING
) -> ExchangeRequest:
    """Return the validated request of a caller with proven ``possession``. Raises ``InvalidRequest``."""
    violations = Violations()
    grant = message.subject_token_type in GRANTS
    _check_subject(message, violations, alone=grant or message.subject_token_type in (REFRESH_TOKEN, TXN_TOKEN))
    if grant:
        violations.check("actor_token", "is not allowed with a grant", holds=not message.actor_token)
    _check_target(message, "", violations)
    context = violations.json_object("request_context", message.request_context)
    details = violations.json_object("request_details", message.request_details)
    violations.raise_any()
    request = _request(message, message, *_tokens(message), possession)
    if context is details is None:
        return request
    return replace(request, request_context=context, request_details=details)


def batch_requests(
    message: token_exchange_service_pb2.BatchExchangeTokensRequest, possession: Binding = _NO_BINDING
) -> list[ExchangeRequest]:
    """Return a validated request for each target. Raises ``InvalidRequest``."""
    violations = Violations()
    _check_subject(message, violations)
    violations.check("targets", f"1 to {MAX_TARGETS} targets", holds=0 < len(message.targets) <= MAX_TARGETS)
    for index, target in enumerate(message.targets[:MAX_TARGETS]):
        _check_target(target, f"targets[{index}].", violations)
    violations.raise_any()
    tokens = _tokens(message)
    return [_request(message, target, *tokens, possession) for target in message.targets]


_Subject = token_exchange_service_pb2.ExchangeTokenRequest | token_exchange_service_pb2.BatchExchangeTokensRequest
_Target = token_exchange_service_pb2.ExchangeTokenRequest | token_exchange_service_pb2.BatchExchangeTarget


def _check_subject(message: _Subject, violations: Violations, *, alone: bool = False) -> None:
    """Check the tokens of a request. ``alone``: the type of the subject token is one that no batch takes."""
    violations.token("subject_token", len(message.subject_token.encode()))
    violations.check(
        "subject_token_type",
        f"expected {_ONE_TYPE}",
        holds=alone or not message.subject_token_type or message.subject_token_type in SUBJECT_TOKEN_TYPES,
    )
    actor_size = len(message.actor_token.encode())
    violations.check("actor_token", f"at most {MOST_TOKEN} bytes", holds=actor_size <= MOST_TOKEN)
    if message.actor_token:
        violations.check(
            "actor_token_type",
            f"is required with actor_token: {_ONE_TYPE}",
            holds=message.actor_token_type in SUBJECT_TOKEN_TYPES,
        )
    else:
        violations.check(
            "actor_token_type",
            "is only allowed with actor_token (RFC 8693 section 2.1)",
            holds=not message.actor_token_type,
        )
    violations.check(
        "dpop_jkt",
        "expected a SHA-256 thumbprint in base64url: 43 characters (RFC 7638)",
        holds=not message.dpop_jkt or bool(_THUMBPRINT.match(message.dpop_jkt)),
    )
    violations.check("nonce", "at most 255 characters", holds=len(message.nonce) <= 255)
    violations.check(
        "request_id", "expected a UUID", holds=not message.request_id or bool(_UUID.match(message.request_id))
    )


def _check_target(target: _Target, path: str, violations: Violations) -> None:
    violations.check(f"{path}audience", "at most 255 characters", holds=len(target.audience) <= 255)
    violations.resources(f"{path}resources", target.resources)
    violations.scopes(f"{path}scopes", target.scopes)
    if target.HasField("lifetime"):
        seconds, nanos = target.lifetime.seconds, target.lifetime.nanos
        violations.check(
            f"{path}lifetime", "whole seconds from 1 s to 24 h", holds=nanos == 0 and 0 < seconds <= MAX_LIFETIME
        )
    violations.check(
        f"{path}requested_token_type", "at most 255 characters", holds=len(target.requested_token_type) <= 255
    )


def _tokens(message: _Subject) -> tuple[Secret, Secret | None]:
    return Secret(message.subject_token), Secret(message.actor_token) if message.actor_token else None


def _request(
    subject: _Subject, target: _Target, token: Secret, actor: Secret | None, possession: Binding
) -> ExchangeRequest:
    return ExchangeRequest(
        subject_token=token,
        audience=target.audience,
        resources=tuple(dict.fromkeys(target.resources)),
        subject_token_type=subject.subject_token_type or ID_TOKEN,
        scopes=tuple(dict.fromkeys(target.scopes)),
        lifetime=target.lifetime.seconds if target.HasField("lifetime") else None,
        requested_token_type=target.requested_token_type or None,
        nonce=subject.nonce or None,
        request_id=subject.request_id.lower() or None,
        actor_token=actor,
        actor_token_type=subject.actor_token_type or None,
        binding=Binding(jkt=subject.dpop_jkt or None),
        possession=possession,
    )


def minted_token(minted: MintedToken) -> token_exchange_service_pb2.ExchangeTokenResponse:
    """Return the response with a minted token."""
    return token_exchange_service_pb2.ExchangeTokenResponse(
        token=minted.token.reveal(),
        issued_token_type=minted.issued_token_type,
        token_type=minted.token_type,
        expire_time=timestamp(minted.expires_at),
        scopes=minted.scopes,
        key_id=minted.key_id,
        token_id=minted.token_id,
        subject=minted.subject,
    )


_Asked = token_exchange_service_pb2.IntrospectTokenRequest | token_exchange_service_pb2.RevokeTokenRequest


def token_asked_about(message: _Asked) -> Secret:
    """Return the token of a request. Raises ``InvalidRequest``."""
    violations = Violations()
    size = len(message.token.encode())
    violations.check("token", f"is required: 1 to {MOST_TOKEN} bytes", holds=0 < size <= MOST_TOKEN)
    violations.check("token_type_hint", "at most 255 characters", holds=len(message.token_type_hint) <= 255)
    violations.raise_any()
    return Secret(message.token)


def explain_step(step: Step) -> token_exchange_service_pb2.ExplainStep:
    """Return a step of an explanation."""
    return token_exchange_service_pb2.ExplainStep(
        name=step.name, outcome=_OUTCOMES[step.outcome], reason=step.reason, detail=step.detail
    )


def deciding_key(citation: Citation) -> token_exchange_service_pb2.DecidingKey:
    """Return a key of the configuration that decided."""
    return token_exchange_service_pb2.DecidingKey(
        key=citation.path, where=citation.where, line=citation.text, missing=citation.missing
    )


def planned_token(planned: PlannedToken) -> token_exchange_service_pb2.PlannedToken:
    """Return the token that an exchange would mint."""
    grant = planned.grant
    return token_exchange_service_pb2.PlannedToken(
        format=grant.format.name,
        issued_token_type=grant.token_type,
        subject=grant.principal,
        scopes=grant.scopes,
        key_id=planned.key_id,
        expire_time=timestamp(grant.expires_at),
        lifetime=duration(grant.expires_at - grant.issued_at),
        claims=structs.struct(planned.claims),
    )


# --- keys ---------------------------------------------------------------------------------------------------------


def key_set(published: PublishedKeySet) -> key_set_service_pb2.GetKeySetResponse:
    """Return the published key set."""
    return key_set_service_pb2.GetKeySetResponse(
        keys=[json_web_key_pb2.JsonWebKey(**key) for key in published.keys],
        jwks_json=published.jwks_json.decode(),
        etag=published.etag,
        max_age=Duration(seconds=published.max_age),
    )


def signing_key(key: SigningKey, schedule: Schedule, ring: KeyRing) -> signing_key_pb2.SigningKey:
    """Return a key in the form for operators."""
    activates = activation_allowed(key, schedule) if key.state is KeyState.PREPARED else key.activate_time
    planned = activation_planned(ring, key, schedule) if key.state is KeyState.PREPARED else None
    stops, leaves = planned_end(key, schedule, ring) or (None, None)
    public = json_web_key_pb2.JsonWebKey(kid=key.key_id, alg=key.algorithm, use="sig", **key.public_jwk)
    return signing_key_pb2.SigningKey(
        name=f"signingKeys/{key.key_id}",
        key_id=key.key_id,
        algorithm=key.algorithm,
        state=_STATES[key.state],
        create_time=timestamp(key.create_time),
        publish_time=timestamp(key.publish_time),
        activate_time=timestamp(activates),
        retire_time=timestamp(key.retire_time),
        delete_time=timestamp(key.delete_time),
        revoke_time=timestamp(key.revoke_time),
        public_jwk=public,
        etag=ring.etag,
        revoke_reason=key.revoke_reason,
        planned_time=timestamp(planned),
        signer=key.signer,
        publish_generation=key.publish_generation,
        planned_retire_time=timestamp(stops),
        planned_delete_time=timestamp(leaves),
    )


# --- profiles -----------------------------------------------------------------------------------------------------


def profile_message(profile: Profile) -> profile_pb2.Profile:
    """Return a profile in the form for operators."""
    return profile_pb2.Profile(
        principal=profile.principal,
        identities=[profile_pb2.Identity(provider=item.provider, subject=item.subject) for item in profile.identities],
        disabled=profile.disabled,
        claims=structs.struct(profile.claims),
        roles=profile.roles,
        tokens_valid_after_time=timestamp(profile.tokens_valid_after),
        create_time=timestamp(profile.create_time),
        update_time=timestamp(profile.update_time),
        etag=profile.etag,
        home_region=profile.home,
    )


def profile(message: profile_pb2.Profile) -> Profile:
    """Return the fields of a profile that operators set, not validated."""
    return Profile(
        principal=message.principal,
        identities=tuple(identity(item) for item in message.identities),
        disabled=message.disabled,
        claims=structs.plain(message.claims),
        roles=tuple(message.roles),
    )


def identity(message: profile_pb2.Identity) -> Identity:
    """Return an identity, not validated."""
    return Identity(message.provider, message.subject)


# --- providers ----------------------------------------------------------------------------------------------------


def provider_message(provider: Provider, status: KeySetStatus) -> provider_admin_service_pb2.Provider:
    """Return a provider and the state of its keys."""
    return provider_admin_service_pb2.Provider(
        name=provider.name,
        issuer=" ".join(sorted(provider.issuers)),
        audiences=sorted(provider.audiences),
        algorithms=sorted(provider.algorithms),
        key_source=status.source,
        key_ids=status.key_ids,
        fetch_time=timestamp(status.fetch_time),
        fresh_until_time=timestamp(status.fresh_until),
        trusted_until_time=timestamp(status.trusted_until),
        last_error=status.last_error,
        last_error_time=timestamp(status.last_error_time),
    )


# --- parts --------------------------------------------------------------------------------------------------------


def timestamp(seconds: float | None) -> Timestamp | None:
    """Return Unix seconds as a timestamp."""
    if seconds is None:
        return None
    if isinstance(seconds, int):
        return Timestamp(seconds=seconds)
    whole = math.floor(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1_000_000) * 1000)


def duration(seconds: float) -> Duration:
    """Return seconds as a duration, rounded up because it is an upper bound."""
    return Duration(seconds=math.ceil(seconds))


def page_size(size: int) -> int:
    """Return the number of items of a page. Raises ``InvalidRequest``."""
    violations = Violations()
    violations.check("page_size", f"1 to {MAX_PAGE}", holds=0 <= size <= MAX_PAGE)
    violations.raise_any()
    return size or DEFAULT_PAGE


def page(items: list[Item], size: int, token: str) -> tuple[list[Item], str]:
    """Return a page of a list and the token of the next page. Raises ``InvalidRequest``."""
    violations = Violations()
    violations.check(
        "page_token", "expected the next_page_token of the previous response", holds=not token or token.isdecimal()
    )
    violations.raise_any()
    start = int(token[:9] or "0")
    count = page_size(size)
    following = start + count
    return items[start:following], str(following) if following < len(items) else ""

"""Tokens of the fast way on which CEL decides, or whose claims CEL computes, by the full way's functions."""

from typing import NamedTuple

from tokenmint.base.encoding import encode_segment
from tokenmint.base.errors import TokenmintError
from tokenmint.fast.minting import Proved, Unsigned
from tokenmint.fast.people import Person
from tokenmint.fast.plans import Plan, Target
from tokenmint.formats.jwt import claims_of, unsigned_of
from tokenmint.keys.signers.types import Signer
from tokenmint.model.policy import TokenGrant
from tokenmint.model.profile import Profile
from tokenmint.model.tokens import VerifiedToken
from tokenmint.policy.grant import Policy
from tokenmint.profiles.records import parse_record


class Material(NamedTuple):
    """The parts of a token that are not in its plan."""

    proved: Proved
    person: Person
    signer: Signer
    drawn: bytes
    """The random bytes of its `jti`."""


def computed_of(policy: Policy, plan: Plan, target: Target, of: Material) -> Unsigned | None:
    """Decide on a token and make it without its signature (``TokenExchange.decide``, ``formats.jwt.signed``).

    None if the full way has to decide: the token is refused, or differs from its plan in more than claims.
    """
    client, audience, request = plan.client, target.audience, target.request
    token_id = encode_segment(of.drawn)
    try:
        verified = policy.derive(_verified(of.proved), client, request)
        policy.admit_subject(audience, verified, client, request)
        profile = parse_record(of.person.principal, of.person.raw)
        if not isinstance(profile, Profile):
            return None
        grant = policy.decide(request, client, audience, verified, profile, now=of.proved.now)
        if _planned(grant) != _planned(target.grant):
            return None
        claims = claims_of(grant, issuer=plan.kit.issuer, token_id=token_id.decode())
        text = unsigned_of(grant, of.signer.key_id, claims)
    except (TokenmintError, ValueError):  # also of a value that JSON can't represent
        return None
    return Unsigned(target, of.signer, text, token_id)


def _verified(proved: Proved) -> VerifiedToken:
    """Return a token as ``Verifier.verify`` does, without what serves to use it once."""
    claims, rules = proved.claims, proved.rules
    issued, expires = claims.get("iat"), claims.get("exp")
    return VerifiedToken(
        provider=proved.provider,
        issuer=rules.issuer,
        subject=proved.subject,
        token_type=rules.token_type,
        claims=claims,
        issued_at=float(issued) if isinstance(issued, int | float) else None,
        expires_at=float(expires) if isinstance(expires, int | float) else 0.0,
        fingerprint=proved.digest,
        replay_id="",
        single_use=False,
    )


def _planned(grant: TokenGrant) -> tuple[object, ...]:
    """Return the parts of a grant that the plan relies on."""
    lifetime = grant.expires_at - grant.issued_at
    return lifetime, grant.scopes, grant.algorithm, grant.token_type, grant.max_token_bytes, grant.act, grant.binding

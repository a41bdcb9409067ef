"""Subject tokens of the fast way: the rules for one header of one issuer, decided once, and the checks of each token.

Each check handles only its plain case here. Other cases go to the full way's own function, or the call takes the full
way.
"""

from dataclasses import dataclass
from typing import Final

from tokenmint.base.bounded_cache import Remembered
from tokenmint.base.errors import TokenmintError
from tokenmint.model.tokens import JsonValue
from tokenmint.verification.jwk import VerificationKey
from tokenmint.verification.jws import LONGEST_HEADER, JwsHeader, UnverifiedAssertion, read_header
from tokenmint.verification.key_choice import choose, wanted_key
from tokenmint.verification.provider import (
    LATEST,
    Provider,
    check_audience,
    check_claims,
    check_kind,
    check_times,
    normalised,
)
from tokenmint.verification.subjects import subject
from tokenmint.verification.verifier import Verifier

Claims = dict[str, JsonValue]

ENTRIES: Final = 256  # headers of issuers: a provider has one for each of its keys
RULES: Final = 1024  # bytes of one beyond its texts
SIZE: Final = 1024 * 1024  # bytes of all
LARGEST: Final = 8 * 1024  # bytes of one
_SUBJECT: Final = (("sub",),)
_ELSEWHERE: Final = ("events", "cnf", "act")
"""Claims that only the full way interprets: security events, bound tokens, delegation."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The rules for tokens with one header from one issuer, while the provider has these keys."""

    provider: Provider
    issuer: str
    token_type: str
    keys: tuple[VerificationKey, ...]
    """The provider's keys at that time; after a change the provider has another tuple."""
    key: VerificationKey
    """The one key that may sign such tokens."""
    algorithm: str
    signed: tuple[str, str]
    """Names provider and key in the cache of good signatures."""
    even: bool
    """Whether claims are used unchanged (``normalised``)."""
    conditions: bool
    """Whether the issuer or the provider requires claims (``check_claims``)."""
    plain: bool
    """Whether the provider's tokens have neither a condition nor computed claims (``Policy.is_plain``)."""
    by_sub: bool
    """Whether `sub` alone names the principal, as it is (``subject``)."""


class Tokens:
    """Makes and caches the rules for tokens of one configuration's providers.

    Args:
        verifier: the full way's.
        plain: the providers whose tokens have neither a condition nor computed claims.
    """

    def __init__(self, verifier: Verifier, plain: "frozenset[str]") -> None:
        self._verifier = verifier
        self._plain = plain
        self._trusted = verifier.key_sets.trusted
        self._rules: Remembered[tuple[bytes, str, str], TokenRules] = Remembered(
            entries=ENTRIES, size=SIZE, largest=LARGEST
        )

    def __len__(self) -> int:
        return len(self._rules)

    @property
    def max_token(self) -> int:
        """The longest token, in bytes."""
        return self._verifier.max_token

    def rules(self, header: bytes, issuer: str, token_type: str) -> TokenRules | None:
        """Return the rules for tokens with this first segment and issuer; None if the full way has to decide."""
        key = header, issuer, token_type
        rules = self._rules.find(key)
        if rules is None or rules.keys is not self._trusted(rules.provider.name):
            if (rules := self._made(header, issuer, token_type)) is None:
                return None
            self._rules.remember(key, rules, RULES + 2 * len(header) + 2 * len(issuer))
        return rules

    def _made(self, segment: bytes, issuer: str, token_type: str) -> TokenRules | None:
        """Decide, as ``Verifier._provider``, ``check_kind`` and ``Verifier._check_signature`` do."""
        provider = self._verifier.provider_of(issuer)
        if provider is None or len(segment) > LONGEST_HEADER or not self._is_plain(provider):
            return None
        try:
            header = read_header(segment)
            token_type = check_kind(provider, _unverified(header, issuer), token_type)
        except TokenmintError:
            return None
        if header.algorithm not in provider.algorithms or (provider.key_id_required and header.key_id is None):
            return None
        keys = self._trusted(provider.name)
        fitting = [
            key
            for key in choose(keys, wanted_key(header.key_id, header.members, header.algorithm))
            if header.algorithm in key.algorithms
        ]
        if len(fitting) != 1:
            return None
        [key] = fitting
        return TokenRules(
            provider=provider,
            issuer=issuer,
            token_type=token_type,
            keys=keys,
            key=key,
            algorithm=header.algorithm,
            signed=(provider.name, key.thumbprint),
            even=not (provider.boolean_claims or provider.google_email or provider.nameless_act),
            conditions=bool(provider.checks or provider.issuers.get(issuer)),
            plain=provider.name in self._plain,
            by_sub=(
                provider.subject_claims_by_type.get(token_type, provider.subject_claims) == _SUBJECT
                and token_type not in provider.subject_claims_instead
                and provider.numeric_subjects == "refuse"
            ),
        )

    def _is_plain(self, provider: Provider) -> bool:
        return (
            provider.users is None
            and not provider.single_use
            and provider.trust_domain is None
            and provider.key_issuer == "ignore"
            and not self._verifier.is_emulated(provider.name)
        )


def subject_of(rules: TokenRules, claims: Claims, now: float) -> str | None:
    """Return the subject of a token whose claims pass every check except its signature's; None if one may fail.

    Repeats ``check_kind``, ``normalised``, ``check_times``, ``check_audience``, ``check_claims``, ``subject``,
    the `jti` of ``_replay_id``, and ``bound_to``, in this order.
    """
    provider, get = rules.provider, claims.get
    for name in _ELSEWHERE:
        if name in claims:
            return None
    try:
        # check_times: whole seconds here, fractions in the full way.
        expires, issued, begins = get("exp"), get("iat"), get("nbf", 0)
        if type(expires) is int and type(issued) is int and type(begins) is int and provider.max_age is None:
            latest = now + provider.skew
            if not (now < expires + provider.skew and 0 <= expires <= LATEST and 0 <= issued <= latest):
                return None
            if not 0 <= begins <= latest:
                return None
        else:
            check_times(provider, claims, now)
        # check_audience: one text here, lists in the full way.
        audience = get("aud")
        if type(audience) is str:
            if not audience or audience not in provider.audiences:
                return None
        else:
            check_audience(provider, claims, rules.token_type)
        if rules.conditions:
            check_claims(provider, rules.issuer, claims, now, rules.token_type)
        # subject: `sub` itself here, other claims in the full way.
        named = get("sub")
        if not rules.by_sub:
            named = subject(provider, claims, rules.token_type)
        elif type(named) is not str or not 0 < len(named) <= provider.max_subject:
            return None
    except TokenmintError:
        return None
    token_id = get("jti", "-")  # _replay_id
    return named if type(token_id) is str and token_id else None


def evened(rules: TokenRules, claims: Claims) -> Claims:
    """Return the claims in a uniform form, without the provider's peculiarities (``normalised``)."""
    return claims if rules.even else dict(normalised(rules.provider, claims))


def _unverified(header: JwsHeader, issuer: str) -> UnverifiedAssertion:
    """Return a token with only its header, for checks of the header."""
    return UnverifiedAssertion(header.members, {}, b"", b"", header.algorithm, header.key_id, issuer)

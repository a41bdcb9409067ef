"""Refusals of a subject or actor token, each with its stable reason: a branch of the hierarchy in ``errors.py``."""

from tokenmint.base.errors import TokenmintError


class TokenRejected(TokenmintError):
    """The subject (or actor) token was refused. Subclasses name the fault."""

    reason = "ASSERTION_REJECTED"
    summary = "the token was refused"


class MalformedToken(TokenRejected):
    reason = "MALFORMED"
    summary = "the token is not a well-formed compact JWS (RFC 7515 section 3.1)"


class _Told(TokenRejected):
    """A refusal whose detail names what was expected and what came, and helps the client that sent the token."""

    tells = True


class UnknownIssuer(_Told):
    reason = "UNKNOWN_ISSUER"
    summary = "the token's issuer is not a configured provider"


class UnsupportedTokenType(TokenRejected):
    reason = "UNSUPPORTED_TOKEN_TYPE"
    summary = "tokens of this type are not accepted from this provider"


class AlgorithmNotAllowed(TokenRejected):
    reason = "ALGORITHM_NOT_ALLOWED"
    summary = "the token's algorithm is not accepted from this provider"


class UnknownKey(TokenRejected):
    reason = "UNKNOWN_KEY"
    summary = "the token's key is not in the provider's key set"


class BadSignature(TokenRejected):
    reason = "BAD_SIGNATURE"
    summary = "the token's signature does not verify"


class TokenExpired(TokenRejected):
    reason = "EXPIRED"
    summary = "the token has expired: get a fresh one from the provider"


class TokenNotYetValid(TokenRejected):
    reason = "NOT_YET_VALID"
    summary = "the token is not valid yet: compare the clocks"


class TokenTooOld(TokenRejected):
    reason = "TOO_OLD"
    summary = "the token was issued too long ago: get a fresh one from the provider"


class WrongAudience(_Told):
    reason = "WRONG_AUDIENCE"
    summary = "the token was issued for another audience"


class ClaimRejected(TokenRejected):
    reason = "CLAIM_REJECTED"
    summary = "a claim of the token is missing or differs from the value that the provider's configuration requires"


class WrongNonce(TokenRejected):
    reason = "WRONG_NONCE"
    summary = "the token's nonce differs from the nonce in the request"


class TokenReplayed(TokenRejected):
    reason = "REPLAYED"
    summary = "the token was used before, and may be used only once"


class TokenRevoked(TokenRejected):
    reason = "REVOKED"
    summary = "the token was issued before its principal's tokens were revoked: sign in again"


class PossessionNotProved(TokenRejected):
    reason = "POSSESSION_NOT_PROVED"
    summary = "the token is bound to a key (cnf), and the caller has not proved that it holds the key"

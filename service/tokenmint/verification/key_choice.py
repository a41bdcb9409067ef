"""The keys of a set that a token may be signed with, by what its header says of its key (RFC 7515 section 6).

`kid` names a key, and where there is none, `x5t` or `x5t#S256` does: by a certificate of the key, or as a `kid` of the
same value. A name that no key has is refused. A token that names no key is tried with those that fit its algorithm, a
few at most; a key without a name, if it is the only one, with tokens that name any.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tokenmint.base.foreign_text import quoted
from tokenmint.model.tokens import JsonValue
from tokenmint.verification.jwk import CERTIFICATE_NAMES, VerificationKey
from tokenmint.verification.jws import MAX_KEY_ID

MOST_TRIED: Final = 4  # keys for one token: each costs a signature's check


@dataclass(frozen=True, slots=True)
class WantedKey:
    """The members of a token that choose its key."""

    key_id: str | None = None
    certificates: tuple[tuple[str, str], ...] = ()
    """Names of parameters, `x5t` and `x5t#S256`, and their values."""
    algorithm: str | None = None
    """The token's; None: any."""

    @property
    def named(self) -> bool:
        """Tell whether the token names a key, so that a new set may have it."""
        return self.key_id is not None or bool(self.certificates)

    def __str__(self) -> str:
        """Return what was looked for, for operators."""
        if self.key_id is not None:
            return f"kid {quoted(self.key_id)}"
        if self.certificates:
            return ", ".join(f"{name} {quoted(value)}" for name, value in self.certificates)
        return f"no kid, and no key for {self.algorithm or 'it'}"


def wanted_key(key_id: str | None, header: Mapping[str, JsonValue], algorithm: str) -> WantedKey:
    """Read a token's header. A thumbprint that is none names a key that there is not."""
    named = {name: header[name] for name in CERTIFICATE_NAMES if name in header}
    texts = {
        name: value if isinstance(value, str) and len(value) <= MAX_KEY_ID else "" for name, value in named.items()
    }
    return WantedKey(key_id, tuple(texts.items()), algorithm)


def choose(keys: Sequence[VerificationKey], wanted: WantedKey) -> tuple[VerificationKey, ...]:
    """Return the keys that a token may be signed with: usually one."""
    if wanted.key_id is not None:
        found = tuple(key for key in keys if key.key_id == wanted.key_id)
        return found or _nameless(keys)
    if wanted.certificates:
        found = tuple(
            key
            for key in keys
            if all(
                (name, value) in key.certificates or (value and key.key_id == value)
                for name, value in wanted.certificates
            )
        )
        return found or _nameless(keys)
    if len(keys) == 1:
        return tuple(keys)
    fitting = [key for key in keys if wanted.algorithm is None or wanted.algorithm in key.algorithms]
    return tuple(fitting[:MOST_TRIED])


def named(wanted: WantedKey, chosen: Sequence[VerificationKey]) -> bool:
    """Return whether a token names its ``chosen`` keys. If not, a newer set may have another key in their place."""
    return wanted.named and not _nameless(chosen)


def _nameless(keys: Sequence[VerificationKey]) -> tuple[VerificationKey, ...]:
    return tuple(keys) if len(keys) == 1 and keys[0].key_id is None and not keys[0].certificates else ()

"""The keys of a set that a token may be signed with, by what its header says of its key (RFC 7515 section 6).

`kid` names a key. In a token without `kid`, `x5t` or `x5t#S256` does: by a certificate of the key, or by a key whose
`kid` has the same value. A token with a name that no key has is refused. A token that names no key is tried with the
keys that fit its algorithm, a few at most. If a set has only one key and this key has no name, it is tried with every
token.
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
        """Return whether the token names a key, so that a fetch may find it."""
        return self.key_id is not None or bool(self.certificates)

    def __str__(self) -> str:
        """Return a description of the wanted key, for operators."""
        if self.key_id is not None:
            return f"kid {quoted(self.key_id)}"
        if self.certificates:
            return ", ".join(f"{name} {quoted(value)}" for name, value in self.certificates)
        return f"no kid, and no key for {self.algorithm or 'it'}"


def wanted_key(key_id: str | None, header: Mapping[str, JsonValue], algorithm: str) -> WantedKey:
    """Read a token's header. A malformed thumbprint counts as the name of a key that does not exist."""
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

"""Private keys at rest are sealed with AES-256-GCM under a key-encryption key that never enters the store."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tokenmint.base.errors import ConfigurationError, CorruptRecord
from tokenmint.model.secret import Secret

NONCE_BYTES: Final = 12  # NIST SP 800-38D section 8.2.2: random, and far fewer than 2^32 seals
_VERSION: Final = "v1"


class Sealer:
    """Seals and opens private keys.

    Args:
        encryption_key: 32 bytes; seals and opens.
        entropy: returns the given number of random bytes.
        others: further key-encryption keys, which only open: the previous one, or the next one.
    """

    def __init__(self, encryption_key: Secret, entropy: Callable[[int], bytes], others: Iterable[Secret] = ()) -> None:
        self._entropy = entropy
        self.encryption_key_id = encryption_key_id(encryption_key)
        self._ciphers = {encryption_key_id(key): AESGCM(key.reveal_bytes()) for key in (*others, encryption_key)}

    def seal(self, key_id: str, private: bytes) -> str:
        """Seal a private key; it can be opened only with the same ``key_id``."""
        nonce = self._entropy(NONCE_BYTES)
        cipher = self._ciphers[self.encryption_key_id]
        sealed = nonce + cipher.encrypt(nonce, private, key_id.encode())
        return f"{_VERSION}.{self.encryption_key_id}.{base64.urlsafe_b64encode(sealed).decode()}"

    def reseal(self, key_id: str, sealed: str) -> str:
        """Seal under the current key-encryption key; no change if it is already. Raises as :meth:`open`."""
        if sealed.split(".")[1:2] == [self.encryption_key_id]:
            return sealed
        return self.seal(key_id, self.open(key_id, sealed))

    def open(self, key_id: str, sealed: str) -> bytes:
        """Open a sealed private key.

        Raises:
            ConfigurationError: the key was sealed under another key-encryption key.
            CorruptRecord: the sealed text was changed, or belongs to another key id.
        """
        version, _, rest = sealed.partition(".")
        sealed_under, _, body = rest.partition(".")
        if version != _VERSION:
            raise CorruptRecord(detail=f"the seal of key {key_id} is not of version {_VERSION}")
        cipher = self._ciphers.get(sealed_under)
        if cipher is None:
            raise ConfigurationError(
                f"keys.encryption_key_file: the signing keys were sealed under another key-encryption key "
                f"(id {sealed_under}, yours has id {self.encryption_key_id}): use that key, or name it in "
                "keys.other_encryption_key_files; if that key is lost, see docs/runbooks/lost-encryption-key.md"
            )
        try:
            data = base64.urlsafe_b64decode(body)
            return cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], key_id.encode())
        except (InvalidTag, ValueError, binascii.Error):
            raise CorruptRecord(detail=f"the sealed private half of key {key_id} was changed") from None


def encryption_key_id(key: Secret) -> str:
    """Return an id of a key-encryption key that reveals nothing about the key."""
    return hashlib.sha256(b"tokenmint key-encryption key\x00" + key.reveal_bytes()).hexdigest()[:16]

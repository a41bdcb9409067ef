"""Private keys at rest: AES-256-GCM under a key-encryption key that never enters the store."""

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tokenmint.errors import ConfigurationError, CorruptRecord
from tokenmint.secret import Secret

NONCE_BYTES: Final = 12  # NIST SP 800-38D section 8.2.2: random, and far fewer than 2^32 seals
_VERSION: Final = "v1"


class Sealer:
    """Seals and opens.

    Args:
        encryption_key: 32 bytes.
        entropy: returns that many random bytes.
    """

    def __init__(self, encryption_key: Secret, entropy: Callable[[int], bytes]) -> None:
        key = encryption_key.reveal_bytes()
        self._cipher = AESGCM(key)
        self._entropy = entropy
        self.encryption_key_id = hashlib.sha256(b"tokenmint key-encryption key\x00" + key).hexdigest()[:16]
        """Names the key-encryption key without saying anything about it."""

    def seal(self, key_id: str, private: bytes) -> str:
        """Seal a private key. It opens for the same ``key_id`` only."""
        nonce = self._entropy(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, private, key_id.encode())
        return f"{_VERSION}.{self.encryption_key_id}.{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, key_id: str, sealed: str) -> bytes:
        """Open a sealed private key.

        Raises:
            ConfigurationError: it was sealed under another key-encryption key.
            CorruptRecord: it was changed, or belongs to another key id.
        """
        version, _, rest = sealed.partition(".")
        encryption_key_id, _, body = rest.partition(".")
        if version != _VERSION:
            raise CorruptRecord(detail=f"the seal of key {key_id} is not of version {_VERSION}")
        if encryption_key_id != self.encryption_key_id:
            raise ConfigurationError(
                f"keys.encryption_key_file: the signing keys were sealed under another key-encryption key "
                f"(id {encryption_key_id}, yours has id {self.encryption_key_id}): use that one"
            )
        try:
            data = base64.urlsafe_b64decode(body)
            return self._cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], key_id.encode())
        except (InvalidTag, ValueError, binascii.Error):
            raise CorruptRecord(detail=f"the sealed private half of key {key_id} was changed") from None

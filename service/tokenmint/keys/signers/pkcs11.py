"""Signing keys in a hardware security module, by PKCS #11 (OASIS, version 2.40). Needs the extra `pkcs11`."""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import pkcs11
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
from pkcs11.util.rsa import encode_rsa_public_key

from tokenmint.base.errors import ConfigurationError, SignerUnavailable
from tokenmint.base.threads import Threads
from tokenmint.keys.signers.local import RSA_BITS, PublicKey, public_jwk
from tokenmint.keys.signers.types import NewKey
from tokenmint.keys.types import SigningKey
from tokenmint.model.secret import Secret

NAME: Final = "pkcs11"
T = TypeVar("T")

ALGORITHMS: Final = frozenset({"ES256", "RS256"})
_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Pkcs11Signer:
    """A key that never leaves the module."""

    key_id: str
    algorithm: str
    _key_ref: str
    _source: "Pkcs11Source" = field(repr=False)

    async def sign(self, signing_input: bytes) -> bytes:
        """Return the JWS signature. Raises ``SignerUnavailable``."""
        return await self._source.sign(self._key_ref, self.algorithm, signing_input)


class Pkcs11Source:
    """Makes keys in one token and signs with them.

    A session must not be shared, so calls take turns. After a failed call the next one opens a new session. Each call
    runs in a thread that the process does not wait for: a module may hang, and the process must end all the same.

    Args:
        module: the vendor's library, e.g. `/usr/lib/softhsm/libsofthsm2.so`.
        token: the token's label.
        pin: the user's PIN.
    """

    name = NAME

    def __init__(self, module: Path, token: str, pin: Secret) -> None:
        self._module = module
        self._token = token
        self._pin = pin
        self._session: Any = None
        self._turn = asyncio.Lock()
        self._threads = Threads("pkcs11", 1)

    async def generate(self, algorithm: str) -> NewKey:
        """Make a key that can't be extracted. Raises ``SignerUnavailable``, ``ValueError``."""
        if algorithm not in ALGORITHMS:
            raise ValueError(f"no signer for {algorithm!r}")
        return await self._call(lambda session: _generate(session, algorithm))

    async def open(self, key: SigningKey) -> Pkcs11Signer:
        """Return the signer for ``key``. Raises ``SignerUnavailable`` if the module does not have it."""
        key_ref = key.key_ref or ""
        await self._call(lambda session: _find(session, key_ref, ObjectClass.PRIVATE_KEY))
        return Pkcs11Signer(key.key_id, key.algorithm, key_ref, self)

    async def sign(self, key_ref: str, algorithm: str, signing_input: bytes) -> bytes:
        """Sign with the key at ``key_ref``. Raises ``SignerUnavailable``."""
        return await self._call(lambda session: _sign(session, key_ref, algorithm, signing_input))

    async def destroy(self, key_ref: str) -> None:
        """Destroy both halves. Raises ``SignerUnavailable``."""
        await self._call(lambda session: _destroy(session, key_ref))

    async def _call(self, work: Callable[[Any], T]) -> T:
        def run() -> T:
            try:
                return work(self._opened())
            except pkcs11.PKCS11Error as error:
                session, self._session = self._session, None
                if session is not None:
                    with contextlib.suppress(pkcs11.PKCS11Error):
                        session.close()
                raise SignerUnavailable(detail=f"PKCS #11 module: {type(error).__name__}") from None

        # The turn is over when the module has answered, and not when a caller gives up: it has one call at a time.
        await self._turn.acquire()
        try:
            calling = asyncio.get_running_loop().create_task(self._threads.run(run))
        except BaseException:
            self._turn.release()
            raise
        calling.add_done_callback(self._over)
        return await asyncio.shield(calling)

    def _over(self, calling: "asyncio.Task[Any]") -> None:
        self._turn.release()
        if not calling.cancelled():
            calling.exception()  # the caller's, who may have gone

    def _opened(self) -> Any:
        if self._session is None:
            try:
                library = pkcs11.lib(str(self._module))
                token = library.get_token(token_label=self._token)
                try:
                    self._session = token.open(rw=True, user_pin=self._pin.reveal())
                except pkcs11.UserAlreadyLoggedIn:  # the login belongs to the process and outlives a session
                    self._session = token.open(rw=True)
            except (pkcs11.NoSuchToken, pkcs11.PinIncorrect, RuntimeError) as error:
                raise ConfigurationError(
                    f"keys.pkcs11: {self._module}, token {self._token!r}: {type(error).__name__}: check module, token "
                    "and pin_file"
                ) from None
        return self._session


def _generate(session: Any, algorithm: str) -> NewKey:
    key_ref = secrets.token_hex(_ID_BYTES)
    private = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.SIGN: True}
    common = {"id": bytes.fromhex(key_ref), "label": f"tokenmint {algorithm}", "store": True}
    if algorithm == "ES256":
        parameters = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
        )
        public, _ = parameters.generate_keypair(private_template=private, **common)
        encoded = encode_ec_public_key(public)
    else:
        public, _ = session.generate_keypair(KeyType.RSA, RSA_BITS, private_template=private, **common)
        encoded = encode_rsa_public_key(public)
    return NewKey(_jwk(encoded), key_ref=key_ref)


def _jwk(encoded: bytes) -> dict[str, str]:
    key = load_der_public_key(encoded)
    if not isinstance(key, PublicKey):
        raise SignerUnavailable(detail="PKCS #11 module: a public key of another type")
    return public_jwk(key)


def _find(session: Any, key_ref: str, kind: ObjectClass) -> Any:
    return session.get_key(object_class=kind, id=bytes.fromhex(key_ref))


def _sign(session: Any, key_ref: str, algorithm: str, signing_input: bytes) -> bytes:
    key = _find(session, key_ref, ObjectClass.PRIVATE_KEY)
    if algorithm == "RS256":
        return bytes(key.sign(signing_input, mechanism=Mechanism.SHA256_RSA_PKCS))
    # The module returns R and S side by side, as JWS requires.
    return bytes(key.sign(hashlib.sha256(signing_input).digest(), mechanism=Mechanism.ECDSA))


def _destroy(session: Any, key_ref: str) -> None:
    for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
        with contextlib.suppress(pkcs11.NoSuchKey):
            _find(session, key_ref, kind).destroy()

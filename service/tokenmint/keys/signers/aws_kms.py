"""Signing keys in AWS Key Management Service. Needs the extra `aws-kms`.

https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html
"""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tokenmint.base.errors import SignerUnavailable
from tokenmint.base.threads import Busy, Threads
from tokenmint.keys.signers.local import PublicKey, public_jwk, raw_signature
from tokenmint.keys.signers.types import NewKey
from tokenmint.keys.types import SigningKey

NAME: Final = "aws-kms"
_SPECS: Final = {"ES256": "ECC_NIST_P256", "RS256": "RSA_2048"}
_SIGNING: Final = {"ES256": "ECDSA_SHA_256", "RS256": "RSASSA_PKCS1_V1_5_SHA_256"}
T = TypeVar("T")

ALGORITHMS: Final = frozenset(_SPECS)
MOST_CALLS: Final = 64  # at a time, each on a connection and in a thread of its own: a call that hangs takes no other's
_TIMEOUT: Final = 3.0  # seconds for each attempt
_GONE: Final = frozenset({"NotFoundException", "KMSInvalidStateException"})  # missing, or scheduled for deletion


@dataclass(frozen=True, slots=True)
class KmsSigner:
    """A key that never leaves the service."""

    key_id: str
    algorithm: str
    _key_ref: str
    _source: "KmsSource" = field(repr=False)

    async def sign(self, signing_input: bytes) -> bytes:
        """Return the JWS signature. Raises ``SignerUnavailable``."""
        return await self._source.sign(self._key_ref, self.algorithm, signing_input)


class KmsSource:
    """Makes keys in one account and region, and signs with them. The SDK finds the credentials.

    Args:
        region: the region, e.g. `eu-central-1`; None for the SDK's default.
        endpoint_url: another endpoint, for a private link or a test.
        deletion_days: the days in which the deletion of a key can be undone, 7 to 30.
    """

    name = NAME

    def __init__(self, region: str | None = None, endpoint_url: str | None = None, deletion_days: int = 7) -> None:
        self._region = region
        self._endpoint_url = endpoint_url
        self._deletion_days = deletion_days
        self._made: Any = None
        self._making = threading.Lock()
        self._threads = Threads("aws-kms", MOST_CALLS)

    async def generate(self, algorithm: str) -> NewKey:
        """Make a key. Raises ``SignerUnavailable``, ``ValueError``."""
        if algorithm not in ALGORITHMS:
            raise ValueError(f"no signer for {algorithm!r}")

        def work(client: Any) -> NewKey:
            made = client.create_key(
                KeySpec=_SPECS[algorithm],
                KeyUsage="SIGN_VERIFY",
                Description=f"tokenmint {algorithm} signing key",
                Tags=[{"TagKey": "tokenmint", "TagValue": algorithm}],
            )
            key_ref = str(made["KeyMetadata"]["Arn"])
            public = load_der_public_key(client.get_public_key(KeyId=key_ref)["PublicKey"])
            if not isinstance(public, PublicKey):
                raise SignerUnavailable(detail="AWS KMS: a public key of another type")
            return NewKey(public_jwk(public), key_ref=key_ref)

        return await self._call(work)

    async def open(self, key: SigningKey) -> KmsSigner:
        """Return the signer for ``key``. Raises ``SignerUnavailable`` if the service does not have it."""
        key_ref = key.key_ref or ""

        def work(client: Any) -> None:
            if not client.describe_key(KeyId=key_ref)["KeyMetadata"]["Enabled"]:
                raise SignerUnavailable(detail=f"AWS KMS: {key_ref} is not enabled")

        await self._call(work)
        return KmsSigner(key.key_id, key.algorithm, key_ref, self)

    async def sign(self, key_ref: str, algorithm: str, signing_input: bytes) -> bytes:
        """Sign with the key at ``key_ref``. Raises ``SignerUnavailable``."""
        digest = hashlib.sha256(signing_input).digest()
        signature: bytes = await self._call(
            lambda client: client.sign(
                KeyId=key_ref, Message=digest, MessageType="DIGEST", SigningAlgorithm=_SIGNING[algorithm]
            )["Signature"]
        )
        return raw_signature(signature) if algorithm == "ES256" else signature

    async def destroy(self, key_ref: str) -> None:
        """Schedule the deletion; the service offers nothing faster. Raises ``SignerUnavailable``."""

        def work(client: Any) -> None:
            try:
                client.schedule_key_deletion(KeyId=key_ref, PendingWindowInDays=self._deletion_days)
            except ClientError as error:
                if _code(error) not in _GONE:
                    raise

        await self._call(work)

    async def _call(self, work: Callable[[Any], T]) -> T:
        def run() -> T:
            try:
                return work(self._client())
            except ClientError as error:
                raise SignerUnavailable(detail=f"AWS KMS: {_code(error)}") from None
            except BotoCoreError as error:
                raise SignerUnavailable(detail=f"AWS KMS: {type(error).__name__}") from None

        try:
            return await self._threads.run(run)
        except Busy:
            raise SignerUnavailable(detail=f"AWS KMS: {MOST_CALLS} calls have not returned") from None

    def _client(self) -> Any:
        with self._making:  # the SDK's factory is not safe to share
            if self._made is None:
                settings = Config(
                    connect_timeout=_TIMEOUT,
                    read_timeout=_TIMEOUT,
                    retries={"total_max_attempts": 2},
                    max_pool_connections=MOST_CALLS,
                )
                self._made = boto3.client(
                    "kms", region_name=self._region, endpoint_url=self._endpoint_url, config=settings
                )
            return self._made


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))

"""Signing keys in AWS Key Management Service. Needs the extra `aws-kms`.

https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html
"""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import URLLib3Session
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tokenmint.base.errors import SignerUnavailable
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.threads import Busy, Threads
from tokenmint.keys.signers.local import PublicKey, public_jwk, raw_signature
from tokenmint.keys.signers.types import NewKey
from tokenmint.keys.types import SigningKey
from tokenmint.model.proxies import Proxy

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
        proxy: the proxy for https; None: all connections are direct.
    """

    name = NAME

    def __init__(
        self,
        region: str | None = None,
        endpoint_url: str | None = None,
        deletion_days: int = 7,
        proxy: Proxy | None = None,
    ) -> None:
        self._proxy = proxy
        self._region = region
        self._endpoint_url = endpoint_url
        self._deletion_days = deletion_days
        self._made: Any = None
        self._made_with = 0
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
        tls = self._proxy.tls if self._proxy is not None else None
        files = tls.generation if tls is not None else 0
        with self._making:  # the SDK's factory is not safe to share
            if self._made is None or files != self._made_with:  # it reads the proxy's authorities once
                self._made_with = files
                settings = Config(
                    connect_timeout=_TIMEOUT,
                    read_timeout=_TIMEOUT,
                    retries={"total_max_attempts": 2},
                    max_pool_connections=MOST_CALLS,
                )
                self._made = boto3.Session(botocore_session=_Session(self._proxy)).client(
                    "kms", region_name=self._region, endpoint_url=self._endpoint_url, config=settings
                )
            return self._made


class _Proxies(dict[str, str]):
    """The proxies of the SDK, by scheme. Each request gets the login as it is then."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(https=str(proxy.url))
        self._proxy = proxy

    def get(self, scheme: str, default: Any = None) -> Any:
        return self._proxy.with_login().reveal() if scheme == "https" else default


class _Session(botocore.session.Session):  # type: ignore[misc]  # the library is untyped
    """A session whose clients, also those that fetch credentials, follow no variable of the environment for a proxy."""

    def __init__(self, proxy: Proxy | None) -> None:
        super().__init__()
        self._way = proxy

    def get_credentials(self) -> Any:
        """Return the credentials (``botocore.session.Session.get_credentials``)."""
        roles = self.get_component("credential_provider").get_provider("iam-role")
        # The SDK has no option for the machine's metadata, which are never behind a proxy.
        timeout = self.get_config_variable("metadata_service_timeout")
        roles._role_fetcher._session = URLLib3Session(timeout=timeout, proxies={})  # noqa: SLF001
        return super().get_credentials()

    def create_client(self, *arguments: Any, config: Config | None = None, **named: Any) -> Any:
        """Make a client (``botocore.session.Session.create_client``)."""
        config = (config or Config()).merge(Config(proxies={}))
        client = super().create_client(*arguments, config=config, **named)
        if self._way is None or not _serves(self._way, client.meta.endpoint_url):
            return client
        own = {"proxy_ca_bundle": self._way.ca_file} if self._way.ca_file is not None else None
        config = config.merge(Config(proxies=_Proxies(self._way), proxies_config=own))
        return super().create_client(*arguments, config=config, **named)


def _serves(proxy: Proxy, endpoint: str) -> bool:
    try:
        url = HttpUrl.parse(endpoint)
    except BadUrl:
        return True
    return url.scheme == "https" and proxy.serves(url)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))

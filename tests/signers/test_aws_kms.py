"""Signing keys in AWS KMS: moto stands for the service, behind the SDK and HTTP that are used for real."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from tests.fakes import FakeClock, FakeEntropy
from tests.ports import own_port
from tests.signers.fleet import Fleet, lane_is_missing

from tokenmint.base.errors import SignerUnavailable
from tokenmint.keys.sealing import Sealer
from tokenmint.keys.signers.configured import key_sources
from tokenmint.keys.signers.local import thumbprint
from tokenmint.keys.signers.types import KeySource, NewKey
from tokenmint.keys.types import KeyState, SigningKey
from tokenmint.model.secret import Secret
from tokenmint.storage.redis import Store

REGION = "eu-central-1"
ALGORITHMS = ("ES256", "RS256")
MOST_CALLS = 64
PATIENCE = 20.0  # seconds


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The URL of a service that knows KMS."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError:
        lane_is_missing("moto is not installed: `make test-signers` installs it")
    with pytest.MonkeyPatch.context() as patch:
        complete(patch)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


def complete(patch: pytest.MonkeyPatch) -> None:
    """Add what the stand-in lacks: digests that are not digested again, ARNs, keys that do not sign any more."""
    from moto.core.exceptions import JsonRESTError
    from moto.kms import utils
    from moto.kms.models import KmsBackend
    from moto.kms.responses import KmsResponse

    digest = Prehashed(hashes.SHA256())  # refuses anything that is not 32 bytes
    patch.setattr(
        utils.ECDSAPrivateKey, "sign", lambda self, message, _: self.private_key.sign(message, ec.ECDSA(digest))
    )
    patch.setattr(
        utils.RSAPrivateKey, "sign", lambda self, message, _: self.private_key.sign(message, padding.PKCS1v15(), digest)
    )
    answer, delete = KmsResponse.sign, KmsBackend.schedule_key_deletion

    def sign(self: Any) -> Any:
        assert self._get_param("MessageType") == "DIGEST"
        key = self.kms_backend.describe_key(self._get_param("KeyId"))
        if not key.enabled:
            raise JsonRESTError("KMSInvalidStateException" if key.deletion_date else "DisabledException", key.arn)
        return answer(self)

    def schedule_key_deletion(self: Any, key_id: str, pending_window_in_days: int) -> Any:
        return delete(self, self.get_key_id(key_id), pending_window_in_days)

    patch.setattr(KmsResponse, "sign", sign)
    patch.setattr(KmsBackend, "schedule_key_deletion", schedule_key_deletion)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings that the SDK finds by itself."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(Secret(b"k" * 32), FakeEntropy())


@pytest.fixture
def source(endpoint: str, sealer: Sealer) -> KeySource:
    return kms(sealer, endpoint)


def kms(sealer: Sealer, endpoint: str) -> KeySource:
    return key_sources(sealer, aws_kms={"region": REGION, "endpoint_url": endpoint})["aws-kms"]


@pytest.fixture
def service(endpoint: str, credentials: None) -> Any:
    """The service, as an administrator of it sees it."""
    import boto3

    return boto3.client("kms", region_name=REGION, endpoint_url=endpoint)


def identifier(key_ref: str | None) -> str:
    """The key id in an ARN: the stand-in takes nothing else here."""
    return (key_ref or "").rpartition("/")[2]


def as_key(made: NewKey, algorithm: str) -> SigningKey:
    key_id = thumbprint(made.public_jwk)
    return SigningKey(
        key_id, algorithm, KeyState.ACTIVE, made.public_jwk, 0.0, 0.0, signer="aws-kms", key_ref=made.key_ref
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_what_the_service_signs_verifies_with_the_public_jwk(source: KeySource, algorithm: str) -> None:
    made = await source.generate(algorithm)
    assert made.sealed is None
    signer = await source.open(as_key(made, algorithm))
    public = jwt.PyJWK(dict(made.public_jwk) | {"alg": algorithm}).key
    verify = jwt.get_algorithm_by_name(algorithm).verify
    for message in (b"header.payload", b"x" * 9000):  # the service takes 4096 bytes, and is given a digest
        signature = await signer.sign(message)
        assert verify(message, public, signature)
        assert not verify(message + b".", public, signature)


async def test_many_signatures_at_once(source: KeySource) -> None:
    made = await source.generate("ES256")
    signer = await source.open(as_key(made, "ES256"))
    public = jwt.PyJWK(dict(made.public_jwk) | {"alg": "ES256"}).key
    signatures = await asyncio.gather(*(signer.sign(b"message") for _ in range(20)))
    assert all(jwt.get_algorithm_by_name("ES256").verify(b"message", public, one) for one in signatures)


async def test_a_service_that_hangs_takes_no_threads_of_others(sealer: Sealer) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=2 * MOST_CALLS) as silent:
        source = kms(sealer, f"http://127.0.0.1:{silent.getsockname()[1]}")
        calls = [asyncio.ensure_future(source.destroy(f"key/{number}")) for number in range(MOST_CALLS + 3)]
        refused, _ = await asyncio.wait(calls[-3:], timeout=PATIENCE)
        assert len(refused) == 3
        for call in refused:
            with pytest.raises(SignerUnavailable) as told:
                await call
            assert "have not returned" in told.value.detail
        async with asyncio.timeout(PATIENCE):
            assert await asyncio.to_thread(divmod, 7, 2) == (3, 1)
        assert not any(call.done() for call in calls[:-3])
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_a_destroyed_key_waits_for_its_deletion_and_signs_nothing(source: KeySource, service: Any) -> None:
    made = await source.generate("ES256")
    signer = await source.open(as_key(made, "ES256"))
    for _ in range(2):  # it is no error that it is gone already
        await source.destroy(made.key_ref or "")
    assert service.describe_key(KeyId=made.key_ref)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    with pytest.raises(SignerUnavailable):
        await source.open(as_key(made, "ES256"))
    with pytest.raises(SignerUnavailable):
        await signer.sign(b"late")


async def test_a_key_that_an_administrator_disabled_is_refused(source: KeySource, service: Any) -> None:
    made = await source.generate("ES256")
    service.disable_key(KeyId=identifier(made.key_ref))
    with pytest.raises(SignerUnavailable) as told:
        await source.open(as_key(made, "ES256"))
    assert told.value.detail.endswith("is not enabled")


async def test_a_key_that_is_not_there_is_refused_with_the_services_code(source: KeySource) -> None:
    made = await source.generate("ES256")
    gone = (made.key_ref or "")[:-4] + "0000"
    with pytest.raises(SignerUnavailable) as told:
        await source.open(as_key(NewKey(made.public_jwk, key_ref=gone), "ES256"))
    assert told.value.detail == "AWS KMS: NotFoundException"


@pytest.mark.usefixtures("endpoint")  # the lane, and that SDK
async def test_a_service_that_can_not_be_reached_is_unavailable(sealer: Sealer) -> None:
    with pytest.raises(SignerUnavailable, match="signing key") as told:
        await kms(sealer, f"http://127.0.0.1:{own_port()}").generate("ES256")
    assert told.value.detail == "AWS KMS: EndpointConnectionError"


async def test_missing_credentials_are_unavailable(
    endpoint: str, sealer: Sealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers credentials
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(SignerUnavailable) as told:
        await kms(sealer, endpoint).generate("ES256")
    assert told.value.detail == "AWS KMS: NoCredentialsError"


async def test_an_algorithm_that_it_has_not_is_refused(source: KeySource) -> None:
    with pytest.raises(ValueError, match="EdDSA"):
        await source.generate("EdDSA")


@pytest.fixture
async def fleet(store: Store, clock: FakeClock, endpoint: str, sealer: Sealer) -> Fleet:
    sources = key_sources(sealer, aws_kms={"region": REGION, "endpoint_url": endpoint})
    return Fleet(store, clock, sealer, sources, ALGORITHMS)


async def test_a_keychain_lives_on_the_service(fleet: Fleet) -> None:
    await fleet.lives_on("aws-kms")


async def test_a_fleet_moves_from_local_keys_to_the_service(fleet: Fleet) -> None:
    await fleet.moves_to("aws-kms")


async def test_the_replicas_stop_with_the_service_and_go_on_with_it(fleet: Fleet, service: Any) -> None:
    signing_keys, _ = await fleet.start("aws-kms")
    active = signing_keys.ring.only("ES256", KeyState.ACTIVE)
    assert active is not None
    service.disable_key(KeyId=identifier(active.key_ref))
    with pytest.raises(SignerUnavailable):
        await signing_keys.signer("ES256").sign(b"refused")
    service.enable_key(KeyId=identifier(active.key_ref))
    assert await signing_keys.signer("ES256").sign(b"granted")

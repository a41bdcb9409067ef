"""Signing keys in a hardware security module: SoftHSM2 stands for one, by the same PKCS #11 calls."""

import asyncio
import importlib.util
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from tests.fakes import FakeClock, FakeEntropy
from tests.signers.fleet import Fleet, lane_is_missing

from tokenmint.base.errors import ConfigurationError, SignerUnavailable
from tokenmint.keys.sealing import Sealer
from tokenmint.keys.signers.configured import key_sources
from tokenmint.keys.signers.local import thumbprint
from tokenmint.keys.signers.types import KeySource, NewKey
from tokenmint.keys.types import KeyState, SigningKey
from tokenmint.model.secret import Secret
from tokenmint.storage.redis import Store

PLACES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
PIN = Secret("1234")
ALGORITHMS = ("ES256", "RS256")


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """SoftHSM2 with a token of its own, called `tokenmint`."""
    found = next((Path(place) for place in PLACES if Path(place).exists()), None)
    if found is None or shutil.which("softhsm2-util") is None:
        lane_is_missing("SoftHSM2 is not installed (Debian: softhsm2)")
    assert found is not None
    if importlib.util.find_spec("pkcs11") is None:
        lane_is_missing("python-pkcs11 is not installed: `make test-signers` installs it")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(config)  # the module reads it when it is loaded, once for each process
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "tokenmint", "--so-pin", "12345678", "--pin", "1234"],
        check=True, capture_output=True,
    )  # fmt: skip
    yield found
    del os.environ["SOFTHSM2_CONF"]


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(Secret(b"k" * 32), FakeEntropy())


@pytest.fixture
def sources(module: Path, sealer: Sealer) -> Iterator[Mapping[str, KeySource]]:
    """The local source and the module's; its session ends with the test, and its login with that."""
    from tokenmint.keys.signers.pkcs11 import Pkcs11Source

    made = key_sources(sealer, pkcs11=(module, "tokenmint", PIN))
    yield made
    source = made["pkcs11"]
    assert isinstance(source, Pkcs11Source)
    if source._session is not None:
        source._session.close()


@pytest.fixture
def source(sources: Mapping[str, KeySource]) -> KeySource:
    return sources["pkcs11"]


def as_key(made: NewKey, algorithm: str) -> SigningKey:
    key_id = thumbprint(made.public_jwk)
    return SigningKey(
        key_id, algorithm, KeyState.ACTIVE, made.public_jwk, 0.0, 0.0, signer="pkcs11", key_ref=made.key_ref
    )


def verifies(made: NewKey, algorithm: str, message: bytes, signature: bytes) -> bool:
    public = jwt.PyJWK(dict(made.public_jwk) | {"alg": algorithm}).key
    return jwt.get_algorithm_by_name(algorithm).verify(message, public, signature)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_what_the_module_signs_verifies_with_the_public_jwk(source: KeySource, algorithm: str) -> None:
    made = await source.generate(algorithm)
    assert made.sealed is None, "the private half never leaves the module"
    signer = await source.open(as_key(made, algorithm))
    for message in (b"", b"header.payload", b"x" * 5000):
        signature = await signer.sign(message)
        assert verifies(made, algorithm, message, signature)
        assert not verifies(made, algorithm, message + b".", signature)
    if algorithm == "ES256":
        assert len(await signer.sign(b"raw, RFC 7518 section 3.4")) == 64


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_the_private_half_can_not_be_extracted(source: KeySource, algorithm: str) -> None:
    import pkcs11

    from tokenmint.keys.signers.pkcs11 import Pkcs11Source

    made = await source.generate(algorithm)
    assert isinstance(source, Pkcs11Source)
    key = source._opened().get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, id=bytes.fromhex(made.key_ref or ""))
    assert key[pkcs11.Attribute.SENSITIVE]
    assert not key[pkcs11.Attribute.EXTRACTABLE]


async def test_a_destroyed_key_signs_nothing_and_is_destroyed_again_without_complaint(source: KeySource) -> None:
    made = await source.generate("ES256")
    signer = await source.open(as_key(made, "ES256"))
    for _ in range(2):
        await source.destroy(made.key_ref or "")
    with pytest.raises(SignerUnavailable):
        await signer.sign(b"late")
    with pytest.raises(SignerUnavailable):
        await source.open(as_key(made, "ES256"))


async def test_an_algorithm_that_it_has_not_is_refused(source: KeySource) -> None:
    with pytest.raises(ValueError, match="EdDSA"):
        await source.generate("EdDSA")


@pytest.mark.parametrize(
    ("token", "pin", "named"),
    [("tokenmint", Secret("9999"), "PinIncorrect"), ("elsewhere", PIN, "NoSuchToken")],
    ids=["wrong PIN", "no such token"],
)
async def test_a_wrong_pin_or_token_is_a_fault_of_the_configuration(
    module: Path, sealer: Sealer, token: str, pin: Secret, named: str
) -> None:
    other = key_sources(sealer, pkcs11=(module, token, pin))["pkcs11"]
    with pytest.raises(ConfigurationError, match=rf"keys\.pkcs11.*{named}.*check module, token and pin_file") as told:
        await other.generate("ES256")
    assert pin.reveal() not in str(told.value)


async def test_a_missing_module_is_a_fault_of_the_configuration(module: Path, sealer: Sealer, tmp_path: Path) -> None:
    other = key_sources(sealer, pkcs11=(tmp_path / "none.so", "tokenmint", PIN))["pkcs11"]
    with pytest.raises(ConfigurationError, match=r"none\.so"):
        await other.generate("ES256")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library ends what was lost
async def test_a_session_that_was_lost_is_opened_again(source: KeySource) -> None:
    from tokenmint.keys.signers.pkcs11 import Pkcs11Source

    assert isinstance(source, Pkcs11Source)
    made = await source.generate("ES256")
    signer = await source.open(as_key(made, "ES256"))
    source._session.close()  # as a module does that is restarted
    with pytest.raises(SignerUnavailable, match="signing"):
        await signer.sign(b"lost")
    assert verifies(made, "ES256", b"found", await signer.sign(b"found"))


async def test_a_process_that_is_logged_in_already_opens_another_session(
    source: KeySource, module: Path, sealer: Sealer
) -> None:
    """PKCS #11 section 5.6: the login is the process's, so one that outlived a lost session is no wrong PIN."""
    from tokenmint.keys.signers.pkcs11 import Pkcs11Source

    made = await source.generate("ES256")
    other = key_sources(sealer, pkcs11=(module, "tokenmint", PIN))["pkcs11"]
    signer = await other.open(as_key(made, "ES256"))
    assert verifies(made, "ES256", b"message", await signer.sign(b"message"))
    assert isinstance(other, Pkcs11Source)
    other._session.close()


@pytest.fixture
async def fleet(store: Store, clock: FakeClock, sources: Mapping[str, KeySource], sealer: Sealer) -> Fleet:
    return Fleet(store, clock, sealer, sources, ALGORITHMS)


async def test_a_keychain_lives_on_the_module(fleet: Fleet) -> None:
    await fleet.lives_on("pkcs11")


async def test_a_fleet_moves_from_local_keys_to_the_module(fleet: Fleet) -> None:
    await fleet.moves_to("pkcs11")


async def test_a_key_whose_signer_is_not_configured_any_more_is_named(fleet: Fleet) -> None:
    await fleet.start("pkcs11")
    fleet = replace(fleet, sources={"local": fleet.sources["local"]})
    with pytest.raises(ConfigurationError, match="'pkcs11', which is not configured"):
        await fleet.start("local")


async def test_a_module_that_hangs_is_waited_for_by_nobody_who_has_given_up(
    source: KeySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module has one call at a time, so that others wait for their turn; and the process can end."""
    from tokenmint.keys.signers import pkcs11

    made = await source.generate("ES256")
    signer = await source.open(as_key(made, "ES256"))
    mended, hangs, sign = threading.Event(), threading.Event(), pkcs11._sign

    def hanging(*arguments: Any) -> bytes:
        hangs.set()
        assert threading.current_thread().daemon  # an interpreter waits for all others before it ends
        assert mended.wait(20)
        return sign(*arguments)

    monkeypatch.setattr(pkcs11, "_sign", hanging)
    first, second = (asyncio.ensure_future(signer.sign(b"message")) for _ in range(2))
    await asyncio.to_thread(hangs.wait, 20)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    monkeypatch.setattr(pkcs11, "_sign", sign)
    assert not second.done()
    mended.set()
    async with asyncio.timeout(20):
        assert verifies(made, "ES256", b"message", await second)

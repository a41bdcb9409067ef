"""docs/guides/firebase.md with Firebase's Auth emulator: the blocks that are marked `firebase`."""

from pathlib import Path

from tests.firebase.test_firebase import PROJECT, VARIABLE, Emulator
from tests.firebase.test_firebase import emulator as emulator  # a fixture
from tests.guides import GUIDES, Setting, Walk
from tests.issuer import Issuer


def test_the_guides_emulator_is_followed(emulator: Emulator, tmp_path: Path) -> None:  # the fixture
    setting = Setting(
        environ={VARIABLE: emulator.host},
        addresses={"127.0.0.1:9099": emulator.host},
        started={f"firebase emulators:start --only auth --project {PROJECT}": lambda _: None},  # it runs already
    )
    walk = Walk(GUIDES / "firebase.md", tmp_path, Issuer(), setting)
    walk.config.write_text(walk.configuration("firebase"))
    try:
        assert walk.follow("firebase") > 0
    finally:
        walk.stop()

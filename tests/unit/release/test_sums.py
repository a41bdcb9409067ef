"""The signature of a release, made and verified by OpenSSH as docs/releasing.md says."""

import shutil
import subprocess
from pathlib import Path

import pytest
from release import sums
from release.trees import BuildFailed
from tests.pages import ROOT, blocks_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed"),
]


def key(directory: Path, name: str, kind: str = "ed25519") -> Path:
    """Make a key without a passphrase."""
    path = directory / name
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", path], check=True)
    return path


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A small release with its sums."""
    folder = tmp_path / "dist"
    (folder / "python").mkdir(parents=True)
    (folder / "python" / "a.whl").write_bytes(b"wheel")
    (folder / "BUILD.json").write_text("{}")
    sums.write(folder)
    return folder


def verified(dist: Path, allowed: str) -> list[int]:
    """Run the commands of the page; return their statuses."""
    (dist / "allowed_signers").write_text(allowed)
    (block,) = [block for block in blocks_of(ROOT / "docs" / "releasing.md") if "-Y verify" in block.text]
    statuses = [
        subprocess.run(["bash", "-c", line], cwd=dist, capture_output=True, check=False).returncode
        for line in block.text.splitlines()
    ]
    (dist / "allowed_signers").unlink()
    return statuses


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_signed_release_is_verified_by_the_commands_of_the_page(kind: str, dist: Path, tmp_path: Path) -> None:
    allowed = sums.sign(dist, key(tmp_path, "release", kind))
    assert verified(dist, allowed) == [0, 0]


def test_a_changed_file_is_found_by_the_sums_and_changed_sums_by_the_signature(dist: Path, tmp_path: Path) -> None:
    allowed = sums.sign(dist, key(tmp_path, "release"))
    (dist / "python" / "a.whl").write_bytes(b"other")
    assert verified(dist, allowed) == [0, 1]
    signature = (dist / sums.SIGNATURE).read_bytes()
    sums.write(dist)
    (dist / sums.SIGNATURE).write_bytes(signature)
    assert verified(dist, allowed) == [255, 0]


def test_another_key_and_another_purpose_do_not_pass(dist: Path, tmp_path: Path) -> None:
    allowed = sums.sign(dist, key(tmp_path, "release"))
    sums.sign(dist, key(tmp_path, "other"))
    assert verified(dist, allowed)[0] == 255
    (dist / sums.SIGNATURE).unlink()
    for_mail = ["ssh-keygen", "-q", "-Y", "sign", "-f", f"{tmp_path}/release", "-n", "mail", f"{dist}/{sums.SUMS}"]
    subprocess.run(for_mail, check=True, capture_output=True)
    assert verified(dist, allowed)[0] == 255


def test_only_the_files_of_the_sums_are_signed(dist: Path, tmp_path: Path) -> None:
    (dist / "python" / "added.whl").write_bytes(b"wheel")
    with pytest.raises(BuildFailed, match="the files are not those of SHA256SUMS"):
        sums.sign(dist, key(tmp_path, "release"))
    assert not (dist / sums.SIGNATURE).exists()


def test_a_new_build_removes_the_old_signature(dist: Path, tmp_path: Path) -> None:
    sums.sign(dist, key(tmp_path, "release"))
    sums.write(dist)
    assert not (dist / sums.SIGNATURE).exists()


def test_a_key_that_is_none_is_an_error_that_names_no_content(dist: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("canary-4711")
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(BuildFailed, match="ssh-keygen sign: ") as error:
        sums.sign(dist, tmp_path / "key")
    assert "canary" not in str(error.value)

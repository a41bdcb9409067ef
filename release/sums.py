"""SHA256SUMS over all files of a release, and its signature.

The signature is OpenSSH's (`ssh-keygen -Y sign`, PROTOCOL.sshsig): users have the program that verifies it, the key may
be in a security key or an agent, and by the namespace a signature for another purpose does not pass for a release's.
"""

import hashlib
import subprocess
from pathlib import Path
from typing import Final

from release.trees import BuildFailed

SUMS: Final = "SHA256SUMS"
SIGNATURE: Final = "SHA256SUMS.sig"
NAMESPACE: Final = "tokenmint-release"
SIGNER: Final = "releases"
"""The name of the signer in the file of allowed signers."""


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_folder(folder: Path) -> dict[str, str]:
    """Return the digests of all files but the sums themselves, by name."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: digest(folder / name) for name in names if name not in (SUMS, SIGNATURE)}


def text(sums: dict[str, str]) -> str:
    """Return digests as `sha256sum --check` reads them."""
    return "".join(f"{value}  {name}\n" for name, value in sums.items())


def write(folder: Path) -> str:
    """Write the sums of a folder, and return them. A signature of other sums is removed."""
    (folder / SIGNATURE).unlink(missing_ok=True)
    sums = text(of_folder(folder))
    (folder / SUMS).write_text(sums)
    return sums


def check(folder: Path) -> None:
    """Check that a folder holds the files of its sums, unchanged, and no others.

    Raises:
        BuildFailed: it does not.
    """
    if not (folder / SUMS).exists():
        raise BuildFailed(f"{folder} holds no release: run `make release` first")
    if (folder / SUMS).read_text() != text(of_folder(folder)):
        raise BuildFailed(f"{folder}: the files are not those of {SUMS}: run `make release` again")


def sign(folder: Path, key: Path) -> str:
    """Sign the sums, verify the signature, and return the line of the key for a file of allowed signers.

    Args:
        key: an OpenSSH private key, or the public key of one that an agent holds.

    Raises:
        BuildFailed: the sums are not those of the files, or the key can't be used.
    """
    check(folder)
    (folder / SIGNATURE).unlink(missing_ok=True)
    _keygen("-Y", "sign", "-q", "-f", key, "-n", NAMESPACE, folder / SUMS)
    public = key.with_name(f"{key.name}.pub") if key.suffix != ".pub" else key
    line = public.read_text() if public.exists() else _keygen("-y", "-f", key)
    kind, value = line.split()[:2]
    allowed = f'{SIGNER} namespaces="{NAMESPACE}" {kind} {value}\n'
    signers = folder / ".allowed_signers"
    signers.write_text(allowed)
    try:
        verify(folder, signers)
    finally:
        signers.unlink()
    return allowed


def verify(folder: Path, signers: Path) -> None:
    """Verify the signature of the sums by a file of allowed signers, as users do.

    Raises:
        BuildFailed: it is missing, or not by an allowed signer.
    """
    arguments = ("-Y", "verify", "-q", "-f", signers, "-I", SIGNER, "-n", NAMESPACE, "-s", folder / SIGNATURE)
    _keygen(*arguments, given=(folder / SUMS).read_bytes())


def _keygen(*arguments: str | Path, given: bytes | None = None) -> str:
    words = ["ssh-keygen", *map(str, arguments)]
    try:
        # ssh-keygen asks for a key's passphrase on the terminal itself.
        done = subprocess.run(words, input=given, capture_output=True, check=False)
    except FileNotFoundError:
        raise BuildFailed("ssh-keygen is not installed: install OpenSSH's client") from None
    if done.returncode:
        raise BuildFailed(
            f"ssh-keygen {arguments[1]}: {(done.stderr + done.stdout).decode(errors='replace')[-500:].strip()}"
        )
    return done.stdout.decode()

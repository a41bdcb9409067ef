"""Files that are renewed: read when they changed, and the last good content while they can't be used."""

import asyncio
import os
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest
import structlog
from tests.tls import authority

from tokenmint.base import renewed_files
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.renewed_files import FileWatch, RenewedFiles
from tokenmint.base.tls_files import client_tls

T = TypeVar("T")


def number(contents: Sequence[bytes]) -> int:
    try:
        return sum(map(int, contents))
    except ValueError:
        raise ConfigurationError("x.file: is no number") from None


def current(read: RenewedFiles[T]) -> T:
    read.look()
    return read.value


def files(*paths: Path) -> RenewedFiles[int]:
    return RenewedFiles([("x.file", path) for path in paths], number)


def test_a_change_of_one_of_them_is_read(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    read = files(one, two)
    assert (read.value, read.look(), read.generation) == (3, False, 0)
    two.write_text("40")
    assert current(read) == 41
    assert (read.look(), read.generation) == (False, 1)


def test_a_volume_that_swaps_a_symbolic_link_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes renews what it mounts: the name stays, the folder behind it is another one."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text("1" if name == "first" else "2")
        os.utime(tmp_path / name / "token", ns=(10**18, 10**18))
    data = tmp_path / "data"
    data.symlink_to("first")
    read = files(data / "token")
    (tmp_path / "new").symlink_to("second")
    (tmp_path / "new").rename(data)
    assert current(read) == 2


def test_a_program_that_keeps_the_time_of_the_last_modification_hides_no_change(tmp_path: Path) -> None:
    """As `cp -p` and reproducible images do. The size is the same too, and so may be the number of the file."""
    path = tmp_path / "token"
    path.write_text("1")
    os.utime(path, ns=(10**18, 10**18))
    read = files(path)
    changed_at = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == changed_at:  # the clock of the file system has steps
        path.write_text("2")
        os.utime(path, ns=(10**18, 10**18))
    assert current(read) == 2


def test_an_empty_file_of_authorities_is_refused_and_does_not_stand_for_the_public_ones(tmp_path: Path) -> None:
    """As a file is while it is written in place: OpenSSL takes no authorities for a wish for the default ones."""
    path = tmp_path / "ca.crt"
    path.write_bytes(b"")
    with pytest.raises(ConfigurationError, match="holds no CA certificates in PEM"):
        client_tls("providers", {"ca_file": path})
    path.write_bytes(authority().pem)
    read = client_tls("providers", {"ca_file": path})
    before = read.value
    path.write_bytes(b"")
    assert current(read) is before
    assert "holds no CA certificates" in read.problem
    assert len(before.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("\ufeff", ""),
        ("# F\u0151tan\u00fas\u00edtv\u00e1ny\n", ""),
        ("", "\u2192 the proxy's\n"),
        ("subject=CN = x\n", "\r\n"),
    ],
    ids=["byte order mark", "comment", "text after it", "ASCII"],
)
def test_text_beside_the_authorities_is_no_fault(tmp_path: Path, before: str, after: str) -> None:
    """RFC 7468 section 2: parsers ignore it. The bundles of Red Hat's systems have names in UTF-8 in their comments."""
    path = tmp_path / "ca.crt"
    path.write_bytes(before.encode() + authority().pem + after.encode() + authority().pem)
    assert len(client_tls("providers", {"ca_file": path}).value.get_ca_certs()) == 2


@pytest.mark.parametrize("fault", ["other content", "no file", "a folder", "a pipe", "too large"])
def test_what_can_not_be_used_leaves_the_last_good_content_and_is_told_once(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "file"
    path.write_text("1")
    read = files(path)
    path.unlink()
    if fault == "other content":
        path.write_text("secret-canary")
    elif fault == "a folder":
        path.mkdir()
    elif fault == "a pipe":
        os.mkfifo(path)
    elif fault == "too large":
        path.write_bytes(b"1" * (2**20 + 1))
    with structlog.testing.capture_logs() as logs:
        assert (current(read), current(read), current(read)) == (1, 1, 1)
    assert read.problem.startswith("x.file: ")
    assert [(line["event"], line["error"]) for line in logs] == [
        ("a file that changed is not used: the last good one stays", read.problem)
    ]
    assert "canary" not in str(logs)
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.write_text("2")
    with structlog.testing.capture_logs() as logs:
        assert (current(read), read.problem) == (2, "")
    assert [line["event"] for line in logs] == ["a file can be used again", "a file was renewed"]


def test_the_same_again_after_a_fault_is_no_renewal(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("1")
    read = files(path)
    path.write_text("x")
    assert not read.look()
    path.write_text("1")
    assert (read.look(), read.problem, read.generation) == (False, "", 0)


def test_what_seems_unchanged_is_read_where_somebody_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems of a network show a change late."""
    path = tmp_path / "file"
    path.write_text("1")
    stat = path.stat()
    monkeypatch.setattr(Path, "stat", lambda _: stat)
    read = files(path)
    path.write_text("2")
    assert not read.look()
    assert (read.look(unconditionally=True), read.value) == (True, 2)


def test_a_file_that_was_never_of_use_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"x\.file: .*no-such-file can't be read"):
        files(tmp_path / "no-such-file")
    (tmp_path / "x").write_text("x")
    with pytest.raises(ConfigurationError, match="is no number"):
        files(tmp_path / "x")


def test_tls_of_a_client_verifies_and_follows_its_files(tmp_path: Path) -> None:
    """RFC 9325 section 3.1.1; a key that does not belong to the certificate, or is encrypted, is told at once."""
    ca = authority()
    paths = {key: tmp_path / key for key in ("ca_file", "cert_file", "key_file")}
    certificate, key = ca.issue("client")
    for path, content in zip(paths.values(), (ca.pem, certificate, key), strict=True):
        path.write_bytes(content)
    tls = client_tls("redis", paths)
    context = tls.value
    assert (context.minimum_version, context.verify_mode) == (ssl.TLSVersion.TLSv1_2, ssl.CERT_REQUIRED)
    assert context.check_hostname
    certificate, other = ca.issue("client", serial=101)
    paths["cert_file"].write_bytes(certificate)
    assert (current(tls), tls.problem) == (
        context,
        f"redis.cert_file: {paths['cert_file']} and {paths['key_file']} are not a certificate and its key in PEM",
    )
    paths["key_file"].write_bytes(other)
    assert current(tls) is not context
    paths["ca_file"].write_text("no PEM")
    with pytest.raises(ConfigurationError, match=r"redis\.ca_file: .* holds no CA certificates in PEM"):
        client_tls("redis", paths)


async def test_a_disk_that_hangs_keeps_no_other_file_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewed_files, "LOOK_LIMIT", 0.2)
    reading, mended = threading.Event(), threading.Event()

    def hanging(contents: Sequence[bytes]) -> int:
        if contents != [b"1"]:
            reading.set()
            mended.wait(20)
        return number(contents)

    for name in ("hangs", "good"):
        (tmp_path / name).write_text("1")
    hangs = RenewedFiles([("hangs.file", tmp_path / "hangs")], hanging)
    good = files(tmp_path / "good")
    watch = FileWatch()
    (tmp_path / "hangs").write_text("2")
    (tmp_path / "good").write_text("3")
    with structlog.testing.capture_logs() as logs:
        await watch.look([hangs, good])
        assert reading.is_set()
        async with asyncio.timeout(20):
            while good.value != 3:
                await watch.look([hangs, good])
        for _ in range(5):
            await watch.look([hangs, good])
    assert (hangs.value, good.problem) == (1, "")
    assert "does its disk hang?" in hangs.problem
    assert len([line for line in logs if "does their disk hang?" in line["event"]]) == 1
    mended.set()
    async with asyncio.timeout(20):
        while hangs.value != 2 or hangs.problem:
            await watch.look([hangs, good])
            await asyncio.sleep(0)

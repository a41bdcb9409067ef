"""The files of key sources: read once, followed, and forgotten with their sources."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.tls import authority

from tokenmint.base.http_url import HttpUrl
from tokenmint.model.proxies import Proxy
from tokenmint.verification.fetch import HttpFetch
from tokenmint.verification.key_source import FetchFailed, KeySource
from tokenmint.verification.source_files import secret_file


def test_files_of_sources_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("token")
    (tmp_path / "ca.crt").write_bytes(authority().pem)
    (tmp_path / "pw").write_text("x")
    url = HttpUrl.parse("https://proxy.example:3128")
    source = KeySource("jwks", url="https://idp.example/jwks", ca_file=str(tmp_path / "ca.crt"))
    one = replace(source, bearer_token_file=tmp_path / "token")
    two = replace(source, ca_file=None, proxy=Proxy(url, "u", password_file=tmp_path / "pw"))
    files = HttpFetch().files
    for each in (one, two):
        assert not files.complete(each)
        files.read(each)
        assert files.complete(each)
    assert [len(files.of([each])) for each in (one, two)] == [2, 3]
    files.keep([two])
    assert [len(files.of([each])) for each in (one, two)] == [0, 3]
    with pytest.raises(FetchFailed, match="changed meanwhile"):
        files.context(one.ca_file)


def test_a_byte_order_mark_is_no_part_of_a_secret(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xef\xbb\xbfsecret\r\n")
    assert secret_file("bearer_token_file", tmp_path / "token").value.reveal() == "secret"

"""Answers that are broken, endless, large or compressed: what is read of them."""

import asyncio
import gzip
import zlib
from collections.abc import Callable

import pytest
from tests.fakes import FakeClock
from tests.issuer import Issuer
from tests.unit.verification.fetched import answering, get, source

from tokenmint.base.errors import KeySetInvalid
from tokenmint.verification.fetch import MAX_BODY, HttpFetch
from tokenmint.verification.heads import MAX_HEADS
from tokenmint.verification.key_source import AnswerUnusable, FetchFailed
from tokenmint.verification.keyset import KeySets

pytestmark = pytest.mark.slow

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("parts", "endless"),
    [
        ([OK, b"Transfer-Encoding: chunked\r\n\r\n", b"ff\r\n{"], b""),
        ([OK, b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n"], b""),
        ([OK, b"Transfer-Encoding: gzip, chunked\r\n\r\n", b"0\r\n\r\n"], b""),
        ([OK, b"Content-Length: 100\r\n\r\n{}"], b""),
        ([OK, b"Content-Length: -1\r\n\r\n{}"], b""),
        ([OK, b"Content-Length: " + b"9" * 400 + b"\r\n\r\n{}"], b""),
        ([OK, b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}"], b""),
        ([b"HTTP/1.1 99999 x\r\n\r\n"], b""),
        ([b"HTTP/x 200 OK\r\n\r\n"], b""),
        ([b"\x00\xff\xfe\r\n\r\n"], b""),
        ([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"], b""),
        ([], b""),
        ([OK], b"X-Header: " + b"x" * 1024 + b"\r\n"),
        ([OK, b"X-Header: "], b"x" * 1024),
        ([OK, b"Transfer-Encoding: chunked\r\n\r\n"], b"400\r\n" + b"x" * 1024 + b"\r\n"),
    ],
)
async def test_a_broken_answer_is_a_failed_fetch(parts: list[bytes], endless: bytes) -> None:
    url, _ = answering(*parts, endless=endless)
    async with asyncio.timeout(20):
        with pytest.raises(FetchFailed):
            await get(url)


async def test_interim_answers_without_end_are_a_failed_fetch() -> None:
    """RFC 9110 section 15.2: there may be any number of them. Their bytes are bounded: each costs a parse."""
    url, _ = answering(endless=b"HTTP/1.1 100 Continue\r\n\r\n" * 64)
    sets = KeySets({"idp": source(url, timeout=60)}, fetch=HttpFetch(), clock=FakeClock())
    async with asyncio.timeout(20):
        with pytest.raises(KeySetInvalid, match="before its answer begins"):
            await sets.refresh("idp")


async def test_interim_answers_before_a_document_are_passed_over() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 20
    body = b" " * MAX_HEADS + b"{}"
    url, _ = answering(interim + OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert await get(url) == body


def head(*lines: bytes) -> bytes:
    return OK + b"".join(line + b"\r\n" for line in lines) + b"Content-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("lines", "name", "value"),
    [
        ((b'ETag: "\xe9\xff"',), "etag", '"\xe9\xff"'),
        ((b'ETag: W/"7"',), "etag", 'W/"7"'),
        ((b"ETag: bare",), "etag", "bare"),
        ((b'ETag: "a b"',), "etag", None),
        ((b'ETag: "' + b"x" * 300 + b'"',), "etag", None),
        ((b'ETag: "1"', b'ETag: "2"'), "etag", None),
        ((b"Cache-Control: public", b"Cache-Control: max-age=60"), "cache-control", "public, max-age=60"),
        ((b"Cache-Control: max-age=60" + b" " * 900 + b"x" * 200,), "cache-control", None),
        ((b"Age: " + b"9" * 2000,), "age", None),
        ((b"Age: \xb2",), "age", "\xb2"),
        ((b"Set-Cookie: a=b",), "set-cookie", None),
    ],
)
async def test_headers_are_bounded_and_read_as_bytes(lines: tuple[bytes, ...], name: str, value: str | None) -> None:
    url, _ = answering(head(*lines))
    assert (await HttpFetch()(source(url), url, etag=None)).headers.get(name) == value


@pytest.mark.parametrize(
    ("etag", "sent"),
    [
        ('"7"', b'"7"'),
        ('W/"\xe9\x80\xff"', b'W/"\xe9\x80\xff"'),  # RFC 9110 section 5.5: obs-text, as the same bytes
        ('"\u20ac"', None),
        ('"a\r\nX: y"', None),
        ('"' + "x" * 300 + '"', None),
    ],
)
async def test_an_etag_is_sent_back_as_it_came_or_not_at_all(etag: str, sent: bytes | None) -> None:
    url, asked = answering(head())
    await HttpFetch()(source(url), url, etag=etag)
    lines = [line for line in asked()[0].split(b"\r\n") if line.lower().startswith(b"if-none-match")]
    assert lines == ([] if sent is None else [b"If-None-Match: " + sent])
    assert b"X: y" not in asked()[0]


async def test_an_etag_beyond_ascii_does_not_end_the_second_fetch() -> None:
    body = Issuer().jwks()
    answer = OK + b'ETag: "\xe9"\r\nContent-Length: ' + str(len(body)).encode() + b"\r\n\r\n" + body
    url, asked = answering(answer)
    sets = KeySets({"idp": source(url)}, fetch=HttpFetch(), clock=FakeClock())
    for _ in range(2):
        assert (await sets.refresh("idp")).key_ids == ("k1",)
    assert b'If-None-Match: "\xe9"' in asked()[1]


async def test_a_large_answer_is_not_swallowed(issuer: Issuer) -> None:
    issuer.documents["/exact"] = b"x" * MAX_BODY
    issuer.documents["/large"] = b"x" * (MAX_BODY + 1)
    assert len(await get(f"{issuer.url}/exact")) == MAX_BODY
    with pytest.raises(FetchFailed, match="more than"):
        await get(f"{issuer.url}/large")


async def test_a_body_in_very_many_chunks_is_not_read_to_its_end() -> None:
    """Ten thousand chunks of a byte, which come in one piece, kept everybody waiting for 0.8 s."""
    url, _ = answering(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 10_000, b"0\r\n\r\n")
    with pytest.raises(AnswerUnusable, match="more than 4096 parts"):
        await get(url)
    url, _ = answering(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 1000, b"0\r\n\r\n")
    assert await get(url) == b"a" * 1000


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", "deflate"])
async def test_rfc_9110_section_8_4_a_compressed_answer_is_read(issuer: Issuer, coding: str) -> None:
    compress = zlib.compress if coding == "deflate" else gzip.compress
    issuer.headers["Content-Encoding"] = coding
    issuer.documents["/jwks.json"] = compress(issuer.jwks())
    plain = Issuer(key=issuer.key)
    assert await get(f"{issuer.url}/jwks.json") == plain.jwks()
    issuer.documents["/jwks.json"] = compress(b"x" * MAX_BODY)
    assert len(await get(f"{issuer.url}/jwks.json")) == MAX_BODY


def bomb() -> bytes:
    """400 MiB of zeros. A second of computing makes them, so only in the test that sends them."""
    return gzip.compress(bytes(400 * 2**20))


@pytest.mark.parametrize(
    ("coding", "body", "words"),
    [
        ("gzip", gzip.compress(b"x" * (MAX_BODY + 1)), "more than"),
        ("gzip", bomb, "more than"),
        ("gzip", b"".join(gzip.compress(b"x" * 2**17) for _ in range(5)), "more than"),
        ("gzip", gzip.compress(b"") * 65, "more than 64 members"),
        ("deflate", zlib.compress(b"x" * (MAX_BODY + 1)), "more than"),
        ("gzip", gzip.compress(b"x" * 100)[:-8], "cut off"),
        ("gzip", b"<html>", "compression is not the declared one"),
        ("deflate", zlib.compress(b"{}") + b"{}", "after its end"),
        ("gzip, gzip", b"", "encoding"),
        ("br", b"", "encoding"),
        ("zstd", b"", "encoding"),
    ],
    ids=[
        "a byte too many",
        "a bomb",
        "many members",
        "members without content",
        "zlib",
        "cut off",
        "html",
        "more behind it",
        "twice",
        "br",
        "zstd",
    ],
)
async def test_the_limit_of_a_compressed_answer_is_on_what_is_in_it(
    issuer: Issuer, coding: str, body: bytes | Callable[[], bytes], words: str
) -> None:
    issuer.headers["Content-Encoding"] = coding
    issuer.documents["/jwks.json"] = body if isinstance(body, bytes) else body()
    with pytest.raises(AnswerUnusable, match=words):
        await get(f"{issuer.url}/jwks.json")

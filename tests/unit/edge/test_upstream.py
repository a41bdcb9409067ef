"""The sidecar's questions: an answer that tokenmint never gives is none, so nothing passes."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.http_servers import Handler, running
from tests.tls import authority

from tokenmint.base.errors import DependencyUnavailable
from tokenmint.base.http_url import HttpUrl
from tokenmint.edge import upstream
from tokenmint.edge.question import Question
from tokenmint.model.secret import Secret

QUESTION = Question("/auth/x", (("authorization", "Bearer a"),))


@asynccontextmanager
async def answering(*lines: str, body: bytes = b"", endless: bool = False) -> AsyncIterator[upstream.Upstream]:
    """A sidecar's upstream that gets this answer to each question; ``endless``: and one byte after the other."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write("\r\n".join((*lines, "", "")).encode() + body)
        try:
            while endless:
                await writer.drain()
                writer.write(b" ")
                await asyncio.sleep(0.01)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = HttpUrl.parse(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with upstream.Upstream(url, "gateway", Secret("s"), authorities=None) as asked:
            yield asked


async def test_an_answer_with_one_token_is_one() -> None:
    async with answering("HTTP/1.1 200 OK", "Authorization: Bearer a", "Cache-Control: max-age=1") as asked:
        answer = await asked.ask(QUESTION)
    assert (answer.status, answer.keep) == (200, 1)


@pytest.mark.parametrize(
    ("case", "lines"),
    [
        ("a page of another server: the caller's own header would pass", ()),
        ("an empty token", ("Authorization:",)),
        ("another scheme", ("Authorization: Basic YTpi",)),
        ("two tokens", ("Authorization: Bearer a", "Authorization: Bearer b")),
    ],
)
async def test_a_pass_without_exactly_one_token_is_no_answer(case: str, lines: tuple[str, ...]) -> None:
    async with answering("HTTP/1.1 200 OK", *lines, "Content-Length: 2", body=b"ok") as asked:
        with pytest.raises(DependencyUnavailable):
            await asked.ask(QUESTION)


async def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "PATIENCE", 0.3)
    async with answering("HTTP/1.1 401 Unauthorized", "Content-Length: 60000", endless=True) as asked:
        with pytest.raises(DependencyUnavailable):
            await asked.ask(QUESTION)


@pytest.mark.parametrize("trusted", ["its own", "another"])
async def test_an_upstream_with_an_authority_of_a_cluster_is_trusted_and_no_other(tmp_path: Path, trusted: str) -> None:
    """Authorities of clusters often lack key identifiers (RFC 5280 section 4.2.1.1), on which Python 3.13 insists."""
    ca = authority(identified=False)
    certificate, key = ca.issue("tokenmint", "127.0.0.1")
    (tmp_path / "crt").write_bytes(certificate)
    (tmp_path / "key").write_bytes(key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "crt", tmp_path / "key")

    class Answering(Handler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Authorization", "Bearer a")
            self.send_header("Content-Length", "0")
            self.end_headers()

    authorities = ca.pem if trusted == "its own" else authority("Other").pem
    with running(Answering, tls=tls) as port:
        url = HttpUrl.parse(f"https://127.0.0.1:{port}")
        async with upstream.Upstream(url, "gateway", Secret("s"), authorities=authorities) as asked:
            if trusted == "its own":
                assert (await asked.ask(QUESTION)).status == 200
            else:
                with pytest.raises(DependencyUnavailable, match="can't be reached"):
                    await asked.ask(QUESTION)

"""Signals that are polled for (RFC 8936), and the streams that the command line manages."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.issuer import Issuer, rsa_key
from tests.json_documents import described, differences
from tests.rig import Rig, Serve, person, refusal
from tests.signals import CAEP, of, once, secevent
from tests.transmitter import TOKEN, TransmitterState, transmitting
from typer.testing import CliRunner

from tokenmint.base.errors import OutcomeUnknown
from tokenmint.cli import signals

EVENT = CAEP + "session-revoked"


@pytest.fixture
def sender() -> Iterator[TransmitterState]:
    with transmitting(Issuer(key=rsa_key(3))) as state:
        yield state


@pytest.fixture
def extra(sender: TransmitterState, tmp_path: Path) -> str:
    (tmp_path / "token").write_text(TOKEN)
    return f"""
[providers.work]
issuer = "{sender.url}"
audiences = ["app"]
allow_private = true
[providers.work.signals]
token_file = "{tmp_path}/token"
[providers.work.signals.poll]
url = "{sender.url}/poll"
interval = "5s"
max_events = 2

[audiences."https://work.example"]
clients = ["web"]
providers = ["work"]
"""


async def exchange(rig: Rig, sender: TransmitterState, subject: str, issued_at: float) -> Any:
    token = sender.issuer.token(issued_at, sub=subject)
    return await rig.exchange.ExchangeToken(rig.request(token, "https://work.example"), **rig.auth("web"))


async def known(rig: Rig, sender: TransmitterState, subject: str) -> float:
    """Make a profile, exchange a token for it, and return the time of that token."""
    profile = person(subject, subject)
    profile.identities[0].provider = "work"
    await rig.create(profile)
    now = rig.clock.now()
    await exchange(rig, sender, subject, now)
    return now


def polls(sender: TransmitterState) -> list[dict[str, Any]]:
    return [body for _, path, body in sender.asked if path == "/poll"]


async def test_polled_events_are_applied_and_acknowledged(serve: Serve, sender: TransmitterState, extra: str) -> None:
    async with serve(extra) as rig:
        subjects = [once() for _ in range(5)]
        for subject in subjects:
            before = await known(rig, sender, subject)
            token = secevent(sender.issuer, rig.clock.now(), EVENT, of(sender.issuer, subject), jti=subject)
            sender.pending[subject] = token
        await rig.until(lambda: not sender.pending)
        for subject in subjects:
            assert (await refusal(exchange(rig, sender, subject, before))).reason == "REVOKED"
        assert not sender.errors
        assert all(len(body.get("ack", ())) <= 2 and body["maxEvents"] == 2 for body in polls(sender))


async def test_a_refused_token_is_reported_and_does_not_stop_the_others(
    serve: Serve, sender: TransmitterState, extra: str
) -> None:
    async with serve(extra) as rig:
        before = await known(rig, sender, subject := once())
        now = rig.clock.now()
        sender.pending = {
            "wrong-audience": secevent(sender.issuer, now, EVENT, aud="other", jti="wrong-audience"),
            "no-token": "x",
            "another-name": secevent(sender.issuer, now, EVENT, jti=once()),
            "forged": secevent(Issuer(url=sender.url, key=rsa_key(4)), now, EVENT, jti="forged"),
            subject: secevent(sender.issuer, now, EVENT, of(sender.issuer, subject), jti=subject),
        }
        await rig.until(lambda: not sender.pending)
        assert {name: error["err"] for name, error in sender.errors.items()} == {
            "wrong-audience": "invalid_audience", "no-token": "invalid_request", "another-name": "invalid_request",
            "forged": "invalid_key",
        }  # fmt: skip
        assert (await refusal(exchange(rig, sender, subject, before))).reason == "REVOKED"


async def test_an_event_whose_change_was_not_confirmed_is_sent_again(
    serve: Serve, sender: TransmitterState, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(extra) as rig:
        before = await known(rig, sender, subject := once())
        changes = rig.parts.signals._changes
        failures = 0
        make: Callable[..., Any] = changes.make

        async def unconfirmed(*arguments: Any, **options: Any) -> Any:
            nonlocal failures
            failures += 1
            if failures == 1:
                raise OutcomeUnknown(detail="not confirmed")
            return await make(*arguments, **options)

        monkeypatch.setattr(changes, "make", unconfirmed)
        sender.pending[subject] = secevent(
            sender.issuer, rig.clock.now(), EVENT, of(sender.issuer, subject), jti=subject
        )
        await rig.until(lambda: not sender.pending)
        assert failures == 2
        assert not sender.errors
        assert (await refusal(exchange(rig, sender, subject, before))).reason == "REVOKED"


@pytest.mark.parametrize("answer", [b"[]", b'{"sets": []}', b'{"sets": {"a": "", "b": "", "c": ""}}', b"\xff", b""])
async def test_an_answer_that_can_not_be_used_ends_nothing(
    serve: Serve, sender: TransmitterState, extra: str, answer: bytes
) -> None:
    async with serve(extra) as rig:
        sender.answer = answer
        await rig.until(lambda: polls(sender))
        if answer:
            await rig.until(lambda: "signals of work" in rig.base.background.failing())
        sender.answer = None
        sender.pending["x"] = "no token"
        await rig.until(lambda: not sender.pending)
        await rig.until(lambda: "signals of work" not in rig.base.background.failing())


# --- the command line ---------------------------------------------------------------------------------------------


@pytest.fixture
def config(sender: TransmitterState, tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "push").write_text("push-secret-of-the-stream")
    digest = hashlib.sha256(b"push-secret-of-the-stream").hexdigest()
    path = tmp_path / "tokenmint.toml"
    path.write_text(f"""
issuer = "https://tokens.example"
[providers.work]
issuer = "{sender.url}"
audiences = ["app"]
allow_private = true
[providers.work.signals]
token_file = "token"
push_secrets = ["sha256:{digest}"]
[providers.other]
issuer = "https://other.example"
audiences = ["app"]
""")
    return path


def run(config: Path, *words: str) -> Any:
    return CliRunner().invoke(signals.app, [*words, "--config", str(config)])


def test_a_stream_is_created_verified_shown_and_deleted(sender: TransmitterState, config: Path, tmp_path: Path) -> None:
    done = run(config, "create", "work", "--push-token-file", str(tmp_path / "push"))
    assert done.exit_code == 0, done
    assert "stream_id: s0" in done.output
    assert "push-secret" not in done.output
    [(_, _, body)] = sender.asked
    assert body["delivery"] == {
        "method": "urn:ietf:rfc:8935", "endpoint_url": "https://tokens.example/signals/work",
        "authorization_header": "Bearer push-secret-of-the-stream",
    }  # fmt: skip
    assert EVENT in body["events_requested"]
    assert CAEP + "risk-level-change" not in body["events_requested"]  # its action is `ignore`
    assert "status: enabled" in run(config, "status", "work").output
    state = run(config, "verify", "work").output.partition("the state ")[2].partition(":")[0]
    assert sender.asked[-1] == ("POST", "/verify", {"stream_id": "s0", "state": state})
    done = run(config, "verify", "work", "-o", "json")
    assert differences(described()["signals verify"], json.loads(done.output)) == []
    assert "deleted the stream s0" in run(config, "delete", "work").output
    assert not sender.streams
    assert run(config, "create", "work", "--poll").exit_code == 0
    done = run(config, "delete", "work", "-o", "json")
    assert differences(described()["signals delete"], json.loads(done.output)) == []


def test_a_stream_for_polls(sender: TransmitterState, config: Path) -> None:
    done = run(config, "create", "work", "--poll")
    assert f"endpoint_url: {sender.url}/poll" in done.output
    assert sender.asked[-1][2]["delivery"] == {"method": "urn:ietf:rfc:8936"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("create", "work"), "push_secrets: name one of them by --push-token-file"),
        (("status", "work"), "the transmitter has 0 streams"),
        (("status", "nobody"), "nobody"),
        (("status", "other"), "providers.other.signals: is required"),
        (("status", "work", "--stream", "x" * 300), "the id of the stream has"),
    ],
)
def test_a_command_says_what_is_missing(
    sender: TransmitterState, config: Path, words: tuple[str, ...], told: str
) -> None:
    done = run(config, *words)
    assert done.exit_code != 0
    assert told in str(done.exception)


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"issuer": "https://evil.example"}, "another issuer"),
        ({"status_endpoint": "https://evil.example/status"}, "on another host, which does not get its token"),
        ({"status_endpoint": "http://127.0.0.1:1/status"}, "on another host"),
        ({"status_endpoint": None}, "has no status_endpoint"),
        ({"status_endpoint": "no url"}, "is no URL"),
    ],
)
def test_metadata_can_not_lead_the_token_elsewhere(
    sender: TransmitterState, config: Path, metadata: dict[str, Any], told: str
) -> None:
    sender.metadata = metadata
    done = run(config, "status", "work", "--stream", "s0")
    assert told in str(done.exception)
    assert not sender.asked


@pytest.mark.parametrize(("status", "told"), [(403, "is the token of token_file right"), (503, "answered with 503")])
def test_a_transmitter_that_refuses(sender: TransmitterState, config: Path, status: int, told: str) -> None:
    sender.status = status
    assert told in str(run(config, "status", "work", "--stream", "s0").exception)

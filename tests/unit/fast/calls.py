"""Callers and requests that both ways have to agree about."""

from google.protobuf.duration_pb2 import Duration
from tests.both_ways import BothWays
from tests.rig import OPEN_AUDIENCE
from tests.unit.fast.once import once


async def callers_that_are_refused(ways: BothWays) -> None:
    """No caller is recognised that the full way does not prove."""
    await ways.check(recognised=True)
    (key, web), (secret_key, secret) = ways.metadata()
    other = ways.metadata("batch")[1][1]
    for metadata in (
        (), ((key, web),), ((secret_key, secret),), ((key, web), (secret_key, "tms_wrong")),
        ((key, web), (secret_key, "")), ((key, web), (secret_key, other)), ((key, "batch"), (secret_key, secret)),
        ((key, "nobody"), (secret_key, secret)), ((key, ""), (secret_key, secret)),
        ((key, web), (key, web), (secret_key, secret)), ((key, web), (secret_key, secret), (secret_key, secret)),
        ((key, web), (secret_key, secret), ("tokenmint-client-assertion", "x")),
        ((key, web), (secret_key, secret), ("tokenmint-workload-token", "x")),
        ((key, web), (secret_key, secret), ("content-type", "text/plain")),
        ((key, web), (secret_key, "\ud800")),
    ):  # fmt: skip
        outcome = await ways.check(metadata=metadata, recognised=False)
        assert outcome.answer is None, metadata
    outcome = await ways.check(ways.request(), ways.metadata("batch"), recognised=False)  # not the audience's client
    assert outcome.answer is None


def field(number: int, value: bytes) -> bytes:
    """A field of a message, shorter than 128 bytes."""
    return bytes((number << 3 | 2, len(value))) + value


async def requests_that_are_refused(ways: BothWays) -> None:
    """No request is recognised that the full way refuses."""
    whole = ways.request()
    for name, request in {
        "no message": b"",
        "no token": ways.request(token=""),
        "a token that ends it": whole + field(1, b""),
        "another token after it": whole + field(1, b"x"),
        "a probe after it": whole + field(1, b"p"),
        "another token before it": field(1, b"x") + whole + field(1, b"x"),
        "cut off": whole[:200],
        "cut off in the length": whole[:2],
        "a length beyond the end": b"\x0a\xff\x7f" + whole[3:],
        "a rest that is cut off": whole[:-1],
        "a nonce that is not the token's": ways.request(nonce="n"),
        "a scope that is nobody's": ways.request(scopes=["admin"]),
        "a scope that is none": ways.request(scopes=["a b"]),
        "a lifetime beyond the most": ways.request(lifetime=Duration(seconds=3601)),
        "a lifetime with a fraction": ways.request(lifetime=Duration(seconds=5, nanos=1)),
        "an unknown audience": ways.request(audience="https://unknown.example"),
        "a kind of token that is not served": ways.request(requested_token_type="urn:x"),
        "a kind of subject token that there is not": ways.request(subject_token_type="urn:x"),
        "an access token that is none": ways.request(
            subject_token_type="urn:ietf:params:oauth:token-type:access_token"
        ),
        "an actor": ways.request(actor_token=ways.token(), actor_token_type="urn:ietf:params:oauth:token-type:jwt"),
        "an actor's kind alone": ways.request(actor_token_type="urn:ietf:params:oauth:token-type:jwt"),
        "no UUID": ways.request(request_id="1"),
        "no thumbprint": ways.request(dpop_jkt="x"),
        "a long rest": ways.request(scopes=["read"] * 65),
    }.items():
        outcome = await ways.check(request, recognised=False)
        assert outcome.answer is None, name


async def requests_in_other_spellings(ways: BothWays) -> None:
    """Protobuf's spellings of one message are that message."""
    whole = ways.request()
    token = ways.token().encode()
    size = len(token)
    assert 128 <= size < 2**14
    overlong = bytes((0x0A, size & 127 | 128, size >> 7 | 128, 0)) + token
    rest = whole[3 + size :]
    only = (
        (overlong + rest + field(8, field(1, b"https://orders.example") + field(2, b"read") + field(15, b"unknown")),)
        if ways.batch
        else (
            overlong + field(3, b"https://unknown.example") + rest,
            overlong + field(4, b"read") + rest + field(4, b"read"),
        )
    )
    for request in (
        whole, overlong + rest, overlong + field(15, b"unknown") + rest, rest + overlong,
        overlong + field(2, b"") + rest, *only,
    ):  # fmt: skip
        outcome = await ways.check(request)
        assert outcome.answer is not None
    for request in (
        ways.request(token=ways.token(nonce="n"), nonce="n"),
        ways.request(request_id="3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
        ways.request(dpop_jkt="A" * 43),
        ways.request(audience=OPEN_AUDIENCE, token=ways.token(jti=once())),
    ):
        outcome = await ways.check(request, recognised=False)
        assert outcome.answer is not None


async def callers_with_a_trace(ways: BothWays) -> None:
    """The event of an exchange names the caller's trace, and that of its neighbour does not."""
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    for flag in ("00", "01"):
        traced = (*ways.metadata(), ("traceparent", f"00-{trace}-{span}-{flag}"), ("tracestate", "a=1"))
        outcome = await ways.check(metadata=traced, recognised=True)
        assert [(event["trace_id"], event["span_id"]) for event in outcome.events] == [(trace, span)]
    for value in (f"00-{trace}-{span}", "x" * 9000, f"00-{trace}-{span}-00-more"):
        outcome = await ways.check(metadata=(*ways.metadata(), ("traceparent", value)), recognised=True)
        assert "trace_id" not in outcome.events[0]

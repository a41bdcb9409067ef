"""Real Envoy in front of either transport: strangers and honest callers share its connection to the service."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.envoy import binary, running
from tests.http2 import METHOD, Peer, connected, framed
from tests.ports import own_port
from tests.process import Service, configure

ENVOY = """
static_resources:
  listeners:
    - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {edge} }} }}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: edge
                codec_type: HTTP2
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes: [{{ match: {{ prefix: / }}, route: {{ cluster: tokenmint, timeout: 0s }} }}]
  clusters:
    - name: tokenmint
      type: STATIC
      connect_timeout: 2s
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {{ http2_protocol_options: {{ max_concurrent_streams: 100 }} }}
      load_assignment:
        cluster_name: tokenmint
        endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}] }}]
"""  # noqa: E501  # Envoy's names are as long as that
MALFORMED = (
    ("grpc-timeout", "bogus"),
    ("grpc-encoding", "rot13"),
    ("x-trace-bin", "!!!"),
    ("grpc-previous-rpc-attempts", "x"),
    ("grpc-retry-pushback-ms", "x"),
    ("user-agent", "y" * 3000),
)


@contextmanager
def edge(directory: Path, transport: str) -> Iterator[int]:
    """Serve behind Envoy; return Envoy's port."""
    program = binary()
    configure(directory)
    with Service(directory, TOKENMINT_LISTEN__TRANSPORT=transport) as service:
        port = own_port()
        configuration = ENVOY.format(edge=port, port=service.listen["grpc"].rpartition(":")[2])
        with running(program, directory, configuration, port):
            yield port


async def answered(call: Any) -> str:
    """Return how an honest call ends, with metadata of the names that strangers spoil."""
    try:
        await call(b"", metadata=(("x-trace-bin", b"abc"),), timeout=60)
    except grpc.aio.AioRpcError as refused:
        return f"{refused.code().name}: {refused.details()}"
    return "OK"


async def spoil(stranger: Peer) -> None:
    """Send each malformed header in a call of its own; some of them Envoy refuses by itself."""
    for header in MALFORMED:
        await stranger.answer(stranger.call([header]))


async def test_rfc_7541_what_strangers_send_through_envoy_fails_nobody_elses_calls(
    tmp_path: Path, transport: str
) -> None:
    """60 calls of an innocent caller, of which 55 to 57 failed before with "Error parsing 'grpc-timeout' metadata"."""
    with edge(tmp_path, transport) as port:
        ended: Counter[str] = Counter()
        async with (
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
            connected(f"127.0.0.1:{port}") as stranger,
        ):
            await stranger.settle()
            call: Any = channel.unary_unary(METHOD)
            assert await answered(call) == "OK"
            for _ in range(20):
                await spoil(stranger)
                for _ in range(3):
                    ended[await answered(call)] += 1
        assert ended == {"OK": 60}


async def test_calls_whose_message_never_ends_keep_nobody_waiting_behind_envoy(tmp_path: Path, transport: str) -> None:
    with edge(tmp_path, transport) as port:
        async with (
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
            connected(f"127.0.0.1:{port}") as stranger,
        ):
            await stranger.settle()
            for _ in range(4):
                stranger.call(body=framed(b"x" * 15_000)[:-1], end=False)
            assert await answered(channel.unary_unary(METHOD)) == "OK"


@pytest.mark.parametrize("at_once", [100, 300])
async def test_honest_callers_behind_envoy_are_never_refused(tmp_path: Path, transport: str, at_once: int) -> None:
    with edge(tmp_path, transport) as port:
        ended: Counter[str] = Counter()
        left = iter(range(2000))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_retries", 0)]) as channel:

            async def caller() -> None:
                for _ in left:
                    ended[await answered(channel.unary_unary(METHOD))] += 1

            await asyncio.gather(*(caller() for _ in range(at_once)))
        assert ended == {"OK": 2000}

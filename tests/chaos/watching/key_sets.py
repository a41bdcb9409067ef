"""The key set for verifiers that follow revocations, from any replica: one that ends must not leave them without keys.

Other verifiers of the lane prove what each replica publishes.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from random import Random
from typing import Final

import httpx2
from tests import http_servers
from tests.chaos.load import serving
from tests.chaos.replicas import Replica

EVERY: Final = 0.4  # seconds
TIMEOUT: Final = 1.0  # seconds for a replica to answer


class KeySets:
    """Serves the last key set that a replica gave."""

    def __init__(self, fleet: list[Replica], random: Random) -> None:
        self._fleet = fleet
        self._random = random
        self._body = b""

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Serve, and yield the address."""
        kept = self

        class Handler(http_servers.Handler):
            def do_GET(self) -> None:
                headers = {"Content-Type": "application/jwk-set+json", "Cache-Control": "max-age=1"}
                self.give(200 if kept._body else 503, kept._body, headers)

        with http_servers.running(Handler) as port:
            yield f"http://127.0.0.1:{port}/.well-known/jwks.json"

    async def fetch(self, stop: asyncio.Event) -> None:
        """Fetch it again and again until told to stop."""
        async with httpx2.AsyncClient(timeout=TIMEOUT) as http:
            while not stop.is_set():
                replica = self._random.choice(serving(self._fleet) or self._fleet)
                with contextlib.suppress(httpx2.HTTPError):
                    answer = await http.get(f"http://{replica.listen['http']}/.well-known/jwks.json")
                    if answer.status_code == 200:
                        self._body = answer.content
                await asyncio.sleep(EVERY)

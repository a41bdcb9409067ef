"""Services of several regions in the test's own event loop, with links between them that can be cut."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
from cryptography.hazmat.primitives import serialization
from tests.chaos.regions.links import Link
from tests.fakes import FakeClock, FakeEntropy
from tests.rig import DEADLINE, Rig, Serve

from tokenmint.keys.signers.local import generate
from tokenmint.regions.directory import Regions
from tokenmint.regions.identity import Identity, read_identity
from tokenmint.v1 import key_admin_service_pb2 as keys_pb

ISSUER = "https://tokens.example"
AUTHORITY = "authority"
TABLE = """
[regions]
name = "{name}"
key_file = "{name}.pem"
authority_file = "authority.jwks.json"
longest_cut = "{cut}"
poll = "1s"
"""
OTHER = """
[regions.others.{name}]
url = "http://127.0.0.1:{port}"
keys_file = "{name}.jwks.json"
allow_private = true
"""


def make_identity(name: str) -> tuple[bytes, Identity]:
    """Return a new private key in PEM, and the identity that it makes."""
    pem = generate("ES256").private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, read_identity(name, [pem])


@dataclass
class Federation:
    """Running regions."""

    rigs: dict[str, Rig]
    links: dict[tuple[str, str], Link]
    """By the region that asks, and the one that answers."""
    identities: dict[str, Identity]
    """Of the regions, and of the authority."""

    async def let_pass(self, seconds: float) -> None:
        """Move all clocks on."""
        for rig in self.rigs.values():
            await rig.let_pass(seconds)

    async def until(self, holds: Callable[[], Any]) -> None:
        """Let time pass until something holds."""
        async with asyncio.timeout(DEADLINE):
            while not holds():
                await self.let_pass(0.5)

    async def begin(self) -> None:
        """Let every region hear the others, and its first key sign without waiting for P."""
        await self.until(lambda: all(not rig.base.readiness.problems() for rig in self.rigs.values()))
        for rig in self.rigs.values():
            prepared = rig.parts.signing_keys.ring.keys[0]
            request = keys_pb.ActivateSigningKeyRequest(key_id=prepared.key_id, force=True)
            await rig.keys.ActivateSigningKey(request, **rig.auth("root"))
        # Each has a key that signs and one that is prepared, and publishes those of all.
        keys = [rig.parts.signing_keys for rig in self.rigs.values()]
        await self.until(lambda: all(len(one.published().keys) == 2 * len(keys) for one in keys))

    async def key_ids(self, region: str) -> set[str]:
        """Return the ids in the key set that a region publishes."""
        async with httpx2.AsyncClient() as http:
            answer = await http.get(self.rigs[region].url("http", "/.well-known/jwks.json"))
        return {key["kid"] for key in answer.json()["keys"]}

    def directory(self, region: str) -> Regions:
        """Return what a region knows of the others."""
        parts = self.rigs[region].parts.regions
        assert parts is not None
        return parts.regions

    def own_ids(self, region: str) -> set[str]:
        """Return the ids of a region's published keys, by its ring."""
        return {key.key_id for key in self.rigs[region].parts.signing_keys.ring.keys if key.state.value != "revoked"}


def write_files(directory: Path, pems: dict[str, bytes], identities: dict[str, Identity], own: str) -> None:
    """Write the files of one region: its private key, and all public ones."""
    (directory / f"{own}.pem").write_bytes(pems[own])
    for name, identity in identities.items():
        (directory / f"{name}.jwks.json").write_text(json.dumps({"keys": [identity.public_jwk]}))


def table(own: str, ports: dict[str, int], cut: str = "2m", *, profiles: bool = False) -> str:
    """Return the configuration of a region; ``ports``: the ports of the links to the others."""
    copied = "profiles = true\n" if profiles else ""
    others = "".join(OTHER.format(name=name, port=port) for name, port in ports.items())
    return TABLE.format(name=own, cut=cut) + copied + others


@asynccontextmanager
async def federation(
    serve: Serve, names: Iterable[str] = ("eu", "us"), cut: str = "2m", *, profiles: bool = False
) -> AsyncIterator[Federation]:
    """Run regions, each with a store, a directory and a clock of its own; ``profiles``: they copy profiles."""
    names = list(names)
    made = {name: make_identity(name) for name in (*names, AUTHORITY)}
    pems = {name: pem for name, (pem, _) in made.items()}
    identities = {name: identity for name, (_, identity) in made.items()}
    links = {(one, other): Link() for one in names for other in names if one != other}
    rigs: dict[str, Rig] = {}
    async with AsyncExitStack() as closing:
        for link in links.values():
            await link.start()
            closing.push_async_callback(link.close)
        for seed, name in enumerate(names):
            directory = serve.directory / name
            directory.mkdir()
            write_files(directory, pems, identities, name)
            own = replace(
                serve,
                directory=directory,
                prefix=f"{serve.prefix}{name}:",
                clock=FakeClock(),
                entropy=FakeEntropy(seed),
            )
            ports = {other: link.port for (one, other), link in links.items() if one == name}
            rigs[name] = await closing.enter_async_context(own(table(name, ports, cut, profiles=profiles)))
            for (_, other), link in links.items():
                if other == name:
                    link.lead_to(int(rigs[name].app.listen["http"].rpartition(":")[2]))
        yield Federation(rigs, links, identities)

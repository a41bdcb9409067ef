"""Three regions, each a service with a store of its own, whose links are cut during rotations; one is given up.

Prints what was done, and exits with 1 where a promise of docs/adr/0043-regions.md did not hold.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import grpc
import grpc.aio
import httpx2
import jwt
from tests.chaos.regions import people
from tests.chaos.regions.ledger import Ledger, Token
from tests.chaos.regions.links import Link
from tests.chaos.regions.plan import AUDIENCE, CONFIG, ISSUER, LOST, NAMES, PACES, POLL, Plan
from tests.chaos.regions.report import show
from tests.chaos.regions.verifiers import Verifier, sample
from tests.issuer import Issuer, serving
from tests.polling import until
from tests.process import Service, environment
from tests.regions import AUTHORITY, make_identity, table, write_files

from tokenmint.regions import given_up
from tokenmint.regions.identity import Identity
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceStub
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

TOPOLOGY: Final = "regions"
START: Final = 60.0  # seconds until every region has heard the others
EACH: Final = 60  # tokens that each verifier verifies in a round
DEADLINE: Final = 20.0


@dataclass
class Scene:
    """The parts of a run."""

    plan: Plan
    directory: Path
    issuer: Issuer
    services: dict[str, Service]
    links: dict[tuple[str, str], Link]
    authority: Identity
    ledger: Ledger
    random: Random
    channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)
    tokens: list[Token] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def exchange(self, region: str) -> Any:
        """Return the stub of a region."""
        return TokenExchangeServiceStub(self.channels[region])


async def run(plan: Plan, directory: Path) -> Ledger:
    """Run it."""
    ledger, pace = Ledger(plan.pace), plan.pace
    async with started(plan, directory, ledger) as scene:
        await begin(scene)
        began = time.monotonic()
        work = [
            *(asyncio.create_task(mint(scene, name)) for name in NAMES),
            *(asyncio.create_task(verify(scene, name)) for name in NAMES),
            *(asyncio.create_task(cut(scene, pair)) for pair in scene.links),
            asyncio.create_task(watch_ages(scene)),
            asyncio.create_task(revoke(scene)),
            *(asyncio.create_task(people.disable(scene, name)) for name in NAMES),
        ]
        await asyncio.sleep(pace.given_up_after)
        await give_up(scene)

        def done() -> bool:
            lasted = time.monotonic() - began
            enough = ledger.verifications.total() >= plan.verifications
            return lasted >= pace.seconds and (enough or lasted >= pace.at_most)

        await _until(done)
        scene.over.set()
        for outcome in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(outcome, BaseException):
                ledger.problems.append(f"a part of the lane ended: {type(outcome).__name__}: {outcome}")
        for name, service in scene.services.items():
            if service.process.poll() is not None:
                ledger.problems.append(f"the service of {name} has ended by itself")
    return ledger


@asynccontextmanager
async def started(plan: Plan, directory: Path, ledger: Ledger) -> AsyncIterator[Scene]:
    """Start the services, and the links between them."""
    made = {name: make_identity(name) for name in (*NAMES, AUTHORITY)}
    pems, identities = {n: pem for n, (pem, _) in made.items()}, {n: one for n, (_, one) in made.items()}
    links = {(one, other): Link() for one in NAMES for other in NAMES if one != other}
    async with AsyncExitStack() as closing:
        issuer = closing.enter_context(serving(Issuer()))
        for link in links.values():
            await link.start()
            closing.push_async_callback(link.close)
        services: dict[str, Service] = {}
        schedule = plan.pace.schedule
        config = CONFIG % {"idp": issuer.url, "interval": f"{schedule.rotation_interval:.0f}s"}
        for name in NAMES:
            home = directory / name
            home.mkdir()
            write_files(home, pems, identities, name)
            ports = {other: link.port for (one, other), link in links.items() if one == name}
            text = table(name, ports, f"{schedule.region_lag:.0f}s", profiles=True).replace(
                'poll = "1s"', f'poll = "{POLL}"'
            )
            (home / "tokenmint.toml").write_text(config + text)
        starts = [asyncio.to_thread(Service, directory / name) for name in NAMES]
        made_services = await asyncio.gather(*starts, return_exceptions=True)
        for name, service in zip(NAMES, made_services, strict=True):
            if isinstance(service, Service):
                services[name] = service
                closing.callback(service.stop)
        if len(services) < len(NAMES):
            raise RuntimeError(f"not every service has started: see stderr.log in {directory}")
        for (_, other), link in links.items():
            link.lead_to(int(services[other].listen["http"].rpartition(":")[2]))
        scene = Scene(plan, directory, issuer, services, links, identities[AUTHORITY], ledger, Random(plan.seed))
        for name in NAMES:
            scene.channels[name] = await closing.enter_async_context(
                grpc.aio.insecure_channel(services[name].listen["grpc"])
            )
        yield scene


async def begin(scene: Scene) -> None:
    """Wait until every region has heard the others; then let each first key sign at once: no verifier has a set yet."""
    async with asyncio.timeout(START), httpx2.AsyncClient() as http:
        for service in scene.services.values():
            await until(partial(_is_ready, http, service), START)
        for service in scene.services.values():
            async with grpc.aio.insecure_channel(service.listen["admin"]) as channel:
                keys: Any = KeyAdminServiceStub(channel)
                call = service.auth("root")
                listed = await keys.ListSigningKeys(keys_pb.ListSigningKeysRequest(page_size=10), **call)
                first = listed.signing_keys[0].key_id
                await keys.ActivateSigningKey(keys_pb.ActivateSigningKeyRequest(key_id=first, force=True), **call)
        for service in scene.services.values():
            await until(partial(_publishes_all, http, service), START)


async def _is_ready(http: httpx2.AsyncClient, service: Service) -> bool:
    return (await http.get(f"http://{service.listen['ops']}/readyz")).status_code == 200


async def _publishes_all(http: httpx2.AsyncClient, service: Service) -> bool:
    """Return whether a region publishes the signing and the prepared key of each."""
    answer = await http.get(f"http://{service.listen['http']}/.well-known/jwks.json")
    return len(answer.json()["keys"]) >= 2 * len(NAMES)


async def _until(done: Callable[[], bool]) -> None:
    async def is_done() -> bool:
        return done()

    await until(is_done, 3600.0)


async def mint(scene: Scene, region: str) -> None:
    """Exchange tokens in a region, also after it was given up: its new owner does not obey."""
    stub, call = scene.exchange(region), scene.services[region].auth()
    while not scene.over.is_set():
        request = pb.ExchangeTokenRequest(subject_token=scene.issuer.token(time.time()), audience=AUDIENCE)
        with contextlib.suppress(grpc.aio.AioRpcError):
            answer = await stub.ExchangeToken(request, **call)
            key_id = str(jwt.get_unverified_header(answer.token)["kid"])
            scene.tokens.append(Token(answer.token, key_id, region, float(answer.expire_time.seconds)))
            scene.ledger.minted[region] += 1
            scene.ledger.signers.setdefault(region, set()).add(key_id)
        now = time.time()
        scene.tokens[:] = [token for token in scene.tokens if token.expires > now + 1]
        await asyncio.sleep(0.1)


async def verify(scene: Scene, region: str) -> None:
    """Verify the tokens of all regions by the verifiers that follow one. Those of the lost region end with it."""
    place = scene.services[region].listen["http"]
    async with httpx2.AsyncClient(timeout=5.0) as http:
        verifiers = [
            Verifier(f"{kind}, {region}", region, place, fixed, scene.ledger, http)
            for kind, fixed in (("by headers", False), ("keeping for C", True))
        ]
        while not scene.over.is_set() and not (region == LOST and scene.ledger.given_up):
            for verifier in verifiers:
                await verifier.verify(sample(scene.tokens, scene.random, EACH))
                await asyncio.sleep(0)
            await asyncio.sleep(0.02)


async def cut(scene: Scene, pair: tuple[str, str]) -> None:
    """Cut a link again and again, never for longer than L allows."""
    link, pace = scene.links[pair], scene.plan.pace
    while not scene.over.is_set():
        await _pause(scene, scene.random.uniform(*pace.between))  # a pull comes within this time
        seconds = scene.random.uniform(*pace.cuts)
        scene.ledger.cuts.append((*pair, seconds))
        link.cut()
        await _pause(scene, seconds)
        link.mend()


async def watch_ages(scene: Scene) -> None:
    """Note how old the regions' knowledge of each other becomes, by their metrics."""
    async with httpx2.AsyncClient(timeout=5.0) as http:
        while not scene.over.is_set():
            for name, service in scene.services.items():
                if scene.ledger.given_up and name == LOST:
                    continue
                with contextlib.suppress(httpx2.HTTPError):
                    text = (await http.get(f"http://{service.listen['ops']}/metrics")).text
                    ages = [
                        float(line.rpartition(" ")[2])
                        for line in text.splitlines()
                        if line.startswith("tokenmint_region_keys_age_seconds{")
                    ]
                    oldest = scene.ledger.oldest
                    oldest[name] = max(oldest[name], *(round(10 * age) for age in ages), 0)
            await _pause(scene, 1.0)


async def revoke(scene: Scene) -> None:
    """Revoke a token in one region after the other, and see when another region refuses it."""
    for turn in range(1000):
        here, there = NAMES[turn % 3], NAMES[(turn + 1) % 3]
        await _pause(scene, 3.0)
        if scene.over.is_set():
            return
        if scene.ledger.given_up and LOST in (here, there):
            continue
        fresh = [token for token in scene.tokens if token.region == here and token.expires > time.time() + 12]
        if not fresh:
            continue
        token = scene.tokens.pop(scene.tokens.index(fresh[-1])).text
        with contextlib.suppress(grpc.aio.AioRpcError):
            call = scene.services[here].auth()
            await scene.exchange(here).RevokeToken(pb.RevokeTokenRequest(token=token), **call)
            await _until_inactive(scene, here, there, token)


async def _until_inactive(scene: Scene, here: str, there: str, token: str) -> None:
    began, link, was_cut = time.monotonic(), scene.links[there, here], False
    while time.monotonic() < began + 11 and not scene.over.is_set():
        was_cut = was_cut or link.is_cut
        if not await _active(scene, there, token):
            seconds = time.monotonic() - began
            scene.ledger.spread.append(seconds)
            if not was_cut:
                scene.ledger.linked.append(seconds)
            return
        await asyncio.sleep(0.05)


async def _active(scene: Scene, region: str, token: str) -> bool:
    call = scene.services[region].auth()
    answer = await scene.exchange(region).IntrospectToken(pb.IntrospectTokenRequest(token=token), **call)
    return bool(answer.active)


async def give_up(scene: Scene) -> None:
    """Give up a region by the command line, in each of the others, as the runbook says."""
    statement = scene.directory / "statement"
    statement.write_text(given_up.state(scene.authority, ISSUER, LOST, time.time()))
    scene.ledger.asked = time.time()
    for name in NAMES:
        if name == LOST:
            continue
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tokenmint", "regions", "give-up", str(statement), "--yes",
            cwd=scene.directory / name, env=environment(),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        if process.returncode:
            scene.ledger.problems.append(f"regions give-up failed in {name}: {said.decode()[-200:]}")
        scene.ledger.given_up[name] = time.time()
        tokens = [token for token in scene.tokens if token.region == LOST and token.expires > time.time() + 5]
        for token in tokens[-5:]:
            scene.ledger.introspected_after += 1
            scene.ledger.active_after += await _active(scene, name, token.text)


async def _pause(scene: Scene, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await scene.over.wait()


def main(
    seed: int, cuts: str = "short", keep: Path | None = None, shown: Callable[[Plan, Ledger], bool] = show
) -> bool:
    """Run it, print it, and return whether a promise did not hold. ``cuts``: of the paces, short or long."""
    pace = PACES[cuts]
    if longer := os.environ.get("SECONDS_OF_REGIONS"):
        pace = replace(pace, seconds=float(longer), at_most=max(pace.at_most, 2 * float(longer)))
    plan = Plan(seed, pace)
    with tempfile.TemporaryDirectory(prefix="tokenmint-regions-") as temporary:
        directory = keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        return shown(plan, asyncio.run(run(plan, directory)))

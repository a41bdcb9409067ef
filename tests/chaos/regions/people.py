"""People who are disabled at home, and refused by the other regions from then on: `regions.profiles` with cut links."""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from google.protobuf.field_mask_pb2 import FieldMask
from tests.chaos.regions.plan import AUDIENCE, LOST, NAMES

from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub
from tokenmint.v1.profile_pb2 import Identity, Profile

if TYPE_CHECKING:
    from tests.chaos.regions.run import Scene

PAUSE: Final = 2.0  # seconds between two people


async def disable(scene: "Scene", home: str) -> None:
    """Create one person after the other in a region, and disable each once every other region has a copy."""
    number = 0
    async with grpc.aio.insecure_channel(scene.services[home].listen["admin"]) as channel:
        stub: Any = ProfileAdminServiceStub(channel)
        call = scene.services[home].auth("root")
        while not scene.over.is_set() and not (scene.ledger.given_up and home == LOST):
            number += 1
            name = f"{home}-{number}"
            profile = Profile(principal=name, identities=[Identity(provider="idp", subject=name)])
            with contextlib.suppress(grpc.aio.AioRpcError):
                await stub.CreateProfile(profiles_pb.CreateProfileRequest(profile=profile), **call)
                others = [one for one in NAMES if one != home]
                await asyncio.gather(*(_until(scene, there, name, served=True) for there in others))
                profile.disabled = True
                request = profiles_pb.UpdateProfileRequest(profile=profile, update_mask=FieldMask(paths=["disabled"]))
                await stub.UpdateProfile(request, **call)
                await asyncio.gather(*(_watch(scene, home, there, name) for there in others))
            await asyncio.sleep(PAUSE)


async def _watch(scene: "Scene", home: str, there: str, name: str) -> None:
    """Measure until a region refuses a person, who must not be served again."""
    began, link = time.monotonic(), scene.links[there, home]
    was_cut = link.is_cut
    while await _subject(scene, there, name) != "":
        was_cut = was_cut or link.is_cut
        if scene.over.is_set() or (LOST in (home, there) and scene.ledger.given_up):
            return
        await asyncio.sleep(0.05)
    seconds = time.monotonic() - began
    scene.ledger.refused_elsewhere.append(seconds)
    if not was_cut:
        scene.ledger.refused_while_linked.append(seconds)
    for _ in range(5):
        await asyncio.sleep(0.3)
        scene.ledger.served_again += bool(await _subject(scene, there, name))


async def _until(scene: "Scene", there: str, name: str, *, served: bool) -> None:
    while (await _subject(scene, there, name) == name) is not served:
        if scene.over.is_set() or (there == LOST and scene.ledger.given_up):
            return
        await asyncio.sleep(0.2)


async def _subject(scene: "Scene", region: str, name: str) -> str | None:
    """Return the principal of an exchange in a region; "": the principal is refused; None: nobody knows."""
    token = scene.issuer.token(time.time(), sub=name)
    request = pb.ExchangeTokenRequest(subject_token=token, audience=AUDIENCE)
    try:
        answer = await scene.exchange(region).ExchangeToken(request, **scene.services[region].auth())
    except grpc.aio.AioRpcError as error:
        # The log of revocations comes by other regions too. It refuses tokens of the first seconds, and not the person.
        return "" if error.code() is grpc.StatusCode.PERMISSION_DENIED else None
    return str(answer.subject)

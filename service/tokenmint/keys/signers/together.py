"""Many signatures at once: those that take a thread share a few jobs, since each hand-over costs a part of one."""

import asyncio
import os
from collections.abc import Sequence
from typing import Final, TypeGuard

from tokenmint.base.errors import TokenmintError
from tokenmint.keys.signers.local import LocalSigner
from tokenmint.keys.signers.types import Signer

Wanted = tuple[Signer, bytes]
"""A signer and a signing input."""

CORES: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""The cores of this process. With more jobs at a time than that, none would end sooner."""


def sign_at_once(signers: tuple[Signer, ...]) -> TypeGuard[tuple[LocalSigner, ...]]:
    """Return whether the event loop may sign with all of these."""
    for signer in signers:  # noqa: SIM110  # `all` takes longer
        if not isinstance(signer, LocalSigner) or not signer.at_once:
            return False
    return True


async def sign_all(wanted: Sequence[Wanted]) -> list[bytes | None]:
    """Return the JWS signature of each signing input, in order; None: its signer refused (``Signer.sign``)."""
    signed = dict[int, bytes | None]()
    long = list[tuple[int, LocalSigner, bytes]]()
    others = list[tuple[int, Signer, bytes]]()
    for index, (signer, text) in enumerate(wanted):
        if not isinstance(signer, LocalSigner):
            others.append((index, signer, text))
        elif signer.at_once:
            signed[index] = signer.sign_now(text)
        else:
            long.append((index, signer, text))
    shares = [share for share in (long[first::CORES] for first in range(CORES)) if share]

    async def in_thread(share: Sequence[tuple[int, LocalSigner, bytes]]) -> None:
        signatures = await asyncio.to_thread(lambda: [signer.sign_now(text) for _, signer, text in share])
        signed.update(zip((index for index, *_ in share), signatures, strict=True))

    async def elsewhere(index: int, signer: Signer, text: bytes) -> None:
        try:
            signed[index] = await signer.sign(text)
        except TokenmintError:
            signed[index] = None

    jobs = [*map(in_thread, shares), *(elsewhere(*one) for one in others)]
    if len(jobs) == 1:
        await jobs[0]  # a task of its own takes longer
    else:
        await asyncio.gather(*jobs)
    return [signed[index] for index in range(len(wanted))]

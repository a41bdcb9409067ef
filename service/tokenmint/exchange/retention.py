"""The time for which the answer to an exchange may be given again to the same request.

A cache in front of the service (of a gateway, or a sidecar) answers without asking. It hears nothing of a revocation
or of a changed profile, so the audience bounds the time (`gateway_cache`).
"""

import math
from collections.abc import Collection
from typing import Final

RESERVE: Final = 5
"""Seconds for which a kept token and its subject token remain valid at least. Caches count in whole seconds, so an
answer may be kept for up to a second longer than it says; and the token has to live while a service verifies it."""


def seconds_to_keep(*, bound: int, ends: Collection[float], began: float, now: float, single_use: bool) -> int:
    """Return for how many whole seconds from ``now`` an answer may be kept; 0: not at all.

    Args:
        bound: the audience's limit in seconds, for which a revocation or a change of the profile may go unnoticed.
        ends: the ends of the minted token and of the subject token, in Unix seconds. A kept answer would go on
            accepting the subject token.
        began: when the exchange began, in Unix seconds. Its facts may be as old, so a slow one is kept for less.
        now: the time at its end.
        single_use: whether a token of the request may be used only once. A kept answer would be a second use.
    """
    if single_use:
        return 0
    bound -= math.floor(max(0.0, now - began))
    return max(0, math.floor(min(bound, min(ends) - now - RESERVE)))

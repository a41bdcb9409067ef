"""The slots of a Cluster's node: the share of the keys that it serves."""

from dataclasses import dataclass
from typing import Final

from redis.crc import key_slot

SLOTS: Final = 16384
_TRIES: Final = 8 * SLOTS  # names that are tried to find one in a node's slots


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots that a node serves as a primary, without those that are being moved."""

    ranges: tuple[tuple[int, int], ...]
    """The first and the last slot of each range."""
    moving: frozenset[int]
    """Slots that it gives away: a key may be on either node, so neither reports all of its changes."""
    prefix: str
    """The beginning of all keys."""

    def serve(self, key: str) -> bool:
        """Return whether the node serves ``key`` (without prefix)."""
        slot = key_slot((self.prefix + key).encode())
        return slot not in self.moving and any(low <= slot <= high for low, high in self.ranges)

    def name_within(self, base: str) -> str | None:
        """Return a key that begins with ``base`` and that the node serves; None if none was found."""
        if not self.ranges:
            return None
        return next((name for number in range(_TRIES) if self.serve(name := f"{base}:{number}")), None)


def own_slots(nodes: bytes, prefix: str) -> Slots:
    """Return the slots that a node claims in its answer to ``CLUSTER NODES``; none if it is no healthy primary."""
    for line in nodes.splitlines():
        words = line.split()
        flags = words[2].split(b",") if len(words) > 2 else []  # id, address, flags
        if b"myself" not in flags:
            continue
        if b"master" not in flags or {b"fail", b"fail?", b"handshake", b"noaddr"} & set(flags):
            break
        ranges, moving = [], set()
        for word in words[8:]:
            if word.startswith(b"["):  # [slot->-node] or [slot-<-node]
                slot, arrow, _ = word[1:].partition(b"-")
                if arrow and slot.isdigit():
                    moving.add(int(slot))
                continue
            low, _, high = word.partition(b"-")
            if not low.isdigit() or (high and not high.isdigit()):
                return Slots((), frozenset(), prefix)
            ranges.append((int(low), int(high or low)))
        return Slots(tuple(ranges), frozenset(moving), prefix)
    return Slots((), frozenset(), prefix)

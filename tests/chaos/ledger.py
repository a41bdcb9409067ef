"""The events of a run, as seen from outside: the judgement goes by them alone."""

import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from tests.chaos.plan import SCHEDULE
from tests.chaos.watching.seen import Seen

from tokenmint.keys.types import KeyRing, KeyState

ORDER = {state: index for index, state in enumerate(KeyState)}


@dataclass(frozen=True, slots=True)
class Minted:
    """A token that was answered. Times are Unix seconds."""

    token: str
    key_id: str
    algorithm: str
    started: float
    """When it was asked for: it was signed at this time or later."""
    ended: float
    issued: float
    """Its `iat`, whole seconds."""
    expires: float
    replica: int = 0
    version: str = ""
    """The version of that replica."""

    @property
    def true_to_time(self) -> bool:
        """Whether its `iat` is within S of the true time at which it was signed."""
        return self.started - 1 - SCHEDULE.skew < self.issued <= self.ended + SCHEDULE.skew


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed."""

    method: str
    replica: int
    started: float
    ended: float
    code: str
    reason: str
    """Of the service; empty where the connection broke and nobody answered."""
    algorithm: str = ""
    """Of the token that was asked for."""


class Effect(StrEnum):
    """The effect of a fault. By it the judge knows the calls that may fail."""

    AWAY = "the store is away"
    WENT_BACK = "the store has lost changes"
    KILLED = "processes of a replica are gone"
    HUNG = "a worker does not go on"
    RESET = "connections to the store are reset"
    CLOCK = "the clock is wrong"
    LOG = "nobody reads the log"
    """No call may fail for this."""


@dataclass(slots=True)
class Fault:
    """Something that was done to the fleet or its store."""

    kind: str
    started: float
    ended: float = float("inf")
    """When everything was there again."""
    replica: int | None = None
    """Whose worker it was; None: the store's."""
    effect: Effect = Effect.AWAY
    lifted: float | None = None
    """When the lane let go, as it lets a stopped process go on, or when what it broke was there again."""

    @property
    def over(self) -> float:
        """From when on nothing fails for it any more, but for finding the way back."""
        return self.lifted if self.lifted is not None and self.effect is not Effect.WENT_BACK else self.ended


@dataclass(frozen=True, slots=True)
class End:
    """A process of the service that ended, and nobody had ended it."""

    replica: int
    process: str
    """The process that ended, with its id."""
    status: int | None
    """Its exit status, negative for a signal; None where nobody told."""
    when: float
    lines: tuple[str, ...] = ()
    """The last of its replica's log."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A success that should have been a refusal: for somebody who was disabled, or by a token that was used up."""

    kind: str
    subject: str
    replica: int
    denied: float
    """Since when it was to be refused: a confirmed answer said so."""
    started: float
    ended: float


@dataclass(slots=True)
class Loss:
    """The store was made to forget: an old file, or FLUSHALL."""

    since: float
    """The store loses each change that it answered for after this."""
    started: float
    accepted: float = float("inf")
    """When the operator began to accept it."""

    def lost(self, asked: float, answered: float) -> bool:
        """Whether a change may be lost by this."""
        return answered >= self.since and asked <= self.accepted


@dataclass(frozen=True, slots=True)
class Refusal:
    """A token that a verifier refused."""

    verifier: str
    key_id: str
    asked: float
    """When it was verified."""
    reason: str
    unknown_kid: bool
    """Whether for want of its key in the set; anything else is nobody's excuse."""
    fetched: float
    """When the set was asked for that it was verified with."""
    received: float
    """When that set was there."""


@dataclass(slots=True)
class KeyHistory:
    """All that the store ever said about one key."""

    algorithm: str
    published: float
    activated: float | None = None
    ended: float | None = None
    """When the store was first seen to hold that it is active no more, and was not seen to hold anything else after."""
    revoked: float | None = None
    retired: float | None = None
    """When another began to sign in its place."""
    state: KeyState = KeyState.PREPARED
    """The furthest that was seen."""
    ring_id: str = ""
    absent: float = float("-inf")
    """When the store was last seen to hold no such key, by the lane's clock: the ring may have a wrong one's times."""
    seen_active: float | None = None
    """When the store was first seen to hold that it is active, by the lane's clock."""

    @property
    def signed_until_revoked(self) -> bool:
        """Whether it was active when it was revoked: neither prepared nor retiring."""
        return self.revoked is not None and self.activated is not None and self.retired is None


@dataclass(frozen=True, slots=True)
class Answer:
    """A change that was answered for: a key that is in a state from then on, or a profile that exists."""

    subject: str
    state: KeyState | None
    asked: float
    answered: float


@dataclass
class Ledger:
    """One run's."""

    began: float = field(default_factory=time.time)
    minted: list[Minted] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    keys: dict[str, KeyHistory] = field(default_factory=dict)
    verifications: Counter[str] = field(default_factory=Counter)
    deferred: Counter[str] = field(default_factory=Counter)
    """Verifications for which a verifier could not fetch a key set: it refuses nothing, it asks again."""
    rotated: set[str] = field(default_factory=set)
    """Keys that an operator's RotateSigningKey activated."""
    told: Counter[str] = field(default_factory=Counter)
    """The operator's answers while others changed the same ring: they are no failures."""
    fetched: list[tuple[float, frozenset[str]]] = field(default_factory=list)
    """When a key set was asked for, and what was in it."""
    outages: list[tuple[float, float, int]] = field(default_factory=list)
    """From when until when which replica was not there."""
    went_back: int = 0
    """How often the store was seen to hold an older ring than before."""
    generation: int = 0
    final: KeyRing | None = None
    lost_profiles: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """The failures of the run itself."""
    ends: list[End] = field(default_factory=list)
    resets: Counter[str] = field(default_factory=Counter)
    """Connections to the store that were reset, by kind of fault."""
    wrong: list[Wrong] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    makers: dict[str, str] = field(default_factory=dict)
    """The version that made a key, where it is known."""
    crossed: Counter[str] = field(default_factory=Counter)
    """Records that one version wrote and another read, by a description of both."""
    breaches: list[tuple[str, str]] = field(default_factory=list)
    """Promises that did not hold while a fault was made, and how."""
    denials: Counter[str] = field(default_factory=Counter)
    """How often it was tried to get a token that must be refused, by kind."""
    seen: Seen = field(default_factory=Seen)
    """Of verifiers that follow revocations."""
    ring: KeyRing | None = None
    """The store's records at the last look."""
    looked: float = float("-inf")
    """When that was."""
    revocation: float | None = None
    """Seconds from RevokeSigningKey to the answer to the last token that was signed with the key."""
    revocation_parts: str = ""
    """The parts of that time."""
    stalls: list[tuple[float, float]] = field(default_factory=list)
    """From when until when the lane's own event loop stood still: for so long it may have read an answer late."""
    notices: list[float] = field(default_factory=list)
    """Seconds from a change to each watcher's news of it."""

    def saw(self, ring: KeyRing) -> None:
        """Take in what the store holds."""
        now = time.time()
        went_back = ring.generation < self.generation
        self.went_back += went_back
        self.generation, self.ring = ring.generation, ring
        there = {key.key_id for key in ring.keys}
        for key_id, known in self.keys.items():
            if key_id not in there and known.activated is not None and known.ended is None:
                known.ended = now
        for key in ring.keys:
            first = KeyHistory(key.algorithm, key.publish_time, ring_id=ring.ring_id, absent=self.looked)
            known = self.keys.setdefault(key.key_id, first)
            if key.state is KeyState.ACTIVE:
                known.seen_active = known.seen_active or now
            if key.state is KeyState.PREPARED:
                known.published = max(known.published, key.publish_time)
            if key.activate_time is not None and known.activated is None:
                known.activated = key.activate_time
            if key.state is KeyState.ACTIVE:
                known.ended = None
            elif known.activated is not None and known.ended is None:
                known.ended = now
            if went_back and self.losses:  # what was lost has not been
                known.retired, known.state = None, key.state
            known.retired = known.retired or key.retire_time
            if key.revoke_time is not None:
                known.revoked = min(key.revoke_time, known.revoked or key.revoke_time)
            if ORDER[key.state] > ORDER[known.state]:
                known.state = key.state
        self.looked = now

    def stalled(self, start: float, end: float) -> float:
        """Return for how many seconds of a span the lane itself stood still."""
        return sum(max(0.0, min(end, until) - max(start, since)) for since, until in self.stalls)

    def was_lost(self, asked: float, answered: float) -> bool:
        """Whether a change may be lost, since the store was made to forget it."""
        return any(loss.lost(asked, answered) for loss in self.losses)

    def activations(self) -> list[tuple[float, str]]:
        """Return when which key began to sign, but for the first of each algorithm in each ring."""
        begun = sorted((key.activated, key_id) for key_id, key in self.keys.items() if key.activated is not None)
        first: set[tuple[str, str]] = set()
        later = []
        for when, key_id in begun:
            of = (self.keys[key_id].ring_id, self.keys[key_id].algorithm)
            if of in first:
                later.append((when, key_id))
            first.add(of)
        return later

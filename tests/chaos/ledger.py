"""What happened, as it was seen from outside: the judgement goes by this alone."""

import time
from collections import Counter
from dataclasses import dataclass, field

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
    expires: float


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


@dataclass(slots=True)
class Fault:
    """Something that was done to the fleet or its store."""

    kind: str
    started: float
    ended: float = float("inf")
    """When everything was there again."""
    replica: int | None = None
    """Whose worker it was; None: the store's."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A token that a verifier refused."""

    verifier: str
    key_id: str
    asked: float
    """When it was to be verified."""
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
    """What the operator was told while others changed the same ring: that is no failure."""
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
    """What went wrong with the run itself."""
    revocation: float | None = None
    """Seconds from RevokeSigningKey to the answer to the last token that was signed with the key."""
    notices: list[float] = field(default_factory=list)
    """Seconds from a change to each watcher's news of it."""

    def saw(self, ring: KeyRing) -> None:
        """Take in what the store holds."""
        now = time.time()
        self.went_back += ring.generation < self.generation
        self.generation = ring.generation
        for key in ring.keys:
            known = self.keys.setdefault(key.key_id, KeyHistory(key.algorithm, key.publish_time))
            if key.state is KeyState.PREPARED:
                known.published = max(known.published, key.publish_time)
            if key.activate_time is not None and known.activated is None:
                known.activated = key.activate_time
            if key.state is KeyState.ACTIVE:
                known.ended = None
            elif known.activated is not None and known.ended is None:
                known.ended = now
            known.retired = known.retired or key.retire_time
            if key.revoke_time is not None:
                known.revoked = min(key.revoke_time, known.revoked or key.revoke_time)
            if ORDER[key.state] > ORDER[known.state]:
                known.state = key.state

    def activations(self) -> list[tuple[float, str]]:
        """Return when which key began to sign, but for each algorithm's first."""
        begun = sorted((key.activated, key_id) for key_id, key in self.keys.items() if key.activated is not None)
        first: set[str] = set()
        later = []
        for when, key_id in begun:
            algorithm = self.keys[key_id].algorithm
            if algorithm in first:
                later.append((when, key_id))
            first.add(algorithm)
        return later

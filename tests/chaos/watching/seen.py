"""The events of verifiers that follow revocations: the judgement goes by them alone. Times are Unix seconds."""

from dataclasses import dataclass, field
from typing import Final

MAX_LAG: Final = 3.0  # seconds: N of the verifiers that fail closed


@dataclass(frozen=True, slots=True)
class Verifier:
    """One process, with a client of this language."""

    language: str
    closed: bool
    """Whether it accepts nothing while its set is older than :data:`MAX_LAG`; otherwise it uses the last set."""


@dataclass(slots=True)
class Watched:
    """A token that is revoked during the run."""

    token: str
    expires: float
    kind: str = ""
    asked: float | None = None
    """When its revocation was asked for."""
    revoked: float | None = None
    """When that was answered for; None: not, or not yet."""
    accepted_by: set[str] = field(default_factory=set)
    """The languages whose verifier accepted it before it was revoked: a later refusal is for the revocation."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A token that was accepted though its revocation had been answered for."""

    language: str
    watched: Watched
    asked: float
    answered: float
    known: float
    """The verifier's set was complete as of this time or later, by its own lag."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The first refusal by a verifier that had accepted the token."""

    language: str
    watched: Watched
    asked: float
    answered: float


@dataclass(slots=True)
class Connection:
    """A verifier's connection to a replica."""

    language: str
    replica: int
    opened: float
    closed: float = float("inf")


@dataclass(slots=True)
class Cut:
    """A verifier's stream was cut, or its process killed."""

    language: str
    kind: str
    started: float
    ended: float = float("inf")
    """When it could reach replicas again."""
    caught_up: float | None = None
    """When its set was first seen to be complete as of after the cut."""


@dataclass(slots=True)
class Period:
    """A time in which a verifier refused every token, since its set was too old."""

    language: str
    started: float
    ended: float = float("inf")


@dataclass
class Seen:
    """One run's."""

    verifiers: dict[str, Verifier] = field(default_factory=dict)
    watched: list[Watched] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    periods: list[Period] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)
    """The languages whose verifier was not up to date in the end."""
    ended: list[str] = field(default_factory=list)
    """The languages whose process ended, and nobody had ended it, or failed, and how."""
    silent: list[str] = field(default_factory=list)
    """The languages whose process gave no answer for long, and was started again."""
    unanswered: int = 0
    """Revocations that were not answered for, so that they prove nothing."""

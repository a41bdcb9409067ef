"""A format of tokens: what it declares, how it reads its table, and how it mints.

A module of this package with a ``FORMAT`` is a format; nothing else has to name it (``formats/table.py``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from tokenmint.base.config_values import Table
from tokenmint.base.encoding import encode_segment
from tokenmint.firebase.clients import FirebaseClients
from tokenmint.issued.store import IssuedStore
from tokenmint.keys.signers.types import Signer
from tokenmint.model.format import FormatTraits
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Audience, TokenGrant

TOKEN_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Reading:
    """The surroundings of a format's table while it is read."""

    base: Path
    """Relative paths start here."""
    development: bool
    """Whether this is for `serve --dev`."""
    problem: Callable[[str, str], None]
    """Takes a key, below the audience, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Kit:
    """The parts of the service that formats mint with."""

    issuer: str
    """The `iss`."""
    ring: Callable[[str], Signer]
    """Returns the active signer of an algorithm, or raises ``SignerUnavailable``."""
    entropy: Callable[[int], bytes]
    """Returns that many random bytes."""
    issued: IssuedStore | None = None
    """Keeps the claims of handles; None: no handles are minted."""
    firebase: FirebaseClients | None = None
    """Clients of Firebase's SDK; None: nothing is minted with it."""

    def signer(self, grant: TokenGrant) -> Signer:
        """Return the signer of the key ring for ``grant``.

        Raises:
            SignerUnavailable: no confirmed key of the algorithm is at hand.
            ValueError: the format does not declare it: its keys would be withdrawn while its tokens live.
        """
        if not grant.format.signed_by_ring:
            raise ValueError(f"the format {grant.format.name} does not declare that the key ring signs its tokens")
        return self.ring(grant.algorithm)

    def token_id(self) -> str:
        """Draw a `jti`."""
        return encode_segment(self.entropy(TOKEN_ID_BYTES)).decode()


class Format(Protocol):
    """A format. Subclass it: all but ``traits`` and ``mint`` has a default."""

    traits: FormatTraits
    """As every audience has them, before its table is read."""
    table: type[Table] | None = None
    """`[audiences."NAME".name]`, which chooses the format; None: chosen where there is no table of another format."""
    header_types: frozenset[str] = frozenset()
    """The `typ` of its JWTs. A token that comes back with one of these and a signature of the key ring is ours."""
    prefix: str = ""
    """The first characters of its handles. A token that comes back with these is looked up in the store."""

    @property
    def comes_back(self) -> bool:
        """Whether its tokens can be introspected, revoked and exchanged again."""
        return bool(self.header_types or self.prefix)

    def configure(self, table: Any, audience: Audience, reading: Reading) -> FormatTraits:  # noqa: ARG002
        """Return the traits for ``audience``. ``table`` is the format's, or the audience's where it has none."""
        return self.traits

    def check(self, grant: TokenGrant, kit: Kit) -> None:
        """Raise what :meth:`mint` would for want of a signer, or because the grant does not fit the format."""
        if grant.format.signed_by_ring:
            kit.signer(grant)

    async def mint(self, grant: TokenGrant, kit: Kit) -> MintedToken:
        """Mint the token that ``grant`` describes.

        Raises:
            SignerUnavailable: no confirmed key of the algorithm is at hand.
            ClaimsTooLarge: the token would be longer than the audience allows.
            FormatDenied: the grant does not fit the format.
            DependencyUnavailable, OutcomeUnknown: the token could not be kept.
        """
        ...

"""The interface of a token format: its traits, the reading of its table, and minting.

A module of this package with a ``FORMAT`` is a format; no other place has to name it (``formats/table.py``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from tokenmint.base.config_values import Table
from tokenmint.base.encoding import encode_segment
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.firebase.clients import FirebaseClients
from tokenmint.issued.store import IssuedStore
from tokenmint.keys.signers.types import Signer
from tokenmint.model.format import FormatTraits
from tokenmint.model.minted import MintedToken
from tokenmint.model.policy import Audience, TokenGrant
from tokenmint.model.proxies import Proxy
from tokenmint.model.tokens import JsonValue
from tokenmint.status_list.indices import StatusIndices

T = TypeVar("T")
TOKEN_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Reading:
    """The context in which a format's table is read."""

    base: Path
    """The directory for relative paths."""
    development: bool
    """Whether the configuration is for `serve --dev`."""
    drafts: frozenset[str]
    """The drafts that are followed (``model/drafts.py``)."""
    trust_domain: str | None
    """The SPIFFE trust domain of our own (`spiffe.trust_domain`)."""
    problem: Callable[[str, str], None]
    """Reports a problem: the key, relative to the audience, and the fault."""
    proxy: Proxy | None = None
    """The proxy of `[proxy]`, for a format that connects to a service outside."""

    def file(self, key: str, read: Callable[[str], RenewedFiles[T]]) -> RenewedFiles[T] | None:
        """Return a file that is followed; None, and a problem of ``key``, if it can't be used.

        Args:
            read: reads it, under the name of its setting. Raises ``ConfigurationError`` that begins with the name.
        """
        try:
            return read(key)
        except ConfigurationError as error:
            self.problem(key, error.message.removeprefix(f"{key}: "))
            return None


def has_one_issuer(audience: Audience) -> bool:
    """Return whether all subject tokens of an audience come from one provider, within which names are unique.

    An issued token has the claims of a token of any provider of its own audience.
    """
    return len(audience.providers) == 1 and not audience.reexchange_from


@dataclass(frozen=True, slots=True)
class Kit:
    """The parts of the service that formats use for minting."""

    issuer: str
    """The `iss`."""
    ring: Callable[[str], Signer]
    """Returns the active signer of an algorithm, or raises ``SignerUnavailable``."""
    entropy: Callable[[int], bytes]
    """Returns the given number of random bytes."""
    issued: IssuedStore | None = None
    """Stores the claims of reference tokens; None: they can't be minted."""
    firebase: FirebaseClients | None = None
    """Clients of Firebase's SDK; None: Firebase tokens can't be minted."""
    status: StatusIndices | None = None
    """Gives tokens their place in a status list; None: tokens with one can't be minted."""

    def signer(self, grant: TokenGrant) -> Signer:
        """Return the key ring's signer for ``grant``.

        Raises:
            SignerUnavailable: no confirmed key of the algorithm is available.
            ValueError: the format does not declare `signed_by_ring`, so keys would be withdrawn while its tokens are
            valid.
        """
        if not grant.format.signed_by_ring:
            raise ValueError(f"the format {grant.format.name} does not declare that the key ring signs its tokens")
        return self.ring(grant.algorithm)

    def token_id(self) -> str:
        """Draw a `jti`."""
        return encode_segment(self.entropy(TOKEN_ID_BYTES)).decode()


class Format(Protocol):
    """A format. Subclasses have to set ``traits`` and define ``mint``; the rest has defaults."""

    traits: FormatTraits
    """The traits before an audience's table is read."""
    table: type[Table] | None = None
    """`[audiences."NAME".name]`, which selects the format; None for the format of audiences without such a table."""
    header_types: frozenset[str] = frozenset()
    """The `typ` of its JWTs. A token with one of these and a signature of the key ring counts as issued."""
    prefix: str = ""
    """The first characters of its reference tokens. A token that begins with them is looked up in the store."""

    stays_at_its_audience: bool = False
    """Whether its tokens are exchanged only for others of the same audience."""

    @property
    def comes_back(self) -> bool:
        """Whether its tokens can be introspected, revoked and exchanged again."""
        return bool(self.header_types or self.prefix)

    def configure(self, table: Any, audience: Audience, reading: Reading) -> FormatTraits:  # noqa: ARG002
        """Return the traits for ``audience``. ``table`` is the format's, or else the audience's."""
        return self.traits

    def claims(self, grant: TokenGrant, kit: Kit) -> dict[str, JsonValue]:  # noqa: ARG002
        """Return the claims that a token for ``grant`` would have, without its id."""
        return dict(grant.claims)

    def check(self, grant: TokenGrant, kit: Kit) -> None:
        """Raise the errors of :meth:`mint` that come before signing: no signer, or a grant that does not fit."""
        if grant.format.signed_by_ring:
            kit.signer(grant)

    async def mint(self, grant: TokenGrant, kit: Kit) -> MintedToken:
        """Mint the token that ``grant`` describes.

        Raises:
            SignerUnavailable: no confirmed key of the algorithm is available.
            ClaimsTooLarge: the token would be longer than the audience allows.
            FormatDenied: the grant does not fit the format.
            DependencyUnavailable, OutcomeUnknown: the token could not be stored.
        """
        ...

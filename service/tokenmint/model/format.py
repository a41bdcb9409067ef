"""A format of tokens, as far as policy and key schedule have to know it; `formats/` reads its table and mints it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatTraits:
    """A format as an audience has it. A format can do nothing that it does not declare here."""

    name: str
    """Also the name of its table: `[audiences."NAME".name]`."""
    token_types: tuple[str, ...]
    """The requested token types, URNs as in RFC 8693 section 3; the first is the default."""
    signed_by_ring: bool
    """Whether the key ring signs its tokens. The ring publishes a key for as long as any of those lives."""
    header_type: str = ""
    """The `typ` in the header of its tokens, where these are JWTs."""
    carries_actor: bool = False
    """Whether its tokens have a place for `act`."""
    carries_binding: bool = False
    """Whether its tokens have a place for `cnf`."""
    carries_scopes: bool = False
    """Whether its tokens have a place for scopes."""
    fixed_lifetime: int | None = None
    """Seconds that every token lives; None: as the audience says and the request asks."""
    reusable: bool = False
    """Whether the same token may answer the same grant again, within the audience's `reuse_window`."""
    title: str = "tokens of this kind"
    """Its tokens' name in messages."""
    uid: str | None = None
    """The source of the receiver's own name of the principal: an expression of ``policy/mapping.py``; None: it has
    no other name."""
    options: object = None
    """The options of its table, in a frozen type that the format alone reads."""

"""The traits of a token format for policy and key schedule; `formats/` reads its table and mints its tokens."""

from dataclasses import dataclass, field
from typing import Any

from tokenmint.base.renewed_files import RenewedFiles


@dataclass(frozen=True, slots=True)
class TransactionRules:
    """The rules for the content of transaction tokens. Sources are those of claim mappings."""

    tctx: tuple[tuple[str, str], ...] = ()
    """The members of the transaction context, each with its source."""
    rctx: tuple[tuple[str, str], ...] = ()
    """The members of the request context, each with its source."""
    subject_scopes: str = "assertion.scope"
    """The source of the scopes that the subject token stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatTraits:
    """A format as configured for an audience. A format can do only what it declares here."""

    name: str
    """The name of the format and of its table: `[audiences."NAME".name]`."""
    token_types: tuple[str, ...]
    """The requested token types, URNs as in RFC 8693 section 3; the first is the default."""
    signed_by_ring: bool
    """Whether the key ring signs its tokens. The ring publishes a key as long as any such token is valid."""
    header_type: str = ""
    """The `typ` in the header of its tokens, if they are JWTs."""
    gives_access: bool = False
    """Whether its tokens are access tokens, for which a client presents a grant (RFC 7523 section 2.1)."""
    grants_elsewhere: bool = False
    """Whether its tokens are grants for other authorization servers. A client presents them there, and nowhere else."""
    carries_actor: bool = False
    """Whether its tokens can hold `act`."""
    carries_binding: bool = False
    """Whether its tokens can hold `cnf`."""
    carries_scopes: bool = False
    """Whether its tokens can hold scopes."""
    fixed_lifetime: int | None = None
    """The lifetime of every token in seconds; None: by the audience and the request."""
    ends_with_parent: bool = False
    """Whether a token ends with the issued token that it is exchanged from, even before its fixed lifetime."""
    reusable: bool = False
    """Whether the same token may answer the same grant again within the audience's `reuse_window`."""
    title: str = "tokens of this kind"
    """The name of its tokens in messages."""
    uid: str | None = None
    """The source of the receiver's user id, an expression of ``policy/mapping.py``; None: the receiver uses the
    principal."""
    path: tuple[str, ...] = ()
    """The sources of the segments of the receiver's user id, if that is a path; expressions as ``uid``."""
    transaction: TransactionRules | None = None
    """The rules of transaction tokens; None: its tokens are of another kind."""
    options: object = None
    """The options of its table, in a frozen type that only the format reads."""
    files: tuple[RenewedFiles[Any], ...] = field(default=(), compare=False, repr=False)
    """The files of these options; the service reads them again when they change."""

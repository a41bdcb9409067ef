"""The documentation of shipped entries: the provider's pages that they follow, and tokens with the expected outcome.

It is the second half of each file of the catalogue, so that a provider is one file. The service never reads it: the
tests judge every token, and docs/providers.md names it.
"""

import tomllib
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tokenmint.base.config_values import Table, TextList, TextSet
from tokenmint.config.entries import DOCUMENTATION, FOLDER, entry_files

TokenType = Literal["id_token", "access_token", "jwt"]


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Documentation(Table):
    """The words about an entry, and their sources."""

    about: str = ""
    """A paragraph for operators."""
    pages: TextList = ()
    """The pages that were read for it: the provider's own, and others if something is missing there."""
    cited: TextList = ()
    """Further pages that it follows, which were not read again on that day."""
    looked_at: Annotated[str, Field(pattern=r"\d{4}-\d\d-\d\d")] | None = None
    """The day on which the pages were read."""


class RefusedToken(Table):
    """A token that is refused: an accepted one with changes."""

    name: str
    reason: str
    """The reason of the refusal, as in docs/refusals.md."""
    claims: dict[str, Any] = Field(default_factory=dict)
    without: TextSet = frozenset()
    """The claims that are left out."""
    header: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    type: TokenType | None = None
    algorithm: str | None = None


class ExampleToken(Table):
    """A token that is accepted. `exp` is added, and `iat` unless ``without_iat`` is set."""

    name: str
    settings: dict[str, Any]
    """The operator's table, without `use` and keys."""
    claims: dict[str, Any]
    subject: str
    """The name of its principal."""
    without_iat: bool = False
    type: TokenType = "id_token"
    algorithm: str | None = None
    """The algorithm of its signature. Default: RS256, or else the first of the entry's."""
    header: dict[str, Any] = Field(default_factory=dict)
    refused: Annotated[tuple[RefusedToken, ...], BeforeValidator(_as_tuple)] = ()


class RefusedTable(Table):
    """An operator's table that is refused."""

    name: str
    settings: dict[str, Any]
    key: str
    """The key that the message names, "" for the whole table."""


class DocumentedEntry(Table):
    """The second half of an entry's file."""

    documentation: Documentation = Documentation()
    tokens: Annotated[tuple[ExampleToken, ...], BeforeValidator(_as_tuple)] = ()
    """Tokens that are accepted, each with similar ones that are refused."""
    refused_tables: Annotated[tuple[RefusedTable, ...], BeforeValidator(_as_tuple)] = ()


def documentation() -> Mapping[str, DocumentedEntry]:
    """Return the documentation of the shipped entries by name."""
    return read_documentation(FOLDER)


def read_documentation(folder: Traversable) -> Mapping[str, DocumentedEntry]:
    """Return the documentation of a folder's entries by name, empty for an entry without one."""
    return MappingProxyType(
        {
            name: DocumentedEntry.model_validate(tomllib.loads("".join(text.partition(DOCUMENTATION)[1:])))
            for name, text in entry_files(folder).items()
        }
    )

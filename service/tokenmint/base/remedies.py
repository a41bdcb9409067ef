"""The refusals that callers can get, each with its meaning and the way out: the one place of these texts.

docs/refusals.md is generated from them, and the console shows them.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from tokenmint.base import errors, token_errors

_FILE: Final = "refusals.toml"
_SEGMENT: Final = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\[([^]]+)\]\([^)]*\)")
_RETRIED: Final = (errors.RateLimited, errors.Overloaded, errors.DependencyUnavailable)
"""Errors whose answer names a delay."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """One reason of refusals."""

    reason: str
    section: str
    text: str
    """Its meaning and the way out, in Markdown: code, emphasis and links, relative to docs/."""
    kind: type[errors.TokenmintError]
    """The class of its errors."""

    @property
    def retry(self) -> bool:
        """Whether the answer names a delay, because a retry can help."""
        return issubclass(self.kind, _RETRIED)


def remedies() -> dict[str, Remedy]:
    """Return every reason with its remedy, in the order of the page. Read once: keep the result.

    Raises:
        KeyError: the file has a reason that no error has.
    """
    document = tomllib.loads((files("tokenmint.base") / _FILE).read_text())
    known: list[type[errors.TokenmintError]] = [errors.TokenmintError, *_kinds(errors.TokenmintError)]
    kinds = {kind.reason: kind for kind in reversed(known)}
    return {
        reason: Remedy(reason, section, text, kinds[reason])
        for section, texts in document.items()
        for reason, text in texts.items()
    }


def segments(text: str) -> list[dict[str, str]]:
    """Return Markdown of one paragraph as segments: `text`, `code`, `strong`. Of a link its text stays."""
    found, at = [], 0
    for match in _SEGMENT.finditer(text):
        found.append({"kind": "text", "text": text[at : match.start()]})
        kind = "code" if match[1] else "strong" if match[2] else "text"
        found.append({"kind": kind, "text": match[1] or match[2] or match[3].replace("`", "")})
        at = match.end()
    found.append({"kind": "text", "text": text[at:]})
    return [segment for segment in found if segment["text"]]


def _kinds(kind: type[errors.TokenmintError]) -> Iterator[type[errors.TokenmintError]]:
    """Yield the classes of refusals, each after the class that it specialises."""
    for below in kind.__subclasses__():
        if below.__module__ in (errors.__name__, token_errors.__name__):
            yield below
            yield from _kinds(below)

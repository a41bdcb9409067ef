"""The generated part of the guides to services outside: the limits of each, as they document them."""

import textwrap
from collections.abc import Callable, Mapping
from typing import Final

from tokenmint.config.entries import Entry
from tokenmint.config.relying_parties import RelyingParty, entry

WIDTH: Final = 130
GUIDES: Final[Mapping[str, str]] = {
    "aws": "aws",
    "azure": "azure",
    "claude-api": "anthropic",
    "google-cloud": "gcp",
    "kubernetes-api": "kubernetes",
    "openai-api": "openai",
    "openbao": "vault",
}
"""The entry of each guide."""


def limits(name: str) -> Callable[[Mapping[str, Entry]], str]:
    """Return the part with the limits of one service."""

    def part(_: Mapping[str, Entry]) -> str:
        party = entry(name)
        lines = [textwrap.fill(party.documentation.about, WIDTH, break_on_hyphens=False), "", "| | |", "|---|---|"]
        lines += [f"| {subject} | {text} |" for subject, text in _rows(party)]
        pages = ", ".join(f"[{number}]({page})" for number, page in enumerate(party.documentation.pages, 1))
        return "\n".join([*lines, "", f"Read on {party.documentation.looked_at}: {pages}."]) + "\n"

    return part


def _rows(party: RelyingParty) -> list[tuple[str, str]]:
    algorithms = ", ".join(f"`{name}`" for name in sorted(party.algorithms))
    length = "not documented"
    if party.max_subject is not None:
        length = f"{party.min_subject} to {party.max_subject} bytes"
    kept = "until a token names an unknown key"
    if party.key_cache is not None:
        kept = f"for {party.key_cache / 3600:g} h at most (assumed)"
    return [
        ("Algorithms", algorithms or "not documented"),
        ("Audience (`aud`)", party.audience_help),
        ("Claims", ", ".join(f"`{name}`" for name in sorted(party.claims))),
        ("Length of `sub`", length),
        (
            "Longest lifetime",
            f"{party.max_lifetime / 3600:g} h" if party.max_lifetime is not None else "not documented",
        ),
        ("Keys", f"fetched, and kept {kept}" + ("; or uploaded" if party.uploads else "")),
    ]

"""The generated parts of docs/providers.md: a row and a paragraph for each shipped provider."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Final

from tokenmint.config.entries import CheckTable, ClaimPath, Entry
from tokenmint.config.examples import DocumentedEntry, documentation

HEADINGS: Final = (
    "Provider",
    "Issuer",
    "Audience",
    "Algorithms",
    "Kinds of tokens",
    "Further checks",
    "Principal",
)
KINDS: Final = {"id_token": "ID tokens", "access_token": "access tokens", "jwt": "JWTs"}
USUAL_KINDS: Final = ("id_token", "jwt")
WIDTH: Final = 130


def table(entries: Mapping[str, Entry], documented: Mapping[str, DocumentedEntry] | None = None) -> str:
    """Return the table: provider, checks, kinds of tokens. Default: the documentation of the shipped entries."""
    texts = documentation() if documented is None else documented
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|"]
    for name, entry in entries.items():
        cells = (
            f"[`{name}`](#{name})",
            _issuers(entry),
            _audience(entry),
            ", ".join(sorted(entry.algorithms or {"ES256", "RS256"})),
            _kinds(entry, texts[name]),
            "<br>".join(_checked(entry)) or "—",
            _principal(entry),
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def paragraphs(entries: Mapping[str, Entry], documented: Mapping[str, DocumentedEntry] | None = None) -> str:
    """Return a section for each provider: its words, its tokens in the tests, and the pages that it follows."""
    texts = documentation() if documented is None else documented
    return "\n".join(_section(name, entry, texts[name]) for name, entry in entries.items())


def _section(name: str, entry: Entry, documented: DocumentedEntry) -> str:
    words = documented.documentation
    parts = [f"### {name}", f"**{entry.title}.** {words.about}"]
    parts.append("\n".join(f"- {line}" for line in _tested(documented)))
    pages = [f"Read on {words.looked_at}: {_links(words.pages)}."] if words.pages else []
    parts.append(" ".join([*pages, f"Cited: {_links(words.cited)}."] if words.cited else pages))
    return "\n\n".join(_wrapped(part) for part in parts if part) + "\n"


def _tested(documented: DocumentedEntry) -> list[str]:
    lines = [
        f"Accepted: {example.name}. Refused: {'; '.join(variant.name for variant in example.refused)}."
        for example in documented.tokens
    ]
    names = "; ".join(item.name for item in documented.refused_tables)
    return [*lines, f"Refused in the configuration: {names}."] if names else lines


def _links(pages: tuple[str, ...]) -> str:
    return ", ".join(f"<{page}>" for page in pages)


def _wrapped(text: str) -> str:
    return "\n".join(
        textwrap.fill(
            line, WIDTH, subsequent_indent="  " * line.startswith("- "), break_long_words=False, break_on_hyphens=False
        )
        for line in text.split("\n")
    )


def _issuers(entry: Entry) -> str:
    if entry.trust_domain_from is not None:
        return f"none; `sub` is in the `{entry.trust_domain_from}`"
    return "<br>".join(f"`{item.issuer}`" for item in entry.issuers) or "`issuer`"


def _audience(entry: Entry) -> str:
    words = [f"`{entry.audiences_from or 'audiences'}`"]
    if entry.audience_claims:
        words.append(f"if `aud` is missing: {', '.join(f'`{name}`' for name in entry.audience_claims)}")
    patterns = (entry.default_audiences, entry.default_audiences_of_host)
    words += [f"not one like `{pattern}`" for pattern in patterns if pattern is not None]
    return "<br>".join(words)


def _kinds(entry: Entry, documented: DocumentedEntry) -> str:
    kinds = [kind for kind in KINDS if kind in (entry.token_types or USUAL_KINDS)]
    words = ", ".join(KINDS[kind] for kind in kinds)
    if "access_token" not in kinds and any(example.type == "access_token" for example in documented.tokens):
        words += "; access tokens, if `token_types` names them"
    return words


def _checked(entry: Entry) -> list[str]:
    words = [_check(check, entry) for check in entry.checks]
    pairs = dict.fromkeys(pair for item in entry.issuers for pair in item.claims.items())
    by_claim: dict[str, list[str]] = {}
    for claim, value in pairs:
        by_claim.setdefault(claim, []).append(f"`{value}`")
    words[:0] = [f"`{claim}` is {' or '.join(values)}, as in the issuer" for claim, values in by_claim.items()]
    if entry.key_issuer == "match":
        words.append("the key's issuer, if it names one")
    if entry.key_id_required:
        words.append("`kid` is present")
    if entry.single_use:
        words.append("each token is exchanged once")
    if entry.require_one_of:
        names = " or ".join(f"`{name}`" for name in entry.require_one_of)
        words.append(f"**compulsory: {names}**")
    return words


def _check(check: CheckTable, entry: Entry) -> str:
    claim = _path(check.claim) + (f" (or {_path(check.or_claim)})" if check.or_claim is not None else "")
    if isinstance(check.values, str):
        values = f"one of `{check.values}`" if entry.parameters[check.values].list else f"the `{check.values}`"
    else:
        values = " or ".join(f"`{value}`" for value in check.values)
    words = {
        "present": f"{claim} is present",
        "absent": f"{claim} is absent",
        "one_of": f"{claim} is {values}",
        "none_of": f"{claim} is not {values}",
        "prefix": f"{claim} begins with {values}",
        "true": f"{claim} is true",
        "not_true": f"{claim} is not true",
        "past": f"{claim} is in the past",
        "uuid": f"{claim} is a GUID",
        "no_suffix": f"{claim} does not end with {values}",
        "no_digits": f"{claim} is not a number",
    }[check.kind]
    if check.token_types:
        words += f" ({', '.join(KINDS[kind] for kind in KINDS if kind in check.token_types)})"
    return words + _condition(check)


def _condition(check: CheckTable) -> str:
    if check.when is None:
        return ""
    if check.when.value is None:
        return f", without `{check.when.parameter}`"
    return f', with `{check.when.parameter} = "{check.when.value}"`'


def _path(path: ClaimPath) -> str:
    return " in ".join(f"`{name}`" for name in reversed(path))


def _principal(entry: Entry) -> str:
    words = [_named(entry.subject_claims or (("sub",),))]
    for kind, paths in (entry.subject_claims_by_type or {}).items():
        words.append(f"{_named(paths)} ({KINDS[kind]})")
    for parameter, paths in entry.subject_claims_with.items():
        words.append(f"{_named(paths)}, with `{parameter}`")
    return "<br>".join(words)


def _named(paths: Sequence[ClaimPath]) -> str:
    return " and ".join(_path(path) for path in paths)

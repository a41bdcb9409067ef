"""Drafts of `[providers.NAME]` for an issuer: the known part is filled in, and decisions are left to a person.

A required decision has the placeholder that the configuration refuses; the others are comments with their default.
Text of the issuer's document is only quoted in comments, printable and bounded.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tokenmint.base.foreign_text import LONG, SHORT, clipped
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.config.document import PLACEHOLDER
from tokenmint.config.entries import Entry, Parameter
from tokenmint.config.entry_values import contradictions
from tokenmint.model.tokens import JsonValue
from tokenmint.verification.jwk import ALGORITHMS

DEFAULT_ALGORITHMS: Final = ("ES256", "RS256")
AUDIENCES: Final = "# Required: the client ids, or other audiences, that its tokens are issued for."
MAX_LISTED: Final = 20  # names of the document in one comment
_PLACEHOLDERS: Final = re.compile(r"\{(\w+)\}")
_RESERVED: Final = re.compile(r"(?:^|\.)example(?:\.(?:com|net|org))?$")
"""Names for documentation, which no organisation owns (RFC 2606)."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Recognised:
    """A shipped entry whose tokens may have this issuer."""

    name: str
    entry: Entry
    values: Mapping[str, str]
    """The entry's parameters, as the issuer has them."""
    certain: bool
    """Whether only this provider has such issuers, because more than a freely chosen host name matches."""
    issuer: str = ""
    """The issuer, if the table has to name it."""


def recognised(issuer: str, entries: Mapping[str, Entry]) -> list[Recognised]:
    """Return the shipped entries for ``issuer``, the most exact first."""
    found: list[tuple[bool, int, int, Recognised]] = []
    for name, entry in entries.items():
        for template in entry.issuers:
            values = _values(template.issuer, issuer, entry)
            if values is not None and not contradictions(entry, {key: (value,) for key, value in values.items()}):
                match = Recognised(name, entry, values, _is_certain(template.issuer, values, entry))
                required = sum(parameter.required for parameter in entry.parameters.values())
                found.append((not match.certain, len(values), required + len(entry.require_one_of), match))
                break
        if any(re.fullmatch(pattern, issuer) for pattern in entry.other_issuers):
            found.append((False, 0, 0, Recognised(name, entry, {}, certain=True, issuer=issuer)))
    return [match for *_, match in sorted(found, key=lambda one: one[:3])]


def _values(template: str, issuer: str, entry: Entry) -> dict[str, str] | None:
    """Return the parameters with which ``template`` is ``issuer``; None if there are none."""
    pattern, end, names = "", 0, set[str]()
    for place in _PLACEHOLDERS.finditer(template):
        name = place[1]
        pattern += re.escape(template[end : place.start()])
        pattern += f"(?P={name})" if name in names else f"(?P<{name}>(?:{entry.parameters[name].pattern}))"
        names.add(name)
        end = place.end()
    match = re.fullmatch(pattern + re.escape(template[end:]), issuer)
    return None if match is None else {name: match[name] for name in names}


def _is_certain(template: str, values: Mapping[str, str], entry: Entry) -> bool:
    """Return whether an issuer of ``template`` shows the provider: by its path, or by a host name of the provider's."""
    place = template.removeprefix("https://")
    if _PLACEHOLDERS.sub("", place).strip("/"):
        return True
    host = _PLACEHOLDERS.findall(place)[0]
    parameter, given = entry.parameters[host], values[host]
    owner = _owner(given)
    return given == parameter.default or (owner == _owner(parameter.sample) and not _RESERVED.search(owner))


def _owner(host: str) -> str:
    """Return the part of a host name that roughly identifies its owner: its last two labels."""
    return ".".join(host.partition(":")[0].split(".")[-2:])


def draft_of_entry(name: str, match: Recognised, settings: Mapping[str, object]) -> str:
    """Return the table of a shipped entry, with the issuer's parameters, and ``settings`` as in :func:`draft`."""
    entry = match.entry
    lines = [f"# {entry.title}: the shipped entry brings its issuer, keys and checks.", _header(name)]
    lines.append(f'use = "{match.name}"')
    if match.issuer:
        lines.append(f"issuer = {_toml(match.issuer)}")
    if entry.audiences_from is None:
        lines += [AUDIENCES, f'audiences = ["{PLACEHOLDER}"]']
    needed = set(entry.require_one_of[:1])
    if len(entry.require_one_of) > 1:
        lines.append(f"# One of {', '.join(entry.require_one_of)} is required.")
    for key, parameter in entry.parameters.items():
        lines += _parameter_lines(key, parameter, match.values.get(key), needed=parameter.required or key in needed)
    lines += _setting_lines(settings)
    return "\n".join(lines)


def _parameter_lines(key: str, parameter: Parameter, given: str | None, *, needed: bool) -> Iterator[str]:
    if given is not None and given == parameter.default:
        return
    value = given if given is not None else PLACEHOLDER if needed else parameter.sample
    text = _toml([value] if parameter.list else value)
    if given is not None:
        yield f"{key} = {text}"
    elif needed:
        yield f"# Required: {parameter.help}, for example {parameter.sample}."
        yield f"{key} = {text}"
    else:
        default = "" if parameter.default is None else " This is the default."
        yield f"# Decide: {parameter.help}.{default}"
        yield f"# {key} = {text}"


@dataclass(frozen=True, slots=True)
class Published:
    """The documents of an issuer."""

    issuer: str
    document: Mapping[str, JsonValue]
    """Its discovery document."""
    algorithms: Collection[str]
    """The algorithms of its usable keys."""
    keys: int
    """The number of these keys."""


def draft(name: str, published: Published, settings: Mapping[str, object], maybe: Sequence[Recognised]) -> str:
    """Return the table of an issuer without a shipped entry.

    Args:
        settings: further keys that its fetches need, such as `ca_file`.
        maybe: shipped entries that it may be one of.
    """
    keys = "1 key" if published.keys == 1 else f"{published.keys} keys"
    lines = [f"# From the issuer's discovery document, with {keys} that can be used."]
    if maybe:
        names = ", ".join(f'use = "{match.name}"' for match in maybe)
        lines.append(f"# If it is one of the shipped providers, use its entry, which has more checks: {names}.")
    lines += [_header(name), f"issuer = {_toml(published.issuer)}"]
    lines += [AUDIENCES, f'audiences = ["{PLACEHOLDER}"]']
    lines += _algorithm_lines(published)
    lines += _setting_lines(settings)
    lines += _decisions(published.document)
    return "\n".join(lines)


def _setting_lines(settings: Mapping[str, object]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in settings.items()]


def _algorithm_lines(published: Published) -> Iterator[str]:
    named = _texts(published.document.get("id_token_signing_alg_values_supported"))
    signing = [one for one in sorted(ALGORITHMS) if one in named and one in published.algorithms]
    if not signing:
        signing = [one for one in sorted(ALGORITHMS) if one in published.algorithms]
    if set(signing) & set(DEFAULT_ALGORITHMS):
        yield f"# Its keys can sign with {', '.join(signing)}; {' and '.join(DEFAULT_ALGORITHMS)} are the default."
        yield f"# algorithms = {_toml(signing)}"
    elif signing:
        yield f"algorithms = {_toml(signing)}"


def _decisions(document: Mapping[str, JsonValue]) -> Iterator[str]:
    yield "# Decide: the claims that name the principal. They must never pass to another one, as an email address may."
    claims = _texts(document.get("claims_supported"))
    if claims:
        yield f"# The document lists {', '.join(claims)}."
    if _texts(document.get("subject_types_supported")) == ["pairwise"]:
        yield "# Its sub is pairwise: one person has a different one for each client, or group of clients."
    yield '# subject_claims = ["sub"]'
    yield "# Decide: the kinds of tokens. Access tokens need access_token in this list."
    yield '# token_types = ["id_token", "jwt"]'
    yield "# Decide: whether its access tokens lack the header typ at+jwt."
    yield "# untyped_access_tokens = true"
    yield "# Decide: which of its users are accepted. Without a condition, any with a token for one of the audiences."
    yield "# condition = 'assertion.email_verified == true && assertion.email.endsWith(\"@example.com\")'"


def _texts(value: JsonValue) -> list[str]:
    """Return the first texts of a list in a document, each printable and bounded."""
    items = value if isinstance(value, list) else []
    return [clipped(item, SHORT) for item in items if isinstance(item, str)][:MAX_LISTED]


def name_of(issuer: str) -> str:
    """Return a name for the provider of ``issuer``, from its host."""
    try:
        host = HttpUrl.parse(issuer).host
    except BadUrl:
        host = issuer
    return re.sub(r"[^a-z0-9]+", "-", clipped(host, LONG).lower()).strip("-") or "provider"


def _header(name: str) -> str:
    return f"[providers.{name if _PLAIN.fullmatch(name) else _toml(name)}]"


def _toml(value: object) -> str:
    """Return a text, a list of texts, or true or false in TOML. It has no escapes of halves of surrogate pairs."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

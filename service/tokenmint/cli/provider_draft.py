"""`tokenmint providers add`: the discovery document of an issuer becomes a table to paste."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tokenmint.base.clock import SystemClock
from tokenmint.base.errors import ConfigurationError, KeySetInvalid, KeySetUnavailable
from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.token_errors import MalformedToken
from tokenmint.cli.output import without_log
from tokenmint.cli.provider_trial import fetched
from tokenmint.config.drafts import Published, Recognised, draft, draft_of_entry, name_of, recognised
from tokenmint.config.entries import catalogue
from tokenmint.config.providers import provider_from_table
from tokenmint.model.tokens import JsonValue
from tokenmint.verification.fetch import HttpFetch
from tokenmint.verification.jwk import VerificationKey
from tokenmint.verification.key_document import read_discovery
from tokenmint.verification.key_source import AnswerUnusable, FetchFailed, KeySource
from tokenmint.verification.keyset import KeySets

DISCOVERY: Final = "/.well-known/openid-configuration"
_OPTIONS: Final = {"allow_private": "--allow-private", "ca_file": "--ca-file"}
"""The options of the command by the settings that messages of fetches name."""


def issuer_of(given: str) -> str:
    """Return the issuer, for itself or for the URL of its discovery document."""
    return given.removesuffix(DISCOVERY)


def drafted(issuer: str, name: str | None, settings: Mapping[str, Any]) -> str:
    """Return the table of a provider with ``issuer``. A shipped provider needs no fetch.

    Args:
        name: of the provider; None: the shipped entry's, or from the host.
        settings: the keys of the table that its fetches need, such as `ca_file`.

    Raises:
        ConfigurationError: the issuer, or one of the settings, can't be used.
        KeySetUnavailable, KeySetInvalid: its documents can't be fetched, or can't be used.
    """
    matches = recognised(issuer, catalogue())
    if certain := _certain(matches) or _certain(recognised(_with_other_end(issuer), catalogue())):
        return "\n\n".join(draft_of_entry(name or match.name, match, settings) for match in certain)
    try:
        url = HttpUrl.parse(issuer)
    except BadUrl as error:
        raise ConfigurationError(f"ISSUER: {error}") from None
    if url.scheme == "http" and not (url.is_loopback and settings.get("allow_private")):
        raise ConfigurationError("ISSUER: expected https: http is for loopback alone, with --allow-private")
    name = name or name_of(issuer)
    table = {"issuer": issuer, "audiences": ["any"], **settings}
    source = provider_from_table(name, table, own_issuer="").key_source
    with without_log():
        document, keys = asyncio.run(_read(source))
    algorithms = frozenset(algorithm for key in keys for algorithm in key.algorithms)
    return draft(name, Published(issuer, document, algorithms, len(keys)), settings, matches)


def _certain(matches: Sequence[Recognised]) -> list[Recognised]:
    return [match for match in matches if match.certain and len(match.values) == len(matches[0].values)]


def _with_other_end(issuer: str) -> str:
    """Return an issuer with a slash at its end, or without the one that it has. An entry knows which is right."""
    return issuer.removesuffix("/") if issuer.endswith("/") else f"{issuer}/"


async def _read(source: KeySource) -> tuple[dict[str, JsonValue], tuple[VerificationKey, ...]]:
    fetch, clock = HttpFetch(), SystemClock()
    try:
        async with asyncio.timeout(source.timeout):
            document = await read_discovery(fetch, source)
    except TimeoutError:
        raise KeySetUnavailable(f"{source.place}: no answer within {source.timeout:g} s") from None
    except (AnswerUnusable, MalformedToken) as error:
        raise KeySetInvalid(_with_option(getattr(error, "detail", "") or str(error))) from None
    except FetchFailed as error:
        raise KeySetUnavailable(_with_option(str(error))) from None
    named = document.get("issuer")
    if named != source.issuer:
        raise KeySetInvalid(
            f"{source.place} names another issuer, {quoted(named, LONG)}: its tokens have that issuer, so add that one"
        )
    key_sets = KeySets({"": source}, fetch=fetch, clock=clock)
    problem, again = await fetched(key_sets, "")
    if problem:
        problem = _with_option(problem)
        raise KeySetUnavailable(problem) if again else KeySetInvalid(problem)
    return document, key_sets.trusted("")


def _with_option(problem: str) -> str:
    """Return a message of a fetch with the command's option for the setting that it names."""
    option = next((option for setting, option in _OPTIONS.items() if setting in problem), None)
    return f"{problem}; this command has {option}" if option else problem

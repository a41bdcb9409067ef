"""The values of a shipped entry's parameters, and the issuers that follow from them."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from tokenmint.config.document import PLACEHOLDER
from tokenmint.config.entries import Entry, Parameter
from tokenmint.config.provider_keys import fill
from tokenmint.config.provider_requests import Problem

_NAME: Final = re.compile(r"\{([a-z]\w*)\}")
"""The name of a parameter in a pattern; a quantifier has numbers instead."""


@dataclass(slots=True)
class EntryValues:
    """The values of parameters in a provider's table."""

    values: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The good ones, and the defaults, by parameter."""
    problems: list[Problem] = field(default_factory=list)


def values_of(entry: Entry, given: dict[str, object]) -> EntryValues:
    """Take the parameters of ``entry`` out of the table ``given``."""
    found, wrong = EntryValues(), set[str]()
    for key, parameter in entry.parameters.items():
        value = given.pop(key, parameter.default)
        if value is None:
            if parameter.required:
                found.problems.append((key, f"is required: {parameter.help}, for example {parameter.sample}"))
            continue
        items = value if parameter.list and isinstance(value, list) else [value]
        texts = tuple(item for item in items if isinstance(item, str) and re.fullmatch(parameter.pattern, item))
        if parameter.list and not isinstance(value, list):
            found.problems.append((key, f"expected a list: {parameter.help}"))
            wrong.add(key)
        elif not items or len(texts) != len(items):
            found.problems.append((key, f"expected {parameter.help}, for example {parameter.sample}"))
            wrong.add(key)
        else:
            found.values[key] = texts
    if entry.require_one_of and not any(key in found.values.keys() | wrong for key in entry.require_one_of):
        names = ", ".join(entry.require_one_of)
        found.problems.append(("", f"one of {names} is required: without it tokens of any tenant are accepted"))
    found.problems += contradictions(entry, found.values)
    return found


def contradictions(entry: Entry, values: Mapping[str, tuple[str, ...]]) -> list[Problem]:
    """Return the problems of values that contradict each other. Undecided ones contradict nothing."""
    decided = {key: items for key, items in values.items() if PLACEHOLDER not in items}
    return [
        (key, text)
        for key, parameter in entry.parameters.items()
        for text in _contradictions(parameter, decided.get(key, ()), decided)
    ]


def _contradictions(parameter: Parameter, items: Collection[str], values: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return a problem for each item that contradicts the values of other parameters."""
    names = _NAME.findall(parameter.agrees or "")
    if parameter.agrees is None or not values.keys() >= set(names):
        return []
    pattern = fill(parameter.agrees, {name: re.escape(values[name][0]) for name in names})
    others = " and ".join(f"{name} = {values[name][0]!r}" for name in names)
    return [f"{item!r} contradicts {others}: {parameter.help}" for item in items if not re.fullmatch(pattern, item)]


def own_issuers(entry: Entry, values: Mapping[str, tuple[str, ...]]) -> dict[str, Mapping[str, str]]:
    """Return the issuers of an entry with these parameters, each with the claims that its tokens must carry."""
    singles = {key: value[0] for key, value in values.items() if not entry.parameters[key].list}
    rounds = [{**singles, entry.expand: one} for one in values.get(entry.expand, ())] if entry.expand else [singles]
    return {
        fill(item.issuer, chosen): {claim: fill(text, chosen) for claim, text in item.claims.items()}
        for chosen in rounds
        for item in entry.issuers
    }

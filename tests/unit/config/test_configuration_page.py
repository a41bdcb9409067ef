"""docs/configuration.md has every key that the service reads, with its type and default, and no other."""

import re
from collections.abc import Iterator
from typing import Any, Final, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from tests.pages import ROOT

from tokenmint.base.durations import parse_duration
from tokenmint.config.entries import CheckTable, ProviderTable
from tokenmint.config.gateway_tables import EnvoyTable, GatewayRouteTable, GatewayTable
from tokenmint.config.load import load
from tokenmint.config.regions_table import OtherRegionTable, RegionsTable
from tokenmint.config.signals_table import PollTable, SignalsTable
from tokenmint.config.spiffe_table import SpiffeTable
from tokenmint.config.status_lists_table import StatusListsTable
from tokenmint.config.tables import (
    ActorsTable,
    AuditTable,
    AwsKmsTable,
    CachesTable,
    ClientTable,
    ForwardedTable,
    KeysTable,
    LimitsTable,
    ListenTable,
    LogTable,
    OAuthTable,
    OperatorTable,
    Pkcs11Table,
    ProxyTable,
    RateTable,
    RedisTable,
    WorkloadTable,
    audience_table,
    file_table,
)
from tokenmint.config.tracing_table import TracingTable
from tokenmint.formats.table import shipped, tables
from tokenmint.model.policy import OnMissingProfile

FORMATS: Final = tables(shipped())
"""The tables of formats, by name."""
FILE: Final = file_table(FORMATS)
PAGE: Final = ROOT / "docs" / "configuration.md"
ROW: Final = re.compile(r"\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| (.+) \|")
TABLES: Final[dict[str, type[BaseModel]]] = {
    "The file": FILE,
    "[redis]": RedisTable,
    "[proxy]": ProxyTable,
    "[listen]": ListenTable,
    "[listen.forwarded]": ForwardedTable,
    "[keys]": KeysTable,
    "[keys.pkcs11]": Pkcs11Table,
    "[keys.aws_kms]": AwsKmsTable,
    "[limits]": LimitsTable,
    "[caches]": CachesTable,
    "[log]": LogTable,
    "[audit]": AuditTable,
    "[tracing]": TracingTable,
    "[oauth]": OAuthTable,
    "[spiffe]": SpiffeTable,
    "[status_lists]": StatusListsTable,
    "[regions]": RegionsTable,
    "[regions.others.NAME]": OtherRegionTable,
    "[envoy]": EnvoyTable,
    "[gateway]": GatewayTable,
    "[gateway.routes.NAME]": GatewayRouteTable,
    "[providers.NAME]": ProviderTable,
    "[providers.NAME.signals]": SignalsTable,
    "[providers.NAME.signals.poll]": PollTable,
    "[[providers.NAME.checks]]": CheckTable,
    '[audiences."NAME"]': audience_table(FORMATS),
    '[audiences."NAME".actors]': ActorsTable,
    **{f'[audiences."NAME".{name}]': table for name, table in FORMATS},
    "[clients.ID]": ClientTable,
    "[[clients.ID.workloads]]": WorkloadTable,
    "[operators.ID]": OperatorTable,
    "Rates": RateTable,
}
"""Each heading of the page, and the table that it is about."""
ENTRIES_ONLY: Final = frozenset({"when"})
"""Keys of checks that only shipped entries have."""
UNITS: Final = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1), ("ms", 0.001))
BOUNDS: Final = (("ge", "from"), ("gt", "more than"), ("le", "to"), ("lt", "less than"))


def kind(field: FieldInfo) -> str:
    """Return what a value is, in words."""
    text = str(field.annotation)
    if any("parse_duration" in str(item) for item in [*field.metadata, text]):
        return "duration"
    options = [item for item in _flat(field.annotation) if item is not type(None)]
    choices = [choice for item in options if get_origin(item) is Literal for choice in get_args(item)]
    if choices:
        return ", ".join(f'"{choice}"' for choice in choices)
    names = [str(getattr(get_origin(item) or item, "__name__", item)) for item in options]
    words = {
        "str": "text", "bool": "true or false", "int": "whole number", "float": "number", "dict": "table",
        "frozenset": "list", "tuple": "list", "Address": "host:port",
        "OnMissingProfile": ", ".join(f'"{mode}"' for mode in OnMissingProfile),
    }  # fmt: skip
    return " or ".join(dict.fromkeys("table" if name.endswith("Table") else words[name] for name in names))


def bounds(field: FieldInfo) -> str:
    """Return the least and the most of a number, in words."""
    known = {name: getattr(item, name) for item in field.metadata for name, _ in BOUNDS if hasattr(item, name)}
    write = duration if kind(field) == "duration" else str
    return "".join(f" {word} {write(known[name])}" for name, word in BOUNDS if name in known)


def duration(seconds: float) -> str:
    """Return a duration as the configuration writes it."""
    if seconds == 0:
        return "0"
    unit, size = next((unit, size) for unit, size in UNITS if (seconds / size).is_integer() or unit == "ms")
    return f'"{seconds / size:g}{unit}"'


def _flat(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is None or origin in (Literal, dict, frozenset, tuple):
        return [annotation]
    arguments = get_args(annotation)
    return (
        _flat(arguments[0])
        if hasattr(annotation, "__metadata__")
        else [one for item in arguments for one in _flat(item)]
    )


def default(field: FieldInfo) -> str:
    """Return a default as the page writes it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel) and not isinstance(value, RateTable):
        return "—"
    if isinstance(value, RateTable):
        return f"{{ per_second = {value.per_second:g}, burst = {value.burst} }}"
    if value is None or value == {} or value == () or value == frozenset():
        return "—"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and kind(field) == "duration":
        return duration(value)
    if isinstance(value, tuple | frozenset):
        return "[" + ", ".join(f'"{item}"' for item in sorted(value)) + "]"
    return str(value) if isinstance(value, int | float) else f'"{value}"'


def expected(table: type[BaseModel]) -> dict[str, tuple[str, str]]:
    """Return type and default of each key of a table."""
    return {
        name: (kind(field) + bounds(field), default(field))
        for name, field in table.model_fields.items()
        if not (table is CheckTable and name in ENTRIES_ONLY)
    }


def sections() -> Iterator[tuple[str, str]]:
    """Yield each heading with the text under it."""
    for part in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        yield heading.strip().strip("`"), text


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_is_in_the_page_with_its_type_and_its_default(heading: str) -> None:
    text = dict(sections())[heading]
    shown = {row[1]: (row[2].strip().replace("`", ""), row[3].strip().replace("`", "")) for row in ROW.finditer(text)}
    wanted = expected(TABLES[heading])
    lines = [f"| `{name}` | {kind} | {value} | … |" for name, (kind, value) in wanted.items()
             if shown.get(name) != (kind, value)]  # fmt: skip
    assert shown == wanted, f"{PAGE.name}, {heading}: rows that are missing or other\n" + "\n".join(lines)
    assert all(len(row[4].strip()) > 5 for row in ROW.finditer(text)), "a meaning is missing"


def reachable(table: type[BaseModel]) -> set[type[BaseModel]]:
    """Return a table and all that are within it."""
    found = {table}
    for field in table.model_fields.values():
        for item in _types(field.annotation):
            if isinstance(item, type) and issubclass(item, BaseModel):
                found |= reachable(item)
    return found


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for argument in get_args(annotation):
        yield from _types(argument)


def test_every_table_has_a_heading() -> None:
    assert len(reachable(FILE)) > 15
    assert reachable(FILE) <= set(TABLES.values())


def test_every_heading_is_a_table() -> None:
    assert [heading for heading, _ in sections() if heading in TABLES] == list(TABLES)


def test_durations_are_written_as_the_page_says() -> None:
    text = PAGE.read_text()
    for written in re.findall(r"`\"((?:\d+[a-z]+)+)\"`", text):
        assert parse_duration(written) > 0


def test_the_environment_sets_what_the_page_says() -> None:
    (example,) = re.findall(r"`(TOKENMINT_[A-Z_]+=\S+)`", PAGE.read_text())
    name, _, value = example.partition("=")
    assert str(load(None, {name: value}).listen.grpc) == value

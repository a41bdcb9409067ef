"""The documents of `--output json`: what docs/cli.md says of each, compared with one that the command has printed.

A cell of its table names fields and messages of the API in backticks. Fields before the first semicolon and outside of
parentheses are in every document; all others may be there. Nothing that is not named may be there. The fields of a
message are those of its proto.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import Descriptor

from tokenmint.v1 import (
    key_admin_service_pb2,
    profile_admin_service_pb2,
    profile_pb2,
    provider_admin_service_pb2,
    revocation_admin_service_pb2,
    signing_key_pb2,
    token_exchange_service_pb2,
)

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
HEADING: Final = "| Command | Document |"
OPEN: Final = frozenset({"claims", "header", "public_jwk"})
"""Fields whose members are not the command line's to name."""
_MODULES: Final = (
    key_admin_service_pb2, profile_admin_service_pb2, profile_pb2, provider_admin_service_pb2,
    revocation_admin_service_pb2, signing_key_pb2, token_exchange_service_pb2,
)  # fmt: skip
_MESSAGES: Final[dict[str, Descriptor]] = {
    name: found for module in _MODULES for name, found in module.DESCRIPTOR.message_types_by_name.items()
}
_NAME: Final = re.compile(r"`([A-Za-z][A-Za-z0-9_]*)`")
_PARENTHESES: Final = re.compile(r"\([^()]*\)")


def described() -> dict[str, str]:
    """The cell of each command on the page."""
    table = PAGE.read_text().partition(HEADING)[2].partition("\n\n")[0]
    found: dict[str, str] = {}
    for line in table.splitlines()[2:]:
        commands, _, document = line.strip("| ").partition(" | ")
        found |= dict.fromkeys(re.findall(r"`([a-z -]+)`", commands), document)
    return found


def event_fields() -> set[str]:
    """The fields of audit events, by the table of the configuration's page."""
    table = PAGE.with_name("configuration.md").read_text().partition("| Field of an event |")[2].partition("\n\n")[0]
    return {name for line in table.splitlines()[2:] for name in _NAME.findall(line.split("|")[1])}


def differences(cell: str, document: Any) -> list[str]:
    """Return how a document, or a list of such documents, differs from the description in a cell."""
    always, allowed = _names(cell)
    found = []
    for one in document if isinstance(document, list) else [document]:
        found += [f"is missing: {name}" for name in sorted(always - one.keys())]
        if "claims" not in cell:  # a token's own
            found += [f"is not described: {name}" for name in sorted(set(_keys(one)) - allowed)]
    return found


def _names(cell: str) -> tuple[set[str], set[str]]:
    first = _PARENTHESES.sub("", cell).partition(";")[0]
    allowed: set[str] = set()
    for name in _NAME.findall(cell):
        allowed |= _fields(_MESSAGES[name], set()) if name[0].isupper() else {name}
    always = {name for name in _NAME.findall(first) if name[0].islower()}
    messages = [_MESSAGES[name] for name in _NAME.findall(first) if name[0].isupper()]
    if not always and len(messages) == 1 and ";" not in cell:
        always = {one.name for one in messages[0].fields if not one.has_presence}
    return always, allowed


def _fields(message: Descriptor, seen: set[str]) -> set[str]:
    """The names of the fields of a message, and of the messages in it."""
    if message.full_name in seen or message.full_name.startswith("google."):
        return set()
    seen.add(message.full_name)
    inner = [one.message_type for one in message.fields if one.message_type is not None]
    return {one.name for one in message.fields}.union(*(_fields(one, seen) for one in inner))


def _keys(value: Any) -> Iterator[str]:
    """The names of all members, also of members of members."""
    parts: Iterable[Any] = value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield from value
        parts = [member for name, member in value.items() if name not in OPEN]
    for part in parts:
        yield from _keys(part)

"""Claims as protobuf's struct. The command line reads them too, so this imports nothing of the service."""

from collections.abc import Mapping

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct, Value

from tokenmint.model.tokens import JsonValue


def struct(values: Mapping[str, JsonValue]) -> Struct:
    """Return JSON as a struct, whose numbers are doubles. A whole number that no double equals becomes a text."""
    return ParseDict({name: _exact(value) for name, value in values.items()}, Struct())


def _exact(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {name: _exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    if isinstance(value, int) and abs(value) > 2**53 and int(float(value)) != value:
        return str(value)
    return value


def plain(message: Struct) -> dict[str, JsonValue]:
    """Return a struct as JSON. Its numbers are doubles; whole ones become integers again.

    Numbers that JSON does not have are kept; the limits of a profile refuse them.
    """
    return {name: _plain(value) for name, value in message.fields.items()}


def _plain(value: Value) -> JsonValue:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) < 2**53 else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return plain(value.struct_value)
        case "list_value":
            return [_plain(item) for item in value.list_value.values]
    return None

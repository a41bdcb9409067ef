"""The explanation of an exchange: its steps, and the token that it would mint."""

from typing import Any

from tokenmint.base.remedies import remedies, segments
from tokenmint.cli.output import as_dict, as_json, plain, print_json
from tokenmint.cli.tables import Value, enum_word, print_table, state, wrapped
from tokenmint.cli.times import spoken, when
from tokenmint.v1 import token_exchange_service_pb2 as pb


def print_explanation(answer: pb.ExplainExchangeResponse, output: str) -> None:
    """Print an explanation, as JSON or for people."""
    if output == "json":
        document = as_dict(answer)
        planned = document.get("planned_token")
        planned = planned and whole_numbers(planned)
        keys = document["deciding_keys"]
        print_json({"steps": document["steps"], "planned_token": planned, "deciding_keys": keys})
        return
    kind = pb.ExplainStep.Outcome.DESCRIPTOR
    rows = [(step.name, state(enum_word(kind, step.outcome)), step.reason, step.detail) for step in answer.steps]
    columns = ("step", "outcome", "reason", "what was compared")
    print_table(columns, rows, "no steps", folded=("what was compared",), lead=2)
    if not answer.HasField("planned_token"):
        _print_way_out(answer)
        return
    token = answer.planned_token
    facts: list[tuple[str, Value]] = [
        ("format", token.format),
        ("subject", token.subject),
        ("lifetime", spoken(token.lifetime.seconds)),
        ("expires", str(when(token, "expire_time"))),
        ("key", token.key_id or "not one of the key ring"),
        ("scopes", " ".join(token.scopes) or "none"),
    ]
    print()
    print_table(("would be minted", ""), facts, "", folded=("",))
    print("\nclaims, and an id of its own:")
    print(plain_lines(whole_numbers(as_dict(token)["claims"])))


def _print_way_out(answer: pb.ExplainExchangeResponse) -> None:
    """Print the keys of the configuration that decide, and what to do about the refusal."""
    rows = [(key.key, _place(key), key.line) for key in answer.deciding_keys]
    print()
    nothing = "no key of the configuration decides: the token, the request or the profile does"
    print_table(("decided by", "where", "line"), rows, nothing, folded=("where", "line"))
    remedy = remedies().get(answer.steps[-1].reason) if answer.steps else None
    if remedy is not None:
        print(f"\nthe way out\n{wrapped(''.join(part['text'] for part in segments(remedy.text)))}")


def _place(key: pb.DecidingKey) -> str:
    if key.missing:
        return "there is no such table, or none that fits"
    return key.where or "not written: the default decides"


def plain_lines(value: object) -> str:
    """Return JSON, indented, that can't control a terminal."""
    return "\n".join(plain(line) for line in as_json(value).split("\n"))


def whole_numbers(value: Any) -> Any:
    """Return JSON from a protobuf Struct, which has no integers, with whole numbers as integers."""
    if isinstance(value, dict):
        return {name: whole_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value

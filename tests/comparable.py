"""The parts of tokens, answers and audit events that two exchanges of the same have in common."""

import base64
import json
from typing import Any

from tokenmint.v1 import token_exchange_service_pb2 as pb


def decoded(token: str) -> list[Any]:
    """The header and the claims of a JWT."""
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2]]


def told(answer: pb.ExchangeTokenResponse) -> dict[str, Any]:
    """The members of an answer that do not differ from token to token."""
    header, claims = decoded(answer.token)
    assert claims.pop("jti") == answer.token_id
    copy = pb.ExchangeTokenResponse()
    copy.CopyFrom(answer)
    copy.token = copy.token_id = ""
    return {"header": header, "claims": claims, "answer": copy.SerializeToString(deterministic=True)}


def without_ids(event: dict[str, Any]) -> dict[str, Any]:
    """An audit event without what is drawn anew for each token."""
    minted = [{name: value for name, value in one.items() if name != "jti"} for one in event.get("minted", [])]
    return event | {"minted": minted}


def spelled(event: dict[str, Any]) -> str:
    """The same as JSON: the order of its fields counts."""
    return json.dumps(without_ids(event))

"""`tokenmint keys watch`: the changes of the key ring, as they are seen."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenmint.base.clock import rfc3339
from tokenmint.cli.connection import Connection, pages
from tokenmint.cli.output import plain
from tokenmint.cli.tables import Value, enum_word, state, terminal
from tokenmint.v1 import key_admin_service_pb2 as pb
from tokenmint.v1 import signing_key_pb2
from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceStub


@dataclass(frozen=True, slots=True)
class Change:
    """Something that became different; "" where there was, or is, nothing."""

    kind: str
    """`key`, `generation`, or `replicas`."""
    key_id: str
    before: str
    now: str

    def document(self, moment: float) -> Mapping[str, Any]:
        """Return it as JSON."""
        return {
            "time": rfc3339(moment),
            "change": self.kind,
            "key_id": self.key_id,
            "from": self.before,
            "to": self.now,
        }


@dataclass(slots=True)
class Ring:
    """The ring as it was last seen: the state of each key, and facts about the whole."""

    states: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    def changes(self, keys: Mapping[str, str], facts: Mapping[str, str]) -> list[Change]:
        """Return the differences to the last look, and remember this one."""
        found = [
            Change("key", key_id, self.states.get(key_id, ""), keys.get(key_id, ""))
            for key_id in dict.fromkeys([*self.states, *keys])
            if self.states.get(key_id) != keys.get(key_id)
        ]
        found += [
            Change(name, "", self.facts.get(name, ""), value)
            for name, value in facts.items()
            if self.facts.get(name) != value
        ]
        self.states, self.facts = dict(keys), dict(facts)
        return found


def look(service: Connection, stub: KeyAdminServiceStub) -> tuple[dict[str, str], dict[str, str]]:
    """Return the state of each key now, and the generation with the replicas that serve it."""
    keys = pages(stub.ListSigningKeys, pb.ListSigningKeysRequest(page_size=1000), "signing_keys", service.call)
    status = stub.GetKeyRingStatus(pb.GetKeyRingStatusRequest(), **service.call)
    kind = signing_key_pb2.SigningKey.State.DESCRIPTOR
    newest = max([status.generation, *(one.generation for one in status.replicas)])
    serving = sum(one.generation == newest for one in status.replicas)
    facts = {"generation": str(newest), "replicas": f"{serving} of {len(status.replicas)} serve it"}
    return {key.key_id: enum_word(kind, key.state) for key in keys}, facts


def show(changes: list[Change], output: str) -> None:
    """Print changes, a line for each."""
    moment = time.time()
    if output == "json":
        for change in changes:
            print(plain(json.dumps(change.document(moment), ensure_ascii=False)), flush=True)
        return
    from rich.text import Text

    console = terminal()
    for change in changes:
        subject = change.key_id if change.kind == "key" else change.kind
        line = Text(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(moment))}Z", style="dim")
        for part in (plain(subject), *_from_to(change)):
            cell = part if isinstance(part, str) else part.text
            line.append(f"  {cell}", style="not dim" if isinstance(part, str) else f"not dim {part.style}")
        console.print(line, soft_wrap=True)


def _from_to(change: Change) -> list[Value]:
    if not change.now:
        return [state(change.before), "->", "gone"]
    return [state(change.before), "->", state(change.now)] if change.before else [state(change.now)]

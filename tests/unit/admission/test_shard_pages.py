"""The pages about audit shards name the keys that the code has."""

import re

from tests.pages import ROOT

from tokenmint.admission.audit import EXCHANGE_SHARDS
from tokenmint.storage.shards import LONGEST


def test_the_runbook_lists_the_keys_of_all_shards_in_their_order() -> None:
    page = (ROOT / "docs" / "runbooks" / "audit-shards.md").read_text().partition("## The keys")[2]
    assert re.findall(r"`tm:(audit:\{[^`]+)`", page) == list(EXCHANGE_SHARDS[1:])


def test_the_decision_tells_the_largest_position() -> None:
    assert f"{LONGEST:,} characters" in (ROOT / "docs" / "adr" / "0046-audit-shards.md").read_text()

"""Scenarios about grants: tokens that only the full way accepts, because it uses them up."""

import json

from tests.both_ways import BothWays
from tests.unit.fast.once import once

from tokenmint.model.drafts import IDENTITY_ASSERTION
from tokenmint.model.tokens import ID_JAG, ID_JAG_TYP


async def grants_that_are_used_once(ways: BothWays) -> None:
    """An ID-JAG takes the full way, even if it would pass every check of the fast way."""
    rig = ways.rig
    await ways.check(recognised=True)
    before = rig.config.read_text()
    issuer = rig.base.issuer
    followed = before.replace(
        'audiences = ["app"]\n', f'audiences = ["app", "{issuer}"]\ntoken_types = ["id_token", "id_jag"]\n', 1
    )
    assert followed != before
    try:
        rig.config.write_text(f"{followed}\n[oauth]\ndrafts = {json.dumps([IDENTITY_ASSERTION])}\n")
        await rig.app.reload(rig.settings())
        for _ in range(2):  # a plan would be made at the first
            claims = {"aud": issuer, "client_id": "web", "jti": once(), "scope": "read"}
            token = rig.issuer.token(rig.clock.now(), headers={"typ": ID_JAG_TYP}, email="ada@example.com", **claims)
            request = ways.request(token, subject_token_type=ID_JAG)
            assert (await ways.by_fast(request, ways.metadata())).nothing
    finally:
        rig.config.write_text(before)
        await rig.app.reload(rig.settings())
        await ways.warm()

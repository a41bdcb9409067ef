"""The kind of a token, as a gateway takes it from the token itself."""

import pytest
from tests.issuer import b64, segment

from tokenmint.gateway.request import token_type_of
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("tmr_" + "A" * 43, ACCESS_TOKEN),
        (f"{segment({'typ': 'at+jwt'})}.e30.AAAA", ACCESS_TOKEN),
        (f"{segment({'typ': 'application/AT+jwt'})}.e30.AAAA", ACCESS_TOKEN),
        (f"{segment({'typ': 'JWT'})}.e30.AAAA", ID_TOKEN),
        (f"{segment({})}.e30.AAAA", ID_TOKEN),
        (f"{segment({'typ': ['at+jwt']})}.e30.AAAA", ID_TOKEN),
        (f"{segment({'typ': None})}.e30.AAAA", ID_TOKEN),
        (b64(b'{"typ":"JWT","typ":"at+jwt"}') + ".e30.AAAA", ID_TOKEN),
        (f"{segment(['at+jwt'])}.e30.AAAA", ID_TOKEN),
        ("\u00e9.e30.AAAA", ID_TOKEN),
        ("\ud800.e30.AAAA", ID_TOKEN),
        ("A.e30.AAAA", ID_TOKEN),
        ("..", ID_TOKEN),
        (b64(b"[" * 5000) + "..", ID_TOKEN),
    ],
)
def test_rfc_9068_the_kind_is_that_of_a_well_formed_header(token: str, kind: str) -> None:
    assert token_type_of(token) == kind

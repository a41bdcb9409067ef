"""The headers that the sidecar passes on."""

import pytest

from tokenmint.base.errors import InvalidRequest
from tokenmint.edge.question import PATH, question_of

HOST, TOKEN = "x-forwarded-host", "x-goog-iap-jwt-assertion"


def test_deciding_headers_alone_are_passed_on() -> None:
    raw = [
        (b"Authorization", b"Bearer x"), (b"Cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-forwarded-host", b"h"),
        (b"X-Goog-IAP-JWT-Assertion", b"t"), (b"accept", b"*/*"), (b"x-original-url", b"https://h/"),
        (b"tokenmint-client-id", b"other"), (b"tokenmint-client-secret", b"guess"), (b"traceparent", b"00"),
    ]  # fmt: skip
    assert question_of("/auth", raw, [TOKEN], HOST).headers == (
        ("authorization", "Bearer x"), ("cookie", "a=1; b=2"), (HOST, "h"), (TOKEN, "t"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("case", "raw"),
    [
        ("two tokens", [(b"authorization", b"Bearer x"), (b"authorization", b"Bearer y")]),
        ("two hosts", [(b"x-forwarded-host", b"a"), (b"X-Forwarded-Host", b"b")]),
        ("a forged principal", [(b"x-tokenmint-principal", b"root")]),
        ("... as CGI reads it", [(b"x_tokenmint_principal", b"root")]),
        ("a token's header as CGI reads it", [(b"x_goog_iap_jwt_assertion", b"t")]),
        ("a credential as CGI reads it", [(b"tokenmint_client_secret", b"t")]),
    ],
)
def test_what_would_pass_the_gateway_unseen_is_refused(case: str, raw: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(InvalidRequest, match=r"headers|was sent twice"):
        pytest.fail(f"{case}: {question_of('/auth', raw, [TOKEN], HOST)}")


@pytest.mark.parametrize(
    ("path", "served"),
    [
        ("/auth", True), ("/auth/orders", True), ("/auth/a.b_c-1", True),
        ("/", False), ("/auth/", False), ("/auth/a/b", False), ("/auth/..", False), ("/authx", False),
        ("/auth/a\n", False), ("/oauth2/token", False), (f"/auth/{'a' * 129}", False), ("/auth/a?b", False),
    ],
)  # fmt: skip
def test_only_the_paths_of_gateways_are_passed_on(path: str, served: bool) -> None:
    assert (PATH.match(path) is not None) == served

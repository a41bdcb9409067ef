"""The audience of a request: RFC 8693 section 2.1, RFC 8707 section 2, and the defaults of clients."""

import pytest

from tokenmint.base.errors import AudienceDenied, InvalidRequest, ScopeDenied
from tokenmint.formats.jwt import FORMAT
from tokenmint.model.policy import Audience, Client, ExchangeRequest
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import JWT
from tokenmint.policy.grant import Policy

ORDERS, TWIN, PLAIN = "https://orders.example", "https://twin.example", "plain"
USUAL = Client("web")


def audience(name: str, **settings: object) -> Audience:
    usual = {"clients": frozenset({"web"}), "providers": frozenset({"idp"}), "format": FORMAT.traits}
    return Audience(name, **(usual | settings))  # type: ignore[arg-type]  # as the configuration makes them


POLICY = Policy(
    {
        one.name: one
        for one in (
            audience(
                ORDERS, resources=frozenset({"https://orders.example/v1", "api://orders"}), scopes=frozenset({"read"}),
                drops_foreign_scopes=True,
            ),
            audience(PLAIN, scopes=frozenset({"read", "write"})),
            audience(TWIN, drops_foreign_scopes=True),
            audience(TWIN + "/"),
        )
    },
    "https://tokens.example",
)  # fmt: skip


def request(audience: str = "", *resources: str, **fields: object) -> ExchangeRequest:
    return ExchangeRequest(Secret("x"), audience, resources=resources, **fields)  # type: ignore[arg-type]  # as above


def target(client: Client, asked: ExchangeRequest) -> str:
    return POLICY.admit(client, POLICY.completed(client, asked)).name


@pytest.mark.parametrize(
    ("case", "asked", "found"),
    [
        ("audience alone", request(PLAIN), PLAIN),
        ("its own name as a resource", request("", ORDERS), ORDERS),
        ("RFC 3986: its own name, in another spelling", request("", "HTTPS://Orders.example:443/"), ORDERS),
        ("a listed resource", request("", "https://orders.example/v1"), ORDERS),
        ("RFC 3986: a listed resource, in another spelling", request("", "https://orders.example/x/../v1"), ORDERS),
        ("both, the same", request(ORDERS, ORDERS), ORDERS),
        ("both, a listed resource", request(ORDERS, "api://orders"), ORDERS),
        ("several resources of one audience", request("", "api://orders", "https://orders.example/v1"), ORDERS),
        ("exactly one of two names that are alike", request("", TWIN), TWIN),
        ("exactly the other", request("", TWIN + "/"), TWIN + "/"),
    ],
)
def test_rfc_8693_section_2_1_every_name_leads_to_the_audience(case: str, asked: ExchangeRequest, found: str) -> None:
    assert target(USUAL, asked) == found, case


@pytest.mark.parametrize(
    ("case", "asked"),
    [
        ("an audience that is not there", request("https://unknown.example")),
        ("a resource that is not there", request("", "https://unknown.example")),
        ("a resource below a listed one", request("", "https://orders.example/v1/users")),
        ("a resource above a listed one", request("", "https://orders.example/v")),
        ("another audience's resource", request(PLAIN, "api://orders")),
        ("another audience", request(PLAIN, ORDERS)),
        ("resources of two audiences", request("", ORDERS, TWIN)),
        ("a listed resource as an audience", request("api://orders")),
        ("one that is there, one that is not", request(ORDERS, "https://unknown.example")),
        ("one that is not there, one that is", request("https://unknown.example", ORDERS)),
        ("a name that two audiences have, in a third spelling", request("", "https://TWIN.example")),
    ],
)
def test_rfc_8693_section_2_2_2_any_other_target_is_refused(case: str, asked: ExchangeRequest) -> None:
    with pytest.raises(AudienceDenied):
        target(USUAL, asked)


def test_a_refused_target_does_not_tell_which_names_there_are() -> None:
    said = set()
    for asked in (request(PLAIN, ORDERS), request(PLAIN, "https://no.example"), request("no", ORDERS)):
        with pytest.raises(AudienceDenied) as refused:
            target(USUAL, asked)
        said.add(refused.value.message)
    assert len(said) == 1


def test_a_resource_that_was_not_looked_at_is_never_ignored() -> None:
    with pytest.raises(AudienceDenied):
        POLICY.admit(USUAL, request(PLAIN, ORDERS))


def test_a_client_s_default_audience_is_for_requests_that_name_nothing() -> None:
    client = Client("web", audience=PLAIN)
    assert target(client, request()) == PLAIN
    assert target(client, request(ORDERS)) == ORDERS
    assert target(client, request("", "api://orders")) == ORDERS
    with pytest.raises(AudienceDenied):
        target(client, request("", "https://unknown.example"))
    with pytest.raises(InvalidRequest, match="audience"):
        target(USUAL, request())


def test_rfc_8693_section_2_1_the_type_is_required_unless_the_client_has_a_default() -> None:
    with pytest.raises(InvalidRequest, match="subject_token_type"):
        POLICY.completed(USUAL, request(PLAIN, subject_token_type=""))
    client = Client("web", subject_token_type=JWT)
    assert POLICY.completed(client, request(PLAIN, subject_token_type="")).subject_token_type == JWT


@pytest.mark.parametrize(
    ("case", "client", "name", "asked", "kept"),
    [
        ("ours", USUAL, ORDERS, ("read",), ("read",)),
        ("ours among foreign ones", USUAL, ORDERS, ("openid", "read"), ("read",)),
        ("none is none", USUAL, ORDERS, (), ()),
        ("foreign ones where there are no others", USUAL, TWIN, ("openid",), ()),
        ("foreign ones of a client without any", Client("web", scopes={}), ORDERS, ("openid",), ()),
    ],
)
def test_foreign_scopes_are_dropped_where_the_audience_says_so(
    case: str, client: Client, name: str, asked: tuple[str, ...], kept: tuple[str, ...]
) -> None:
    completed = POLICY.completed(client, request(name, scopes=asked))
    assert completed.scopes == kept, case
    POLICY.admit(client, completed)


@pytest.mark.parametrize(
    ("case", "client", "name", "asked"),
    [
        ("RFC 6749 3.3: foreign ones alone would mean all of ours", USUAL, ORDERS, ("openid", "profile")),
        ("where nothing is dropped", USUAL, PLAIN, ("openid", "read")),
        ("ours, and not this client's", Client("web", scopes={}), ORDERS, ("read", "openid")),
    ],
)
def test_dropped_scopes_never_widen_a_request(case: str, client: Client, name: str, asked: tuple[str, ...]) -> None:
    with pytest.raises(ScopeDenied):
        POLICY.admit(client, POLICY.completed(client, request(name, scopes=asked)))

"""The settings of targets: an audience's resources, foreign scopes, and a client's defaults."""

from pathlib import Path

import pytest

from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load
from tokenmint.config.settings import Settings
from tokenmint.model.drafts import IDENTITY_ASSERTION, IDENTITY_CHAINING
from tokenmint.model.tokens import JWT

TEXT = """
issuer = "https://tokens.example"
[providers.idp]
issuer = "https://idp.example"
audiences = ["app"]
[audiences."https://api.example"]
clients = ["web"]
providers = ["idp"]
{audience}
[audiences."https://other.example"]
clients = ["batch"]
providers = ["idp"]
{other}
[clients.web]
secrets = ["sha256:{hash}"]
{client}
[clients.batch]
secrets = ["sha256:{hash}"]
"""


def read(directory: Path, **parts: str) -> Settings:
    file = directory / "tokenmint.toml"
    given = {"audience": "", "other": "", "client": "", "hash": "a" * 64} | parts
    file.write_text(TEXT.format(**given))
    return load(file, {})


def test_resources_are_kept_in_normal_form(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        audience='resources = ["HTTPS://MCP.example:443/a/../tools", "api://Mcp", "https://api.example/"]',
        other='unknown_scopes = "drop"',
        client='audience = "https://api.example"\nsubject_token_type = "jwt"',
    )
    audience = settings.audiences["https://api.example"]
    assert audience.resources == {"https://mcp.example/tools", "api://mcp", "https://api.example/"}
    assert not audience.drops_foreign_scopes
    assert settings.audiences["https://other.example"].drops_foreign_scopes
    assert settings.clients["web"].audience == "https://api.example"
    assert settings.clients["web"].subject_token_type == JWT
    assert settings.clients["batch"].subject_token_type == settings.clients["batch"].audience == ""


@pytest.mark.parametrize(
    ("case", "parts", "problem"),
    [
        ("RFC 8707 2: a fragment", {"audience": 'resources = ["https://x.example/#a"]'}, "it has a fragment"),
        ("RFC 8707 2: no URI", {"audience": 'resources = ["tools"]'}, "is not an absolute URI"),
        ("another audience's name", {"audience": 'resources = ["HTTPS://other.example/"]'}, "other.example\" too"),
        ("another audience's resource",
         {"audience": 'resources = ["api://mcp"]', "other": 'resources = ["api://MCP"]'}, "too: leave it out"),
        ("a default that is not there", {"client": 'audience = "https://apj.example"'}, "clients.web.audience: there"),
        ("a default that it can't have", {"client": 'audience = "https://other.example"'}, "does not name this client"),
        ("a type that is none", {"client": 'subject_token_type = "saml2"'}, "clients.web.subject_token_type"),
        ("a treatment that is none", {"audience": 'unknown_scopes = "keep"'}, "unknown_scopes"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, case: str, parts: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, **parts)
    assert problem in refused.value.message, case


def test_audiences_whose_names_are_alike_still_start(tmp_path: Path) -> None:
    text = TEXT.replace("https://other.example", "https://API.example/")
    file = tmp_path / "tokenmint.toml"
    file.write_text(text.format(audience="", other="", client="", hash="a" * 64))
    assert len(load(file, {}).audiences) == 2


@pytest.mark.parametrize(
    ("case", "drafts", "name", "clients", "problem"),
    [
        ("no switch", "", "https://as.example", 'web = "x"', f"needs oauth.drafts to have {IDENTITY_ASSERTION}"),
        ("no id for a client", IDENTITY_ASSERTION, "https://as.example", 'batch = "x"', "id_jag.clients: lacks 'web'"),
        ("an empty id", IDENTITY_ASSERTION, "https://as.example", 'web = ""', "id_jag.clients.web: is empty: expected"),
        ("no issuer", IDENTITY_ASSERTION, "as", 'web = "x"', "begins with https://"),
        (
            "an older version",
            IDENTITY_ASSERTION[:-1] + "1",
            "https://as.example",
            'web = "x"',
            "there is no such draft",
        ),
        ("all that it needs", IDENTITY_ASSERTION, "https://as.example", 'web = "x"', ""),
    ],
)
def test_an_id_jag_needs_its_draft_and_the_ids_of_its_clients(
    tmp_path: Path, case: str, drafts: str, name: str, clients: str, problem: str
) -> None:
    file = tmp_path / "tokenmint.toml"
    more = f"""
[oauth]
drafts = {[drafts] if drafts else []}
[audiences."{name}"]
clients = ["web"]
providers = ["idp"]
[audiences."{name}".id_jag]
clients = {{ {clients} }}
"""
    file.write_text(TEXT.format(audience="", other="", client="", hash="a" * 64) + more)
    if not problem:
        assert load(file, {}).audiences[name].format.name == "id_jag"
        return
    with pytest.raises(ConfigurationError) as refused:
        load(file, {})
    assert problem in refused.value.message, case


@pytest.mark.parametrize(
    ("drafts", "name", "rest", "problem"),
    [
        ("", "https://as.example", "", f"jwt_grant: needs oauth.drafts to have {IDENTITY_CHAINING}"),
        (IDENTITY_CHAINING, "as", "", "begins with https://"),
        (IDENTITY_CHAINING, "https://as.example", 'clients = { batch = "x" }', "jwt_grant.clients: has 'batch'"),
        (IDENTITY_CHAINING, "https://as.example", 'clients = { web = "" }', "jwt_grant.clients.web: is empty"),
        (IDENTITY_CHAINING, "https://as.example", 'clients = { web = "x" }', ""),
        (IDENTITY_CHAINING, "https://as.example", "", ""),
    ],
)
def test_a_grant_for_another_server_needs_its_draft_and_the_servers_issuer(
    tmp_path: Path, drafts: str, name: str, rest: str, problem: str
) -> None:
    file = tmp_path / "tokenmint.toml"
    more = f"""
[oauth]
drafts = {[drafts] if drafts else []}
[audiences."{name}"]
clients = ["web"]
providers = ["idp"]
[audiences."{name}".jwt_grant]
{rest}
"""
    file.write_text(TEXT.format(audience="", other="", client="", hash="a" * 64) + more)
    if not problem:
        assert load(file, {}).audiences[name].format.name == "jwt_grant"
        return
    with pytest.raises(ConfigurationError) as refused:
        load(file, {})
    assert problem in refused.value.message


@pytest.mark.parametrize(("bound", "refused"), [("dpop", False), ("mtls", True), ("any", True)])
def test_section_9_8_an_id_jag_is_bound_to_no_certificate(tmp_path: Path, bound: str, refused: bool) -> None:
    file = tmp_path / "tokenmint.toml"
    more = f"""
[oauth]
drafts = ["{IDENTITY_ASSERTION}"]
[audiences."https://as.example"]
clients = ["web"]
providers = ["idp"]
bound = "{bound}"
[audiences."https://as.example".id_jag]
clients = {{ web = "x" }}
"""
    file.write_text(TEXT.format(audience="", other="", client="", hash="a" * 64) + more)
    if not refused:
        assert load(file, {}).audiences["https://as.example"].bound == "dpop"
        return
    with pytest.raises(ConfigurationError, match=r"bound: an ID-JAG is bound to a DPoP key"):
        load(file, {})


@pytest.mark.parametrize(
    ("actors", "problem"),
    [
        ('scopes_by_actor = { bot = ["reed"] }', "the audience has no scope 'reed': did you mean"),
        ('scopes_by_actor = { "" = ["read"] }', "expected the principal of an actor"),
        ('scopes = "union"', "actors.scopes"),
        ('scopes = "intersection"\nsubject_scopes = "profile.scopes"', "actors.subject_scopes: expected 'text'"),
        ('scopes = "intersection"\nactor_scopes = "= actor.("', "actors.actor_scopes"),
        ('subject_scopes = "profile.roles"', "actors.subject_scopes: is used only with scopes = \"intersection\""),
        ('actor_scopes = "actor.profile.roles"', "actors.actor_scopes: is used only with scopes = \"intersection\""),
        ('scopes = "intersection"\nactor_scopes = "actor.profile.roles"\nscopes_by_actor = { bot = ["read"] }',
         "actors.actor_scopes: scopes_by_actor counts instead: leave one of the two out"),
    ],
)  # fmt: skip
def test_rules_for_actors_that_can_not_be_used(tmp_path: Path, actors: str, problem: str) -> None:
    table = f'scopes = ["read"]\n[audiences."https://api.example".actors]\nproviders = ["idp"]\n{actors}'
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, audience=table)
    assert problem in refused.value.message

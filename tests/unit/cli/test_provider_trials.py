"""`tokenmint providers test` against real HTTPS providers, proxies and files: no service runs."""

import json
import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest
import typer
from tests.issuer import Issuer, ec_key, jwk, rsa_key
from tests.providers import NAME, Documents, discovery, provider, proxy
from tests.tls import Authority, authority
from typer.testing import CliRunner

from tokenmint.cli import app, run
from tokenmint.cli.provider_report import MOST_UNUSED

pytestmark = pytest.mark.slow

IDP = Issuer(url="https://partner.example")
CANARY = "canary-of-a-secret"


@pytest.fixture
def idp(tls: ssl.SSLContext) -> Iterator[Documents]:
    with provider(tls, jwks=IDP.jwks()) as documents:
        documents.served["/.well-known/openid-configuration"] = discovery(IDP.url, documents.url("/jwks"))
        yield documents


@dataclass
class Result:
    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass
class Trials:
    """The command with one configuration, which the tests extend."""

    directory: Path
    url: str

    def configure(self, table: str = "", more: str = "", *, source: str | None = None) -> None:
        keys = f'jwks_url = "{source or self.url}"\nallow_private = true\nca_file = "ca.crt"\n'
        text = f'[providers.idp]\nissuer = "{IDP.url}"\naudiences = ["app"]\n{keys}{table}\n{more}'
        (self.directory / "tokenmint.toml").write_text(text)

    def __call__(
        self,
        *arguments: str,
        token: str | None = None,
        output: str = "json",
        words: Sequence[str] = ("providers", "test"),
        **environ: str,
    ) -> Result:
        words = [*words, "--config", str(self.directory / "tokenmint.toml"), "-o", output, *arguments]
        words += ["--token-file", "-"] if token is not None else []
        wrapper = typer.Typer(add_completion=False)

        @wrapper.command()
        def invoke() -> None:
            raise typer.Exit(run(lambda: app(words)))

        done = CliRunner().invoke(wrapper, [], input=token or "", env={"COLUMNS": "200", **environ})
        return Result(done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def trials(tmp_path: Path, idp: Documents) -> Trials:
    made = Trials(tmp_path, idp.url("/jwks"))
    made.configure()
    return made


def token(**changes: Any) -> str:
    return IDP.token(time(), **changes)


def test_the_keys_the_certificates_and_the_clock_of_a_provider_are_shown(
    trials: Trials, idp: Documents, ca: Authority
) -> None:
    found = trials("idp")
    assert (found.status, found.err) == (0, "")
    document = found.document
    assert document["issuers"] == [IDP.url]
    assert (document["key_source"], document["proxy"], document["problem"]) == (trials.url, None, "")
    [key] = document["keys"]
    assert (key["key_id"], key["type"], key["algorithms"]) == ("k1", "RSA 2048", ["RS256"])
    assert (key["usable"], key["reason"]) == (True, "")
    [answer] = document["answers"]
    assert (answer["url"], answer["address"], answer["proxy"], answer["status"]) == (trials.url, "127.0.0.1", "", 200)
    assert abs(answer["clock_difference"]) < 60
    assert [one["subject"] for one in answer["certificates"]] == ["CN=provider", "CN=Test authority"]
    assert [one["issuer"] for one in answer["certificates"]] == ["CN=Test authority"] * 2
    assert datetime.fromisoformat(answer["certificates"][0]["not_after"]).timestamp() > time()
    text = trials("idp", output="text").out
    for words in ("k1", "RSA 2048", "usable", "CN=Test authority", "from 127.0.0.1: 200", "idp: 1 usable key\n"):
        assert words in text
    assert len(idp.asked) == 2


def test_each_document_on_the_way_is_shown(trials: Trials, idp: Documents) -> None:
    config = trials.directory / "tokenmint.toml"
    trials.configure()
    config.write_text(config.read_text().replace("jwks_url", "discovery_url").replace("/jwks", "/doc"))
    idp.served["/doc"] = discovery(IDP.url, idp.url("/jwks"))
    answers = trials("idp").document["answers"]
    assert [answer["url"] for answer in answers] == [idp.url("/doc"), idp.url("/jwks")]
    idp.served["/doc"] = discovery("https://other.example", idp.url("/jwks"))
    refused = trials("idp")
    assert (refused.status, len(refused.document["answers"])) == (1, 1)
    assert "another issuer" in refused.document["problem"]


def test_a_clock_that_differs_is_told(trials: Trials, idp: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.http_servers import Handler

    monkeypatch.setattr(Handler, "date_time_string", lambda *_: formatdate(time() - 600, usegmt=True))
    assert trials("idp").document["answers"][0]["clock_difference"] == pytest.approx(-600, abs=60)
    assert re.search(
        r"the server's is 60\d s behind this machine's: more than skew, 30 s", trials("idp", output="text").out
    )
    idp.headers["Age"] = "600"  # a cache on the way kept it as long
    assert trials("idp").document["answers"][0]["clock_difference"] == pytest.approx(0, abs=60)
    monkeypatch.setattr(Handler, "date_time_string", lambda *_: "no date")
    assert trials("idp").document["answers"][0]["clock_difference"] is None
    monkeypatch.setattr(Handler, "date_time_string", lambda *_: formatdate(time(), usegmt=True))
    idp.headers["Age"] = "9" * 1000  # no age, and no infinite difference
    assert trials("idp").document["answers"][0]["clock_difference"] == pytest.approx(0, abs=60)


def test_a_proxy_of_the_environment_that_is_not_read_is_told(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{CANARY}@proxy.example:3128")
    told = trials("idp", output="text").out
    assert "proxy     none: HTTPS_PROXY is not read, unless proxy.environment = true" in told
    assert "clock     the server's agrees with this machine's" in told
    assert CANARY not in told


def test_each_key_that_is_not_used_is_told_with_its_reason(trials: Trials, idp: Documents) -> None:
    members = [
        jwk(rsa_key(), kid="good"),
        jwk(rsa_key(1), kid="enc", use="enc"),
        {"kid": "none", "kty": "oct", "k": "AA"},
        jwk(rsa_key(2, 1024), kid="short"),
        jwk(ec_key(), kid="ec"),
        "no key",
    ]
    idp.served["/jwks"] = json.dumps({"keys": members}).encode()
    trials.configure('algorithms = ["RS256"]')
    found = trials("idp").document
    assert [(key["key_id"], key["usable"]) for key in found["keys"]] == [("good", True), ("ec", False)]
    assert found["keys"][1]["reason"] == "not for the provider's algorithms: RS256"
    assert found["unused_keys"] == [
        "key 1 ('enc'): its use is not sig",
        "key 2 ('none'): it has private members; its publisher has to replace it",
        "key 3 ('short'): RSA with 1024 bits; 2048 to 8192 are used",
        "key 5: not a JSON object",
    ]
    text = trials("idp", output="text").out
    assert "not used: key 3 ('short')" in text
    trials.configure('algorithms = ["ES384"]')
    unusable = trials("idp")
    assert (unusable.status, unusable.document["problem"]) == (1, "no key is for the provider's algorithms: ES384")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [(b"{}", 1, 'no list "keys"'), (b'{"keys": []}', 1, "no usable key"), (None, 3, "answered 404"), (b"<", 1, "JSON")],
)
def test_a_document_that_is_of_no_use_fails_with_the_reason(
    trials: Trials, idp: Documents, body: bytes | None, status: int, words: str
) -> None:
    idp.served = {} if body is None else {"/jwks": body}
    found = trials("idp", token=token())
    assert (found.status, found.err) == (status, "")
    assert words in found.document["problem"]
    assert found.document["answers"][0]["status"] == (404 if body is None else 200)
    assert found.document["steps"][-1]["reason"] == "KEY_SET_UNAVAILABLE"
    assert words in trials("idp", output="text").out


def test_a_provider_out_of_reach_and_a_strange_certificate_are_told(trials: Trials, tmp_path: Path) -> None:
    trials.configure(source="https://127.0.0.1:9/jwks")
    away = trials("idp")
    assert (away.status, away.document["answers"]) == (3, [])
    assert "could not be fetched" in away.document["problem"]
    trials.configure()
    (tmp_path / "ca.crt").write_bytes(authority("Another").pem)
    strange = trials("idp")
    assert strange.status == 3
    assert "its certificate is not accepted" in strange.document["problem"]


def test_the_same_addresses_are_refused_as_in_the_service(trials: Trials, idp: Documents) -> None:
    config = trials.directory / "tokenmint.toml"
    config.write_text(config.read_text().replace("allow_private = true\n", ""))
    found = trials("idp")
    assert found.status == 1
    assert "not public: set allow_private = true" in found.document["problem"]
    assert not idp.asked


# --- proxies


def test_the_configured_proxy_is_used_and_shown(trials: Trials, idp: Documents, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(CANARY)
    with proxy({f"{NAME}:443": idp.port}, login=f"svc:{CANARY}") as seen:
        table = f'[proxy]\nurl = "http://127.0.0.1:{seen.port}"\nusername = "svc"\npassword_file = "pw"\n'
        trials.configure(more=table, source=f"https://{NAME}/jwks")
        found, text = trials("idp"), trials("idp", output="text")
    assert (found.status, text.status) == (0, 0)
    assert found.document["proxy"] == f"http://127.0.0.1:{seen.port}"
    [answer] = found.document["answers"]
    assert (answer["address"], answer["proxy"]) == ("", f"127.0.0.1:{seen.port}")
    assert [one["subject"] for one in answer["certificates"]] == ["CN=provider", "CN=Test authority"]
    assert f"through the proxy 127.0.0.1:{seen.port}: 200" in text.out
    assert CANARY not in found.out + text.out
    assert len(seen.asked) == 2


def test_a_host_that_the_proxy_does_not_serve_is_told(trials: Trials) -> None:
    def report(hosts: str) -> str:
        trials.configure(
            more=f'[proxy]\nurl = "http://127.0.0.1:1"\nno_proxy = [{hosts}]\n', source="https://idp.invalid/jwks"
        )
        return trials("idp", output="text").out

    assert "proxy     http://127.0.0.1:1\n" in report("")
    assert "proxy     http://127.0.0.1:1, but this host is reached directly" in report('".invalid"')


def test_the_environments_proxy_is_not_used_without_the_setting(trials: Trials, idp: Documents) -> None:
    with proxy({f"{NAME}:443": idp.port}) as seen:
        trials.configure(source=f"https://{NAME}/jwks")
        place = f"http://127.0.0.1:{seen.port}"
        assert trials("idp", HTTPS_PROXY=place).status == 3
        assert not seen.asked
        trials.configure(more="[proxy]\nenvironment = true\n", source=f"https://{NAME}/jwks")
        assert trials("idp", HTTPS_PROXY=place).status == 0
        assert len(seen.asked) == 1


def test_secrets_of_the_fetch_are_sent_and_not_shown(trials: Trials, idp: Documents, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(CANARY)
    idp.served[f"/jwks?code={CANARY}"] = IDP.jwks()
    trials.configure('bearer_token_file = "token"', source=f"{trials.url}?code={CANARY}")
    for output in ("json", "text"):
        found = trials("idp", output=output)
        assert found.status == 0
        assert CANARY not in found.out + found.err
        assert "/jwks?code=***" in found.out
    assert idp.sent("authorization") == [f"Bearer {CANARY}"] * 2


# --- tokens


def steps(found: Result) -> list[tuple[str, str, str]]:
    return [(step["name"], step["outcome"], step["reason"]) for step in found.document["steps"]]


PASSED = [
    f"assertion.{name}" for name in ("form", "issuer", "kind", "signature", "times", "audience", "nonce", "claims")
]


def test_a_token_that_passes_is_shown_step_by_step_and_never_printed(trials: Trials) -> None:
    good = token()
    found, text = trials("idp", token=good), trials("idp", token=good, output="text")
    assert (found.status, text.status) == (0, 0)
    assert steps(found) == [*((name, "passed", "") for name in PASSED), ("policy.provider", "skipped", "")]
    assert found.document["subject"] == "1842"
    assert "the token is accepted, with the subject '1842'" in text.out
    for part in good.split("."):
        assert part not in found.out + text.out + found.err + text.err


def test_a_byte_order_mark_is_no_part_of_a_token(trials: Trials, tmp_path: Path) -> None:
    """Some shells of Windows write one into every file."""
    (tmp_path / "marked").write_text(f"\ufeff{token()}\r\n")
    for found in (trials("idp", "--token-file", str(tmp_path / "marked")), trials("idp", token=f"\ufeff{token()}")):
        assert (found.status, found.document["subject"]) == (0, "1842")


@pytest.mark.parametrize(
    ("changes", "step", "reason"),
    [
        ({"exp": 1_600_000_000}, "assertion.times", "EXPIRED"),
        ({"aud": "other"}, "assertion.audience", "WRONG_AUDIENCE"),
        ({"iss": "https://unknown.example"}, "assertion.issuer", "UNKNOWN_ISSUER"),
        ({"headers": {"kid": "k9"}}, "assertion.signature", "UNKNOWN_KEY"),
        ({"headers": {"typ": "at+jwt"}}, "assertion.kind", "UNSUPPORTED_TOKEN_TYPE"),
    ],
)
def test_a_token_that_is_refused_ends_at_the_step_that_refused_it(
    trials: Trials, changes: dict[str, Any], step: str, reason: str
) -> None:
    found = trials("idp", token=token(**changes))
    assert found.status == 1
    done = PASSED[: PASSED.index(step)]
    assert steps(found) == [*((name, "passed", "") for name in done), (step, "failed", reason)]
    assert found.document["steps"][-1]["detail"]
    assert found.document["subject"] is None
    assert "idp: the token is refused" in trials("idp", token=token(**changes), output="text").out


def test_a_token_that_is_none_of_the_providers_is_told(trials: Trials) -> None:
    other = '[providers.other]\nissuer = "https://other.example"\naudiences = ["app"]\n'
    trials.configure(more=other + f"jwks = '''{Issuer().jwks().decode()}'''\n")
    found = trials("idp", token=token(iss="https://other.example"))
    assert (found.status, steps(found)[-1]) == (1, ("assertion.issuer", "failed", ""))
    assert found.document["steps"][-1]["detail"] == "the token is judged by the rules of the provider other"
    assert trials("idp", token="no token").document["steps"] == [
        {"name": "assertion.form", "outcome": "failed", "reason": "MALFORMED", "detail": "has 1 of the three parts"}
    ]


def test_the_providers_condition_is_a_step_unless_it_needs_a_call(trials: Trials) -> None:
    for condition, given, outcome, status in (
        ("assertion.team == 'a'", {"team": "a"}, "passed", 0),
        ("assertion.team == 'a'", {"team": "b"}, "failed", 1),
        ("assertion.team == 'a'", {}, "failed", 1),
        ("client.id == 'web'", {}, "skipped", 0),
        ("request.audience == 'x'", {}, "skipped", 0),
    ):
        trials.configure(f'condition = "{condition}"')
        found = trials("idp", token=token(**given))
        assert (found.status, steps(found)[-1][:2]) == (status, ("policy.provider", outcome))


def test_the_kind_and_the_nonce_are_arguments(trials: Trials) -> None:
    trials.configure('token_types = ["access_token"]')
    given = token(headers={"typ": "at+jwt"}, nonce="n")
    assert trials("idp", token=given).status == 1
    assert trials("idp", "--kind", "access_token", "--nonce", "n", token=given).status == 0
    found = trials("idp", "--kind", "access_token", "--nonce", "m", token=given)
    assert steps(found)[-1] == ("assertion.nonce", "failed", "WRONG_NONCE")


# --- keys that are not fetched, and mistakes


def test_keys_of_a_file_and_of_the_configuration_are_shown_without_a_fetch(trials: Trials, tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(json.dumps({"keys": [jwk(rsa_key(), kid="k1"), {"kty": "oct"}]}).encode())
    for table in ('jwks_file = "keys"', f"jwks = '''{(tmp_path / 'keys').read_text()}'''"):
        config = f'[providers.idp]\nissuer = "{IDP.url}"\naudiences = ["app"]\n{table}\n'
        (tmp_path / "tokenmint.toml").write_text(config)
        found = trials("idp", token=token())
        assert (found.status, found.document["answers"]) == (0, [])
        assert [key["key_id"] for key in found.document["keys"]] == ["k1"]
        assert found.document["unused_keys"] == ["key 1: its kty is none of RSA, EC, OKP"]


def test_mistakes_are_lines_with_a_way_out(trials: Trials) -> None:
    unknown = trials("ipd")
    assert (unknown.status, unknown.out) == (5, "")
    assert "did you mean [providers.idp]?" in unknown.err
    trials.configure("colour = 1")
    assert trials("idp").status == 2
    assert "providers.idp.colour" in trials("idp").err


def test_config_check_warns_of_unused_keys_and_prints_one_document(trials: Trials, tmp_path: Path) -> None:
    keys = json.dumps({"keys": [jwk(rsa_key(), kid="k1"), {"kty": "oct"}]})
    (tmp_path / "keys").write_text(keys)
    client = "[clients.c]\njwks_file = 'keys'\n"
    for key, value in (("jwks_file", "keys"), ("jwks", keys)):
        table = f'[providers.idp]\nissuer = "{IDP.url}"\naudiences = ["app"]\n{key} = {value!r}\n{client}'
        (tmp_path / "tokenmint.toml").write_text(f'data_dir = "{tmp_path}"\n{table}')
        found = trials(words=["config", "check"])
        assert (found.status, found.err) == (0, "")
        reason = "key 1: its kty is none of RSA, EC, OKP"
        assert found.document["warnings"] == [f"providers.idp.{key}: {reason}", f"clients.c.jwks_file: {reason}"]


def test_of_many_unused_keys_people_see_the_first_and_scripts_see_all(trials: Trials, idp: Documents) -> None:
    idp.served["/jwks"] = json.dumps({"keys": [*([1] * 300), jwk(rsa_key(), kid="k1")]}).encode()
    text = trials("idp", output="text").out
    assert text.count("not used: key ") == MOST_UNUSED
    assert f"not used: {300 - MOST_UNUSED} more, which -o json lists" in text
    assert len(trials("idp").document["unused_keys"]) == 300

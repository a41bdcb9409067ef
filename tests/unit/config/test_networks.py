"""How keys are fetched, as it is configured: headers and tokens, proxies, and what a cluster mounts into a pod."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.http_servers import Handler
from tests.issuer import Issuer, segment
from tests.providers import ending_tls
from tests.providers import provider as api_server
from tests.tls import authority
from tests.unit.config.test_check import HASH, MINIMAL, problems, read

from tokenmint.base.clock import SystemClock
from tokenmint.base.http_url import HttpUrl
from tokenmint.config.entries import Entry, InCluster, catalogue
from tokenmint.config.providers import Judged, judge_provider
from tokenmint.config.settings import Settings
from tokenmint.model.proxies import Proxy
from tokenmint.verification.fetch import HttpFetch
from tokenmint.verification.key_source import KeySource
from tokenmint.verification.keyset import KeySets

PROXY = '[proxy]\nurl = "http://proxy.example:3128"\n'
CANARY = "canary-of-a-secret"


def provider(**keys: object) -> str:
    """Return the usual file, with further keys of its provider."""
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items() if not isinstance(value, dict))
    tables = "".join(
        f"[providers.idp.{key}]\n"
        + "".join(f"{json.dumps(name)} = {json.dumps(text)}\n" for name, text in value.items())
        for key, value in keys.items()
        if isinstance(value, dict)
    )
    return MINIMAL.replace('audiences = ["app"]\n', f'audiences = ["app"]\n{lines}{tables}', 1)


def source(settings: Settings) -> KeySource:
    return settings.providers["idp"].key_source


# --- headers and tokens


def test_headers_and_tokens_come_with_the_fetches(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(CANARY)
    (tmp_path / "key").write_text(CANARY)
    text = provider(
        bearer_token_file="token",
        headers={"User-Agent": "shop/1", "X-Tenant": "7"},
        header_files={"Ocp-Apim-Subscription-Key": "key"},
    )
    made = source(read(tmp_path, text))
    assert made.bearer_token_file == tmp_path / "token"
    assert made.headers == (("User-Agent", "shop/1"), ("X-Tenant", "7"))
    assert made.header_files == (("Ocp-Apim-Subscription-Key", tmp_path / "key"),)
    assert CANARY not in repr(made)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"bearer_token_file": "none"}, "bearer_token_file: "),
        ({"bearer_token_file": "lines"}, "bearer_token_file: "),
        ({"bearer_token_file": f"{CANARY}-in-place-of-its-file"}, "bearer_token_file: "),
        ({"header_files": {"X-Key": f"{CANARY}-in-place-of-its-file"}}, "header_files: "),
        ({"header_files": {"X-Key": "none"}}, "header_files: "),
        ({"header_files": {"X-Key": "lines"}}, "header_files: "),
        ({"headers": {"X-Api-Key": CANARY}}, "headers: X-Api-Key: a secret is not allowed in the file"),
        ({"headers": {"Authorization": CANARY}}, "headers: Authorization: a secret is not allowed in the file"),
        ({"headers": {"X-Session-Token": CANARY}}, "headers: X-Session-Token: a secret is not allowed in the file"),
        ({"headers": {"Cookie": CANARY}}, "headers: Cookie: a secret is not allowed in the file"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "headers: X-A: expected one line"),
        ({"headers": {"X-A": ""}}, "headers: X-A: expected one line"),
        ({"headers": {"X-A": "é"}}, "headers: X-A: expected one line"),
        ({"headers": {"X-A": "a" * 1025}}, "headers: X-A: expected one line"),
        ({"headers": {"X A": "a"}}, "headers: the name of a header has"),
        ({"headers": {"Host": "a"}}, "headers: Host can't be set in the configuration"),
        ({"headers": {"accept-encoding": "br"}}, "headers: accept-encoding can't be set in the configuration"),
        ({"headers": {"Transfer-Encoding": "a"}}, "headers: Transfer-Encoding can't be set in the configuration"),
        ({"header_files": {"Proxy-Authorization": "token"}}, "header_files: Proxy-Authorization can't be set"),
        ({"headers": {"X-A": "a", "x-a": "b"}}, "headers: X-A is set twice"),
        ({"bearer_token_file": "token", "header_files": {"authorization": "token"}}, "header_files: authorization is"),
        ({"headers": {f"X-{number}": "a" for number in range(17)}}, "headers: expected 16 at most"),
        ({"headers": {"X-A": "a"}, "jwks": Issuer().jwks().decode()}, "headers: is for keys that are fetched"),
        ({"bearer_token_file": "token", "jwks": Issuer().jwks().decode()}, "bearer_token_file: is for keys that are"),
        ({"proxy": "none", "jwks": Issuer().jwks().decode()}, "proxy: is for keys that are fetched"),
    ],
)  # fmt: skip
def test_headers_that_can_not_be_sent_are_told_and_never_shown(
    tmp_path: Path, keys: dict[str, Any], expected: str
) -> None:
    (tmp_path / "token").write_text("t")
    (tmp_path / "lines").write_text(f"{CANARY}\n{CANARY}")
    told = problems(tmp_path, provider(**keys))
    assert any(line.startswith(f"providers.idp.{expected}") for line in told), told
    assert CANARY not in str(told)


def test_plain_http_inside_a_network_is_told_with_the_ways_round_it(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, provider(jwks_url="http://10.1.2.3:8080/certs", allow_private=True))
    for way in ("expected https", "ca_file", "loopback", "jwks_file"):
        assert way in told


# --- proxies


def test_a_proxy_is_for_every_provider_and_client_unless_one_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(CANARY)
    text = PROXY + 'username = "svc"\npassword_file = "pw"\nno_proxy = ["inside.example"]\n'
    settings = read(tmp_path, provider() + text)
    shared = source(settings).proxy
    assert shared is not None
    assert (str(shared.url), shared.username, shared.password_file, shared.no_proxy) == (
        "http://proxy.example:3128/",
        "svc",
        tmp_path / "pw",
        ("inside.example",),
    )
    assert settings.proxy == shared
    assert source(read(tmp_path, provider(proxy="none") + text)).proxy is None
    own = source(read(tmp_path, provider(proxy="https://other.example") + text)).proxy
    assert own is not None
    assert (str(own.url), own.username, own.no_proxy) == ("https://other.example/", "", ())


def test_without_a_proxy_nothing_changes_whatever_the_environment_says(tmp_path: Path) -> None:
    environ = {"HTTPS_PROXY": "http://proxy.example", "NO_PROXY": "*", "https_proxy": "http://proxy.example"}
    assert source(read(tmp_path, MINIMAL, environ)).proxy is None


def test_the_environment_is_read_where_the_configuration_says_so(tmp_path: Path) -> None:
    text = MINIMAL + '[proxy]\nenvironment = true\nno_proxy = ["a.example"]\n'
    environ = {"HTTPS_PROXY": f"http://svc:{CANARY}%40@proxy.example:3128", "NO_PROXY": "localhost, .svc,10.0.0.0/8"}
    made = source(read(tmp_path, text, environ)).proxy
    assert made is not None
    assert (str(made.url), made.username) == ("http://proxy.example:3128/", "svc")
    assert made.password is not None
    assert made.password.reveal() == f"{CANARY}@"
    assert made.no_proxy == ("a.example", "localhost", ".svc", "10.0.0.0/8")
    assert CANARY not in repr(made)
    assert hash(made) is not None
    assert source(read(tmp_path, text, {})).proxy is None
    set_here = read(tmp_path, text + 'url = "http://here.example"\n', environ).proxy
    assert set_here is not None
    assert (str(set_here.url), set_here.password) == ("http://here.example/", None)
    assert source(read(tmp_path, text, {"all_proxy": "proxy.example:3128"})).proxy is not None


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ('url = "ftp://proxy.example"', {}, "proxy.url: a proxy of another kind"),
        (
            f'url = "http://svc:{CANARY}@proxy.example"',
            {},
            "proxy.url: a URL with a user or a password is not accepted",
        ),
        ('url = "http://proxy.example/x"', {}, "proxy.url: a proxy has no path"),
        ('username = "u"', {}, "proxy.username: needs a proxy"),
        ('url = "http://p.example"\npassword_file = "pw"', {}, "proxy.password_file: needs proxy.username"),
        ('url = "http://p.example"\nusername = "u"\npassword_file = "none"', {}, "proxy.password_file: "),
        ('url = "http://p.example"\nca_file = "ca"', {}, "proxy.ca_file: is for TLS to the proxy"),
        ('url = "https://p.example"\nca_file = "pw"', {}, "proxy.ca_file: "),
        (
            "environment = true",
            {"HTTPS_PROXY": f"socks5://svc:{CANARY}@p.example"},
            "HTTPS_PROXY: a proxy of another kind",
        ),
    ],
)
def test_what_is_no_proxy_is_told_and_never_shown(
    tmp_path: Path, text: str, environ: dict[str, str], expected: str
) -> None:
    (tmp_path / "pw").write_text(CANARY)
    (tmp_path / "ca").write_bytes(authority().pem)
    told = problems(tmp_path, f"{MINIMAL}[proxy]\n{text}\n", environ)
    assert any(line.startswith(expected) for line in told), told
    assert CANARY not in str(told)


@pytest.mark.parametrize(
    "entry", ["https://a.example", "10.0.0.0/33", "a.example,b.example", "*a.example", "[::g]", ""]
)
def test_an_entry_of_no_proxy_that_matches_nothing_is_told(tmp_path: Path, entry: str) -> None:
    """Its host would be asked for through the proxy, in silence."""
    others = (
        '"*", "a.example", ".a.example", "*.a.example:8443", "10.0.0.0/8", "192.0.2.7:1", "[fd00::1]:1", "fd00::/8"'
    )
    [told] = problems(tmp_path, f'{MINIMAL}{PROXY}no_proxy = ["{entry}", {others}]\n')
    assert told.startswith(f"proxy.no_proxy: {entry!r} matches no host")


def test_a_providers_own_proxy_that_is_none_is_told(tmp_path: Path) -> None:
    assert problems(tmp_path, provider(proxy="socks5://p.example"))[0].startswith(
        "providers.idp.proxy: a proxy of another kind is not supported: expected http://host:port or https://host:port"
    )


def test_clients_keys_are_fetched_through_the_proxy(tmp_path: Path) -> None:
    text = MINIMAL.replace(f'secrets = ["{HASH}"]', 'jwks_url = "https://client.example/jwks"') + PROXY
    assert isinstance(read(tmp_path, text).proxy, Proxy)


# --- within a cluster


def mounted(directory: Path, issuer: object = "https://kubernetes.default.svc.cluster.local") -> dict[str, Entry]:
    """Write what a pod has mounted; return a catalogue that looks for it there."""
    directory.mkdir(exist_ok=True)
    token = ".".join((segment({"alg": "RS256"}), segment({"iss": issuer, "sub": "s"}), "AAAA"))
    (directory / "token").write_text(token)
    (directory / "ca.crt").write_bytes(authority("Cluster").pem)
    place = InCluster(directory=str(directory), jwks_url="https://kubernetes.default.svc/openid/v1/jwks")
    return {"kubernetes": catalogue()["kubernetes"].model_copy(update={"in_cluster": place})}


def judged(entries: dict[str, Entry], proxy: Proxy | None = None, **keys: object) -> Judged:
    table = {"use": "kubernetes", "audiences": ["tokenmint"], **keys}
    return judge_provider("cluster", table, own_issuer="https://me.example", entries=entries, proxy=proxy)


def test_two_lines_are_enough_within_a_cluster(tmp_path: Path) -> None:
    pod = tmp_path / "pod"
    outcome = judged(mounted(pod), Proxy(HttpUrl.parse("http://proxy.example")))
    assert outcome.problems == ()
    assert outcome.provider is not None
    assert list(outcome.provider.issuers) == ["https://kubernetes.default.svc.cluster.local"]
    made = outcome.provider.key_source
    assert (made.kind, made.url) == ("jwks", "https://kubernetes.default.svc/openid/v1/jwks")
    assert (made.ca_file, made.bearer_token_file) == (str(pod / "ca.crt"), pod / "token")
    assert (made.allow_private, made.proxy) == (True, None)


@pytest.mark.parametrize(
    "keys", [{"issuer": "https://oidc.example/1"}, {"issuer": "https://i", "jwks_url": "https://j"}]
)
def test_what_an_operator_names_is_not_replaced_by_what_is_mounted(tmp_path: Path, keys: dict[str, str]) -> None:
    outcome = judged(mounted(tmp_path / "pod"), None, **keys)
    assert outcome.provider is not None
    made = outcome.provider.key_source
    assert list(outcome.provider.issuers) == [keys["issuer"]]
    assert (made.ca_file, made.bearer_token_file, made.allow_private) == (None, None, False)
    assert "kubernetes.default.svc" not in made.url


@pytest.mark.parametrize("fault", ["no folder", "no token", "not a token", "no issuer", "our own issuer", "no ca"])
def test_what_is_not_mounted_is_told(tmp_path: Path, fault: str) -> None:
    pod = tmp_path / "pod"
    issuer: object = {"our own issuer": "https://me.example", "no issuer": 7}.get(fault, "https://i")
    entries = mounted(pod, issuer)
    if fault == "no folder":
        pod.rename(tmp_path / "elsewhere")
    elif fault == "no token":
        (pod / "token").unlink()
    elif fault == "not a token":
        (pod / "token").write_text(CANARY)
    elif fault == "no ca":
        (pod / "ca.crt").unlink()
    outcome = judged(entries)
    assert outcome.provider is None
    words = {"our own issuer": "is tokenmint's own", "no ca": "ca_file"}.get(fault, "In a cluster the mounted token")
    assert any(words in problem for problem in outcome.problems), outcome.problems
    assert CANARY not in str(outcome.problems)


def test_the_shipped_entry_looks_where_every_pod_has_it() -> None:
    place = catalogue()["kubernetes"].in_cluster
    assert place is not None

    assert place.directory == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert place.jwks_url == "https://kubernetes.default.svc/openid/v1/jwks"


async def test_the_keys_of_the_cluster_are_fetched_as_its_server_asks_for_it(tmp_path: Path) -> None:
    """An API server answers authenticated callers alone (403), and 406 to who takes other types than its own."""
    pod, signer = tmp_path / "pod", Issuer(url="https://kubernetes.default.svc.cluster.local")
    mounted(pod)
    ca = authority("Cluster")
    (pod / "ca.crt").write_bytes(ca.pem)
    with api_server(ending_tls(tmp_path, ca), keys=signer.jwks()) as server:
        place = InCluster(directory=str(pod), jwks_url=server.url("/keys"))
        entries = {"kubernetes": catalogue()["kubernetes"].model_copy(update={"in_cluster": place})}

        def judge(request: Handler) -> int:
            if "application/jwk-set+json" not in request.headers.get("accept", ""):
                return 406
            return 200 if request.headers["authorization"] == f"Bearer {(pod / 'token').read_text()}" else 403

        server.judge = judge
        outcome = judged(entries)
        assert outcome.provider is not None
        sets = KeySets({"cluster": outcome.provider.key_source}, fetch=HttpFetch(), clock=SystemClock())
        assert (await sets.refresh("cluster")).key_ids == ("k1",)
        (pod / "token").write_text("the-kubelet-renewed-it")
        assert (await sets.refresh("cluster")).key_ids == ("k1",)
        assert server.sent("authorization")[-1] == "Bearer the-kubelet-renewed-it"

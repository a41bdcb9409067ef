"""The guides, followed: every command, every configuration, every answer and every refusal that they show."""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.guides import (
    ANSWERS,
    GUIDES,
    KINDS,
    LANES,
    Provocation,
    Setting,
    Walk,
    check_configuration,
    check_rows,
    command,
    config,
    token,
    told,
)
from tests.issuer import Issuer, rsa_key, serving
from tests.pages import ROOT, blocks_of

from tokenmint.assertion.verifier import FIREBASE_CUSTOM_TOKEN
from tokenmint.secret import Secret

PAGES = sorted(page for page in GUIDES.glob("*.md") if page.name != "README.md")
ORDERS = "https://orders.example.com"


def keys(entry: str) -> tuple[str, str]:
    """Let an entry's keys be those of the issuer on loopback."""
    line = f'use = "{entry}"'
    return line, line + '\njwks_url = "{issuer}/jwks.json"\nallow_private = true'


# --- what stands in for what each guide takes for granted ---------------------------------------------------------

GOOGLE: dict[str, Any] = {
    "iss": "https://accounts.google.com", "aud": "1234-web.apps.googleusercontent.com", "sub": "110169484474386276334",
    "hd": "example.com", "email": "ada@example.com", "email_verified": True,
}  # fmt: skip

PARTNER: dict[str, Any] = {"iss": "https://login.partner.example", "aud": "orders-app", "sub": "1842"}
FIREBASE: dict[str, Any] = {
    "iss": "https://securetoken.google.com/my-project", "aud": "my-project", "sub": "rYqPw2bTtZ",
    "auth_time": 1700000000, "firebase": {"sign_in_provider": "password"},
}  # fmt: skip
TENANT, OBJECT = "0f2c1f4e-3c8b-4a57-9d57-9b8d1c1b7a10", "5c1b2a34-8d0e-4e57-b0d5-1b8f2f0e9c11"
ENTRA: dict[str, Any] = {
    "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0", "aud": "2d4d11a2-f814-46a7-890a-274a72a7309e",
    "sub": "pairwise", "tid": TENANT, "oid": OBJECT, "ver": "2.0", "upn": "ada@example.com",
}  # fmt: skip
VERSION_1: dict[str, Any] = ENTRA | {
    "iss": f"https://sts.windows.net/{TENANT}/", "aud": "api://2d4d11a2-f814-46a7-890a-274a72a7309e", "ver": "1.0",
}  # fmt: skip
APPLICATION: dict[str, Any] = ENTRA | {
    "sub": "7", "oid": "e1b0d8a1-6a0c-4c51-b47c-2a0c1f5b8d11", "upn": None, "idtyp": "app", "roles": ["Jobs.Run"],
    "azp": "11111111-2222-4333-8444-555555555555",
}  # fmt: skip


def partner() -> tuple[str, str]:
    """Let any other provider's keys be those of the issuer on loopback."""
    line = 'issuer = "https://login.partner.example"'
    return line, line + '\njwks_url = "{issuer}/jwks.json"\nallow_private = true'


def service_account(directory: Path) -> None:
    """Write a service account with a key, as Google's console does."""
    pem = rsa_key(7).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {"type": "service_account", "project_id": "my-project", "private_key": pem,
               "client_email": "signer@my-project.iam.gserviceaccount.com",
               "token_uri": "https://oauth2.googleapis.com/token"}  # fmt: skip
    (directory / "service-account.json").write_text(json.dumps(account))


def site_keys(directory: Path) -> None:
    """Write the secret of a site, and one that is too short."""
    (directory / "site-key").write_text("ab" * 32 + "\n")
    (directory / "short").write_text("ab" * 16 + "\n")


def forged(walk: Walk) -> str:
    """Send what Entra signed for Microsoft Graph, whose signature nobody else can verify."""
    signed = walk.issuer.token(time.time(), **ENTRA)
    return token(text=signed.rpartition(".")[0] + "." + "A" * 342)(walk)


def large_claims(walk: Walk) -> str:
    """Give the profile a claim that is too large for Firebase."""
    claims = json.dumps({"principal": "ada", "identities": [{"provider": "firebase", "subject": "rYqPw2bTtZ"}],
                         "claims": {"tenant": "x" * 1000}})  # fmt: skip
    both = f"tokenmint token exchange --audience {ORDERS} --audience firebase --token-file id-token.txt"
    return told(walk, f"echo '{claims}' | tokenmint profiles put - >put.txt\n{both}")


def other_tenant(walk: Walk) -> str:
    """Serve with tenants, none of which the user is of."""
    text = walk.configuration().replace('project = "my-project"', 'project = "my-project"\ntenants = ["acme"]', 1)
    walk.serve(text=text)
    return token(**FIREBASE)(walk)


SETTINGS: Mapping[str, Setting] = {
    "app-service": Setting([partner()], lambda issuer, now: {"id-token.txt": issuer.token(now, **PARTNER)}, site_keys),
    "entra": Setting(
        [keys("entra")],
        lambda issuer, now: {
            "access-token.txt": issuer.token(now, **ENTRA),
            "id-token.txt": issuer.token(now, **ENTRA),
            "version-1.txt": issuer.token(now, **VERSION_1),
            "application.txt": issuer.token(now, **APPLICATION),
        },
    ),
    "firebase": Setting(
        [keys("firebase"), keys("firebase-session-cookie")],
        lambda issuer, now: {
            "id-token.txt": issuer.token(now, **FIREBASE),
            "session-cookie.txt": issuer.token(
                now, **FIREBASE | {"iss": "https://session.firebase.google.com/my-project"}
            ),
        },
        service_account,
    ),
    "google-sign-in": Setting([keys("google")], lambda issuer, now: {"id-token.txt": issuer.token(now, **GOOGLE)}),
}
SITE = '[audiences."https://orders.azurewebsites.net"'
REFUSED: Mapping[str, Sequence[Provocation]] = {
    "app-service": [
        config('key_file = "site-key"', 'key_file = "web.secret"'),
        config('key_file = "site-key"', 'key_file = "short"'),
        config(SITE + "]\n", SITE + ']\nalgorithm = "RS256"\n'),
        config(SITE, "[audiences.orders"),
        config('algorithms = ["ES256", "RS256"]', 'algorithms = ["ES256"]'),
        command("tokenmint token verify --issuer http://127.0.0.1:8080 --audience x --token-file token.txt"),
    ],
    "entra": [
        token(**ENTRA | {"iss": "https://login.microsoftonline.com/7b0c6a52-52b5-4a0d-8e51-0a5a7a3d2f45/v2.0"}),
        forged,
        token(**ENTRA | {"aud": "api://other"}),
        token(**ENTRA, options="--kind jwt"),
        token(**ENTRA | {"oid": None}),
        token(**ENTRA, _claim_names={"groups": "src1"}),
        token(**ENTRA, audience="https://jobs.example.com"),
        config(f'  "{TENANT}",\n', '  "common",\n'),
    ],
    "firebase": [
        token(iss="signer@my-project.iam.gserviceaccount.com", aud=FIREBASE_CUSTOM_TOKEN),
        token(**FIREBASE | {"iss": "https://securetoken.google.com/other-project"}),
        token(**FIREBASE | {"sub": "somebody"}),
        large_claims,
        token(**FIREBASE, audience="firebase", options="--lifetime 60"),
        config("", "", FIREBASE_AUTH_EMULATOR_HOST="127.0.0.1:9099"),
        config('[audiences.firebase]                    # what callers ask for; any name will do\nclients = ["web"]\n'
               'providers = ["firebase"]', '[audiences.firebase]\nclients = ["web"]\n'
               'providers = ["firebase", "firebase-cookie"]'),
        config('project = "my-project"\nservice_account_file', 'project = "other-project"\nservice_account_file'),
        other_tenant,
    ],
    "google-sign-in": [
        token(**GOOGLE | {"aud": "other.apps.googleusercontent.com"}),
        token(**GOOGLE | {"hd": None}),
        token(**GOOGLE, later=-4000),
        token(text="ya29.a0AfH6SMC"),
        token(**GOOGLE | {"sub": "7"}),
        token(**GOOGLE, options="--nonce n1"),
        config('  "1234-web.apps.googleusercontent.com",\n  "1234-android.apps.googleusercontent.com",\n'
               '  "1234-ios.apps.googleusercontent.com",\n', ""),
    ],
}  # fmt: skip


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving(Issuer()) as running:
        yield running


@pytest.fixture
def walk(request: pytest.FixtureRequest, tmp_path: Path, issuer: Issuer) -> Iterator[Walk]:
    page: Path = request.param
    walking = Walk(page, tmp_path, issuer, SETTINGS[page.stem])
    try:
        yield walking
    finally:
        walking.stop()


each_guide = pytest.mark.parametrize("walk", PAGES, ids=lambda page: page.stem, indirect=True)


@each_guide
def test_a_guide_does_what_it_says(walk: Walk) -> None:
    check_configuration(walk)
    walk.serve()
    assert walk.follow() > 0
    check_rows(walk, REFUSED[walk.page.stem])


def test_where_the_guides_begin(tmp_path: Path, issuer: Issuer) -> None:
    page = GUIDES / "README.md"
    google = {**GOOGLE, "aud": "CHANGE-ME.apps.googleusercontent.com"}
    walk = Walk(page, tmp_path, issuer, Setting((), lambda issuer, now: {"id-token.txt": issuer.token(now, **google)}))
    for name in ("web", "admin"):
        (tmp_path / f"{name}.secret").unlink()
    try:
        for index, block in enumerate(walk.blocks):
            if block.kind != "sh":
                continue
            following = walk.blocks[index + 1] if index + 1 < len(walk.blocks) else None
            walk.step(block, following if following is not None and following.kind in ANSWERS else None)
            if "tokenmint init" in block.text:
                text = walk.config.read_text()
                for table, name in (("clients.web", "web"), ("operators.admin", "admin")):
                    secret = Secret((tmp_path / f"{name}.secret").read_text().strip())
                    text, put = re.subn(
                        rf'(\[{table}\]\nsecrets = \["sha256:)[0-9a-f]+', rf"\g<1>{secret.fingerprint()}", text
                    )
                    assert put == 1
                before, after = keys("google")
                walk.config.write_text(text.replace(before, after.replace("{issuer}", issuer.url)))
        assert walk.service is not None
    finally:
        walk.stop()


# --- nothing in them is left unexecuted ---------------------------------------------------------------------------


@pytest.mark.parametrize("page", [*PAGES, GUIDES / "README.md"], ids=lambda page: page.stem)
def test_every_block_is_one_that_something_executes(page: Path) -> None:
    blocks = blocks_of(page)
    for index, block in enumerate(blocks):
        place = f"{page.name}, line {block.line}"
        if not block.kind:
            picture = re.search(
                r"^\s*(\$|tokenmint|curl|make|npm|npx|pip|export|echo|openssl)\b", block.text, re.MULTILINE
            )
            assert picture is None, f"{place}: commands in a picture"
            continue
        assert block.kind in KINDS, f"{place}: nothing executes {block.kind}"
        if block.kind in ("sh", "python"):
            assert block.mark in ("", *LANES), f"{place}: there is no lane {block.mark!r}"
        elif block.kind == "toml":
            assert block.mark in ("", "alternative", *LANES), f"{place}: nothing loads it"
        elif block.kind in ANSWERS:
            assert index > 0, f"{place}: what is this the answer of?"
            assert blocks[index - 1].kind in ("sh", "python"), f"{place}: what is this the answer of?"
        elif block.kind == "yaml":
            shown = [line.strip() for line in block.text.splitlines()]
            whole = [line.strip() for line in (ROOT / "deploy" / "envoy" / "envoy.yaml").read_text().splitlines()]
            held = any(whole[at : at + len(shown)] == shown for at in range(len(whole)))
            assert held, f"{place}: is no excerpt of deploy/envoy/envoy.yaml"
        if block.mark in LANES:
            assert page.name in (ROOT / LANES[block.mark]).read_text(), f"{place}: its lane does not read this page"


def test_every_guide_is_listed_and_has_its_stand_ins_and_its_refusals() -> None:
    listed = (GUIDES / "README.md").read_text()
    assert all(f"({page.name})" in listed for page in PAGES)
    assert {page.stem for page in PAGES} == SETTINGS.keys() == REFUSED.keys()


@pytest.mark.parametrize(
    ("page", "lane"),
    sorted({(page.name, block.mark) for page in PAGES for block in blocks_of(page) if block.mark in LANES}),
)
def test_what_needs_more_than_python(page: str, lane: str) -> None:
    target = {"firebase": "test-firebase", "envoy": "test-interop"}[lane]
    pytest.skip(f"the blocks of {page} that are marked {lane!r} are executed by `make {target}`")


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target

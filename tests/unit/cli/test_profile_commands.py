"""Profiles by the command line against a real service: single ones, files of many, differences, erasures."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.forked import ForkedService
from tests.issuer import Issuer, serving
from tests.process import configure
from tests.unit.cli.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.processes]


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    directory = tmp_path_factory.mktemp("profiles")
    with serving(Issuer()) as issuer:
        configure(directory, issuer.url)
        with ForkedService(directory) as service:
            yield Terminal(service, issuer, directory)


def profile(principal: str, **changes: Any) -> str:
    identities = [{"provider": "idp", "subject": f"of-{principal}"}]
    return json.dumps({"principal": principal, "identities": identities, **changes})


def test_profiles_through_their_life(terminal: Terminal, tmp_path: Path) -> None:
    status, out, err = terminal("profiles", "put", "-", stdin=profile("life", claims={"tenant": "t"}))
    assert (status, json.loads(out)["claims"]) == (0, {"tenant": "t"}), err
    changed = profile("life", roles=["clerk"])
    changed = changed.replace('"of-life"}', '"of-life"}, {"provider": "idp", "subject": "second-life"}')
    (tmp_path / "p.json").write_text(changed)
    status, out, err = terminal("profiles", "put", str(tmp_path / "p.json"))
    assert status == 0, err
    stored = json.loads(out)
    assert stored["roles"] == ["clerk"]
    assert len(stored["identities"]) == 2
    status, out, _ = terminal("profiles", "get", "life")
    assert (status, json.loads(out)["principal"]) == (0, "life")
    status, out, _ = terminal("profiles", "list")
    assert status == 0
    assert "life" in out
    assert "idp/of-life" in out
    status, out, _ = terminal("profiles", "list", "-o", "json")
    assert "life" in [item["principal"] for item in json.loads(out)]
    status, out, _ = terminal("profiles", "link", "life", "google", "7")
    assert len(json.loads(out)["identities"]) == 3
    status, out, _ = terminal("profiles", "unlink", "life", "google", "7")
    assert len(json.loads(out)["identities"]) == 2
    status, out, _ = terminal("profiles", "revoke-tokens", "life")
    assert "tokens of life issued" in out
    assert terminal("profiles", "delete", "life")[:2] == (0, "deleted life\n")
    status, _, err = terminal("profiles", "get", "life")
    assert (status, "NOT_FOUND" in err) == (5, True)
    status, _, err = terminal("profiles", "put", "-", stdin=profile("life"))
    assert status == 1
    assert "replace_deleted" in err
    assert terminal("profiles", "put", "-", "--replace-deleted", stdin=profile("life"))[0] == 0


def test_a_profile_that_is_disabled_and_enabled_keeps_its_content(terminal: Terminal) -> None:
    given = profile("paused", roles=["clerk"], claims={"tenant": "t"})
    assert terminal("profiles", "put", "-", stdin=given)[0] == 0
    assert terminal("profiles", "disable", "paused")[:2] == (0, "disabled paused\n")
    stored = json.loads(terminal("profiles", "get", "paused")[1])
    assert stored["disabled"] is True
    assert (stored["roles"], stored["claims"]) == (["clerk"], {"tenant": "t"})
    assert terminal("profiles", "enable", "paused")[:2] == (0, "enabled paused\n")
    status, out, _ = terminal("profiles", "disable", "paused", "-o", "json")
    assert (status, json.loads(out)["disabled"]) == (0, True)
    status, out, _ = terminal("profiles", "enable", "paused", "-o", "json")
    again = json.loads(out)
    assert (again["disabled"], again["roles"], again["claims"]) == (False, ["clerk"], {"tenant": "t"})
    assert [item["subject"] for item in again["identities"]] == ["of-paused"]


def test_a_principal_without_a_profile_is_neither_disabled_nor_enabled(terminal: Terminal) -> None:
    for command in ("disable", "enable"):
        status, _, err = terminal("profiles", command, "unknown-to-all")
        assert (status, "NOT_FOUND" in err) == (5, True)


def test_imports(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    file.write_text("\n".join([profile("im1"), "", profile("im2"), profile("im1")]) + "\n")
    status, out, err = terminal("profiles", "import", str(file))
    assert (status, out) == (0, "created 2, replaced 1, refused 0\n"), err
    assert not (tmp_path / "many.jsonl.import").exists()
    status, _, err = terminal("profiles", "import", "-", stdin=profile("im4") + "\n" + profile("no name"))
    assert (status, "-:2: principal: is required" in err, "nothing was imported" in err) == (2, True, True)
    assert terminal("profiles", "get", "im4")[0] == 5
    status, out, err = terminal("profiles", "import", "-", "--dry-run", stdin=profile("im4"))
    assert (status, out) == (0, "would create 1, would replace 0, would refuse 0\n"), err
    stolen = json.dumps({"principal": "thief", "identities": [{"provider": "idp", "subject": "of-im1"}]})
    status, out, _ = terminal("profiles", "import", "-", stdin="\n" + stolen)
    assert (status, "refused 1" in out, "ALREADY_EXISTS" in out) == (1, True, True)
    assert out.splitlines()[-1].startswith("2 ")
    strange = json.dumps({"principal": "im3", "identities": [{"provider": "strange", "subject": "1"}]})
    status, out, err = terminal("profiles", "import", "-", "-o", "json", stdin=strange)
    told = json.loads(out)
    assert told.pop("seconds") >= 0
    assert told == {
        "created_count": "1", "updated_count": "0", "failed_count": "0", "failures": [],
        "unknown_providers": ["strange"], "dry_run": False, "resumed_after": 0,
    }  # fmt: skip
    assert "no provider 'strange' is configured" in err
    for text, expected in (("{", "is not JSON"), ('{"colour": 1}', "colour")):
        status, _, err = terminal("profiles", "import", "-", stdin=text)
        assert (status, expected in err, "Traceback" in err) == (2, True, False)
    assert terminal("profiles", "import", str(tmp_path / "none"))[0] == 2


def test_a_profile_that_no_message_holds_is_named_by_its_line(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "large.jsonl"
    file.write_text(profile("small") + "\n" + profile("large", claims={"n": [0] * 8000}) + "\n")
    for arguments in ((), ("--dry-run",)):
        status, _, err = terminal("profiles", "import", str(file), *arguments)
        assert (status, f"{file}:2: takes 88" in err, "limits.message_bytes" in err) == (2, True, True), err


def test_what_was_exported_is_imported_as_it_was(terminal: Terminal, tmp_path: Path) -> None:
    claims = {"text": "ü\u2028", "big": 1e300, "number": 3, "ratio": 0.5, "nested": {"a": [1, None, True]}}
    lines = profile("ex1", claims=claims, roles=["b", "a"]) + "\n" + profile("ex2", disabled=True)
    assert terminal("profiles", "import", "-", stdin=lines)[0] == 0
    file = tmp_path / "all.jsonl"
    status, out, err = terminal("profiles", "export", str(file))
    assert (status, "wrote" in out) == (0, True), err
    assert file.stat().st_mode & 0o77 == 0
    assert terminal("profiles", "export", str(file))[0] == 2  # it exists
    foreign = tmp_path / "foreign"
    foreign.touch(mode=0o666)
    (tmp_path / "all.jsonl.new").symlink_to(foreign)
    assert terminal("profiles", "export", str(file), "--force", "-o", "json")[0] == 0
    assert (foreign.read_text(), file.is_symlink(), file.stat().st_mode & 0o77) == ("", False, 0)
    exported = {document["principal"]: document for document in map(json.loads, file.read_text().splitlines())}
    assert exported["ex1"] == json.loads(profile("ex1", claims=claims, roles=["b", "a"]))
    assert exported["ex2"] == json.loads(profile("ex2", disabled=True))
    assert terminal("profiles", "diff", str(file))[:2] == (0, "no differences\n")
    status, out, _ = terminal("profiles", "import", str(file))
    assert (status, out) == (0, f"created 0, replaced {len(exported)}, refused 0\n")
    assert terminal("profiles", "diff", str(file))[0] == 0
    status, out, _ = terminal("profiles", "export", "-")
    assert {json.loads(line)["principal"] for line in out.splitlines()} == set(exported)


def test_a_file_is_compared_with_the_store(terminal: Terminal, tmp_path: Path) -> None:
    assert terminal("profiles", "import", "-", stdin=profile("df1") + "\n" + profile("df2"))[0] == 0
    _, out, _ = terminal("profiles", "export", "-")
    lines = [line for line in out.splitlines() if json.loads(line)["principal"] not in ("df1", "df2")]
    text = "\n".join([*lines, profile("df1", roles=["new"]), profile("df3")])
    status, out, _ = terminal("profiles", "diff", "-", stdin=text)
    assert status == 1
    rows = [line.split() for line in out.splitlines()[1:]]
    first, second = str(len(lines) + 1), str(len(lines) + 2)
    assert rows == [["changed", "df1", first, "roles"], ["missing", "df2", "-", "-"], ["added", "df3", second, "-"]]
    status, out, _ = terminal("profiles", "diff", "-", "-o", "json", stdin=text)
    assert (status, json.loads(out)["missing"]) == (1, ["df2"])
    assert terminal("profiles", "diff", "-", stdin="{")[0] == 2


def test_a_person_is_erased(terminal: Terminal) -> None:
    assert terminal("profiles", "put", "-", stdin=profile("er1"))[0] == 0
    status, _, err = terminal("profiles", "erase", "er1")
    assert (status, "--yes" in err) == (2, True)
    status, out, err = terminal("profiles", "erase", "er1", "--yes")
    assert status == 0, err
    for text in ("erased er1: profile, 1 identities", "keyed hash", "audit events still name", "100000", "32 MiB"):
        assert text in out
    assert terminal("profiles", "get", "er1")[0] == 5
    status, _, err = terminal("profiles", "create", "-", stdin=profile("er1"))
    assert (status, "was deleted" in err) == (1, True)
    status, out, _ = terminal("profiles", "erase", "never", "--yes", "-o", "json")
    assert (status, json.loads(out)["found"]) == (5, False)
    status, _, err = terminal("profiles", "erase", "er1", "--yes", "--allow-return")
    assert (status, "replace_deleted" in err) == (1, True)
    assert terminal("profiles", "create", "-", "--replace-deleted", stdin=profile("er1"))[0] == 0
    status, out, _ = terminal("profiles", "erase", "er1", "--yes", "--allow-return")
    assert (status, "on_missing_profile" in out) == (0, True)
    assert terminal("profiles", "create", "-", stdin=profile("er1"))[0] == 0

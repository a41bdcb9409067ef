"""Imports by the command line: their parts, repetitions and places, against a service made for one test."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2
from tests.unit.cli.serving import Served, as_nobody, as_root, call, refusal, served

pytestmark = pytest.mark.slow


@pytest.fixture
def service() -> Iterator[Served]:
    with served() as running:
        yield running


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    as_nobody(monkeypatch, tmp_path)


def many(tmp_path: Path, count: int) -> Path:
    file = tmp_path / "many.jsonl"
    file.write_text("\n\n" + "\n".join(json.dumps({"principal": f"p{number}"}) for number in range(count)))
    return file


def test_an_import_is_sent_in_parts_and_names_lines(service: Served, tmp_path: Path) -> None:
    service.profiles.refused = {"p2", "p1500"}
    status, out, err = call("profiles", "import", str(many(tmp_path, 2500)), **as_root(service))
    assert (status, "refused 2" in out, err) == (1, True, "")
    assert [line.split()[:2] for line in out.splitlines()[-2:]] == [["5", "p2"], ["1503", "p1500"]]  # two empty lines
    assert sorted(service.profiles.sizes) == [500, 1000, 1000]
    assert sorted(service.profiles.principals) == sorted(f"p{number}" for number in range(2500))
    assert max(service.profiles.bytes) < 32 * 1024


def test_the_order_of_lines_counts_where_a_name_is_on_two_of_them(service: Served, tmp_path: Path) -> None:
    file = many(tmp_path, 3000)
    file.write_text(file.read_text() + '\n{"principal": "p0"}\n')
    assert call("profiles", "import", str(file), **as_root(service))[0] == 0
    assert service.profiles.principals == [*(f"p{number}" for number in range(3000)), "p0"]


def test_an_import_is_tried_again_when_the_service_says_so(service: Served, tmp_path: Path) -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(nanos=1_000_000))
    for code in (code_pb2.UNAVAILABLE, code_pb2.RESOURCE_EXHAUSTED):
        service.profiles.refusals.append(refusal(code, "try again", retry))
    status, out, err = call("profiles", "import", str(many(tmp_path, 3000)), **as_root(service))
    assert (status, out, err) == (0, "created 3000, replaced 0, refused 0\n", "")
    assert len(service.profiles.sizes) == 5


def test_an_interrupted_import_goes_on_where_it_was(service: Served, tmp_path: Path) -> None:
    file = many(tmp_path, 4000)
    file.write_text(file.read_text() + '\n{"principal": "p0"}')  # a repeated name: one part after the other
    service.profiles.refusals += [None, None, refusal(code_pb2.INTERNAL, "broken")]
    status, out, err = call("profiles", "import", str(file), **as_root(service))
    assert (status, out) == (1, "")
    assert "2000 of 4001 profiles are acknowledged: run the same command again" in err
    sent = len(service.profiles.principals)
    other = call("profiles", "import", str(file), **(as_root(service) | {"TOKENMINT_TARGET": "127.0.0.1:1"}))
    assert (other[0], "belongs to an import into" in other[2]) == (2, True)
    status, out, err = call("profiles", "import", str(file), **as_root(service))
    assert (status, out) == (0, "created 4001, replaced 0, refused 0\n")
    assert "goes on at line 2003" in err
    assert service.profiles.principals[sent:] == [*(f"p{number}" for number in range(2000, 4000)), "p0"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("many")] == ["many.jsonl"]


def test_a_file_that_was_changed_is_imported_from_its_start(service: Served, tmp_path: Path) -> None:
    file = many(tmp_path, 2000)
    file.write_text(file.read_text() + '\n{"principal": "p0"}')
    service.profiles.refusals += [None, refusal(code_pb2.INTERNAL, "broken")]
    assert call("profiles", "import", str(file), **as_root(service))[0] == 1
    file.write_text(file.read_text().replace('"p7"', '"other"'))
    status, _, err = call("profiles", "import", str(file), **as_root(service))
    assert (status, "--from-start" in err) == (2, True)
    for arguments, count in ((("--resume-from", "2000"), 4), (("--from-start",), 2001)):
        service.profiles.principals.clear()
        status, _, err = call("profiles", "import", str(file), *arguments, **as_root(service))
        assert (status, len(service.profiles.principals)) == (0, count), err
    place = tmp_path / "many.jsonl.import"
    right = {"profiles": 1, "sha256": "0", "target": service.target}
    wrong: tuple[dict[str, object], ...] = (
        {"profiles": -1},
        {"profiles": "1"},
        {"profiles": True},
        {"created": "x"},
        {"sha256": 1},
        {"target": []},
    )
    for text in ("{", "[" * 4000, "\udcff", "", *(json.dumps(right | one) for one in wrong)):
        place.write_bytes(text.encode(errors="surrogateescape"))
        status, _, err = call("profiles", "import", str(file), **as_root(service))
        assert (status, "delete it, or import --from-start" in err) == (2, True), (text[:80], err)


def test_an_import_gives_up_when_nothing_is_acknowledged(tmp_path: Path) -> None:
    target = {"TOKENMINT_TARGET": "127.0.0.1:1", "TOKENMINT_CLIENT_ID": "root", "TOKENMINT_CLIENT_SECRET": "s"}
    status, _, err = call("profiles", "import", str(many(tmp_path, 3)), "--give-up", "1", **target)
    assert (status, "0 of 3 profiles are acknowledged" in err, "can't be reached" in err) == (3, True, True)


def test_a_service_that_knows_one_profile_in_each_message_is_told_from_one_that_refuses(
    service: Served, tmp_path: Path
) -> None:
    service.profiles.old = True
    status, _, err = call("profiles", "import", str(many(tmp_path, 3)), **as_root(service))
    assert (status, "older version" in err) == (2, True)


def test_lines_are_bounded_and_every_bad_one_is_named(service: Served) -> None:
    good, long = b'{"principal": "a"}', b'{"principal": "' + b"x" * (1 << 20) + b'"}'
    bad = [
        long,
        b"{",
        b'{"principal": "a b"}',
        b'{"principal": "a", "roles": [""]}',
        b'{"principal": "a", "roles": "r"}',
    ]
    bad += [
        b'{"principal": "a", "disabled": 1}',
        b'{"principal": "a", "claims": {"sub": "x"}}',
        b'{"claims": {"x": NaN}}',
    ]
    status, _, err = call("profiles", "import", "-", stdin=b"\n".join([good, *bad, good]), **as_root(service))
    assert status == 2
    for number, text in enumerate(
        ("longer than", "not JSON", "principal", "roles[0]", "roles", "disabled", "claims.sub", "principal"), start=2
    ):
        (line,) = [line for line in err.splitlines() if f"-:{number}: " in line]
        assert text in line
    assert service.profiles.principals == []


def test_one_broken_line_and_nothing_is_imported(service: Served) -> None:
    text = '{"principal": "a"}\n' + "{\n" * 30
    status, _, err = call("profiles", "import", "-", stdin=text, **as_root(service))
    assert status == 2
    assert "-:2: is not JSON" in err
    assert "-:31" not in err
    assert "and 10 more: lines 22-31" in err
    assert "nothing was imported" in err
    assert service.profiles.principals == []

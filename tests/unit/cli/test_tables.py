"""Tables for people: they fit a terminal of 80 columns, no word of them is cut, and text of others controls nothing."""

import io
from collections.abc import Sequence

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rich.cells import cell_len
from rich.console import Console

from tokenmint.cli.tables import Cell, Value, enum_word, print_message, print_table, state
from tokenmint.v1 import signing_key_pb2, token_exchange_service_pb2

KEY = "ixN78XyxnQjmQuagB3GQ4Xo9p3xtAJym5cY9N6_AuCM"
OTHER = "-fHv5rlDzYVj9CMrrj9ORc0oea6Ap7Apb0eLkFQmVz8"
PERSON = "https://login.microsoftonline.com/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0"
KEYS = ("key id", "algorithm", "state", "published", "signs from", "withdrawn")
PEOPLE = ("principal", "state", "roles", "identities", "changed")
AGO = Cell("2026-11-30 09:36:14Z (14 s ago)", short="14 s ago")
AHEAD = Cell("2026-12-30 09:36:14Z (in 30 d)", short="in 30 d")
ROWS: dict[str, tuple[Sequence[str], list[Sequence[Value]], Sequence[str]]] = {
    "keys": (
        KEYS,
        [(KEY, "ES256", state("prepared"), AGO, AHEAD, "-"), (OTHER, "RS256", state("active"), AGO, AGO, AHEAD)],
        (),
    ),
    "profiles": (
        PEOPLE,
        [("ada", state("enabled"), "clerk, auditor, approver", f"google/1842, entra/{KEY}", AGO),
         ("b3f0e3c2-8c50-4a9e-9f50-2f0a1f6f6a2e", state("disabled"), "", "idp|1", AHEAD)],
        ("roles", "identities"),
    ),
    "providers": (
        ("provider", "issuer", "keys", "fetched", "last error"),
        [("entra", PERSON, "12", AGO, "the certificate is not trusted: unable to get local issuer certificate")],
        ("last error",),
    ),
    "explanation": (
        ("step", "outcome", "reason", "what was compared"),
        [("assertion.signature", state("passed"), "", ""),
         ("assertion.audience", state("failed"), "WRONG_AUDIENCE", f"the token is for {KEY}, expected one of {OTHER}")],
        ("what was compared",),
    ),
}  # fmt: skip


def shown(kind: str, width: int, *, lead: int = 1) -> str:
    columns, rows, folded = ROWS[kind]
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None, highlight=False)
    print_table(columns, rows, "nothing", folded=folded, lead=lead, console=console)
    return file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("kind", ROWS)
def test_a_table_fits_and_no_word_of_it_is_wrapped_or_cut(kind: str, width: int) -> None:
    text = shown(kind, width)
    for row in ROWS[kind][1]:
        for cell in row:
            form = text if str(cell) in text else " ".join(text.split())
            short = cell.short if isinstance(cell, Cell) else ""
            words = [word for word in str(cell).split() if len(word) <= width - 20]
            assert all(word in form for word in words) or (short and short in form), (cell, text)
    assert max(map(cell_len, text.splitlines())) <= max(width, 2 + 10 + 2 + len(PERSON)), text


def test_eighty_columns_hold_the_keys_with_their_states_and_times() -> None:
    text = shown("keys", 80, lead=3)
    assert max(map(len, text.splitlines())) <= 80
    assert f"{KEY}  ES256  prepared\n" in text
    assert "  signs from  2026-12-30 09:36:14Z (in 30 d)\n" in text
    assert "-\n" not in text


def test_a_narrower_table_has_shorter_times() -> None:
    assert "2026-11-30 09:36:14Z (14 s ago)" in shown("keys", 170)
    narrow = shown("keys", 110)
    assert len(narrow.splitlines()) == 3
    assert "14 s ago" in narrow
    assert "2026" not in narrow


def test_without_a_terminal_a_row_is_a_line_whatever_its_length(capsys: pytest.CaptureFixture[str]) -> None:
    columns, rows, folded = ROWS["explanation"]
    print_table(columns, rows, "nothing", folded=folded)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert f"the token is for {KEY}, expected one of {OTHER}" in lines[2]
    print_table(columns, [], "nothing")
    assert capsys.readouterr().out == "nothing\n"


def test_text_of_others_controls_neither_terminal_nor_colours() -> None:
    file = io.StringIO()
    console = Console(file=file, width=40, force_terminal=True, highlight=False)
    rows: list[Sequence[Value]] = [("a\x1b[2J", Cell("[red]x[/]" * 9, short="\x9b1")), ("b\u202e" * 30, "[bold]")]
    print_table(("one", "two"), rows, "", console=console)
    text = file.getvalue()
    assert "\x1b[2J" not in text
    assert not {"\x9b", "\u202e"} & set(text)
    assert "[red]x[/]" in text


@pytest.mark.parametrize(
    ("message", "field", "word"),
    [
        (signing_key_pb2.SigningKey.State.DESCRIPTOR, signing_key_pb2.SigningKey.STATE_RETIRING, "retiring"),
        (token_exchange_service_pb2.ExplainStep.Outcome.DESCRIPTOR, 3, "skipped"),
        (signing_key_pb2.SigningKey.State.DESCRIPTOR, 0, "unspecified"),
        (signing_key_pb2.SigningKey.State.DESCRIPTOR, 77, "77"),  # of a later version
    ],
)
def test_the_word_of_a_state(message: object, field: int, word: str) -> None:
    assert enum_word(message, field) == word


def test_a_message_is_shown_field_by_field(capsys: pytest.CaptureFixture[str]) -> None:
    key = signing_key_pb2.SigningKey(key_id=KEY, state=signing_key_pb2.SigningKey.STATE_ACTIVE)
    key.create_time.CopyFrom(Timestamp(seconds=1_700_000_000))
    key.public_jwk.kty = "EC"
    print_message(key, "text")
    text = capsys.readouterr().out
    assert "active" in text
    assert "STATE_" not in text
    assert "2023-11-14 22:13:20Z" in text
    assert '{"kty": "EC"}' in text
    assert "planned time" not in text

"""Tables for people. A word, such as a key id, is never wrapped or cut: a table that is too wide becomes a list."""

import json
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from tokenmint.cli.output import as_dict, plain, print_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

GAP: Final = 2  # columns between two cells
INDENT: Final = 2
STYLES: Final = {
    "active": "green", "prepared": "cyan", "retiring": "yellow", "retired": "dim", "revoked": "red",
    "enabled": "green", "disabled": "red", "usable": "green",
    "passed": "green", "failed": "red", "skipped": "dim",
    "done": "green", "refused": "red", "begun": "cyan",
}  # fmt: skip
"""The colours of states. The words say the same without them."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of a table."""

    text: str
    short: str = ""
    """The form for a narrow table; "" if there is only one."""
    style: str = ""

    def __str__(self) -> str:
        return self.text


Value: TypeAlias = Cell | str


def state(name: str) -> Cell:
    """Return a state in its colour."""
    return Cell(name, style=STYLES.get(name, ""))


def terminal(console: "Console | None" = None) -> "Console":
    """Return the console of standard output. Without a terminal it has neither a width nor, unless forced, colours."""
    from rich.console import Console

    return console or Console(highlight=False)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Value]],
    empty: str,
    *,
    folded: Iterable[str] = (),
    lead: int = 1,
    console: "Console | None" = None,
) -> None:
    """Print a table, or ``empty`` if it has no rows.

    On a terminal that is too narrow, times become shorter; then the cells of the ``folded`` columns are wrapped between
    words; and if that is not enough, each row becomes a block, with its first ``lead`` cells as the heading.
    """
    cells = [[_clean(cell) for cell in row] for row in rows]
    if not cells:
        print(empty)
        return
    output = terminal(console)
    width = output.width if output.is_terminal and (console is not None or sys.stdout.isatty()) else None
    wraps = [column in set(folded) for column in columns]
    shortened = [[Cell(cell.short or cell.text, style=cell.style) for cell in row] for row in cells]
    for attempt, wrapping in ((cells, False), (shortened, False), (shortened, True)):
        widths = _widths(columns, attempt, [wrapping and one for one in wraps], width)
        if widths is not None:
            _print_rows(output, columns, attempt, widths)
            return
    _print_blocks(output, columns, cells, lead, width or 80)


def wrapped(text: str) -> str:
    """Return a paragraph in lines that fit the terminal; as one line without a terminal."""
    output = terminal()
    return "\n".join(textwrap.wrap(text, output.width)) if output.is_terminal and sys.stdout.isatty() else text


def print_message(message: Message, output: str) -> None:
    """Print one message: as JSON, or field by field."""
    if output == "json":
        print_json(as_dict(message))
        return
    rows = [
        (field.name.replace("_", " "), _field(message, field))
        for field in message.DESCRIPTOR.fields
        if field.is_repeated or not field.has_presence or message.HasField(field.name)
    ]
    print_table(("field", "value"), rows, "nothing", folded=("value",))


def _field(message: Message, field: Any) -> Value:
    from tokenmint.cli.times import when

    value: Any = getattr(message, field.name)
    if field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
        return str(when(message, field.name))
    if field.enum_type is not None and not field.is_repeated:
        return state(enum_word(field.enum_type, value))
    if field.message_type is not None:
        value = as_dict(message)[field.name] if field.is_repeated else MessageToDict(value)
    if isinstance(value, str):
        return value or "-"
    if not isinstance(value, (bool, int, float, dict)):
        value = list(value)
        if all(isinstance(item, str) for item in value):
            return ", ".join(value) or "-"
    return json.dumps(value, ensure_ascii=False) if value or isinstance(value, (bool, int)) else "-"


def enum_word(kind: Any, number: int) -> str:
    """Return the name of an enum's value for people: lower case, without the part that all names begin with."""
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    value = kind.values_by_number.get(number)
    return value.name.removeprefix(prefix).lower() if value is not None else str(number)


def _clean(cell: Value) -> Cell:
    if isinstance(cell, Cell):
        return Cell(plain(cell.text), plain(cell.short), cell.style)
    return Cell(plain(cell))


def _widths(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], wraps: Sequence[bool], width: int | None
) -> list[int] | None:
    """Return the widths of the columns, or None if the table can't have ``width``; without ``width`` it always can."""
    from rich.cells import cell_len

    natural, least = [], []
    for place, name in enumerate(columns):
        texts = [name, *(row[place].text for row in rows)]
        natural.append(max(map(cell_len, texts)))
        longest = max((cell_len(word) for text in texts for word in text.split()), default=0)
        least.append(min(natural[-1], max(longest, 16)) if wraps[place] else natural[-1])
    if width is None:
        return natural
    left = width - sum(least) - GAP * (len(columns) - 1)
    if left < 0:
        return None
    for place in range(len(columns)):
        more = min(left, natural[place] - least[place])
        least[place] += more
        left -= more
    return least


def _print_rows(
    output: "Console", columns: Sequence[str], rows: Sequence[Sequence[Cell]], widths: Sequence[int]
) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, overflow="fold", width=width)
    for row in rows:
        table.add_row(*map(_styled, row))
    if not output.is_terminal or output.width < sum(widths) + GAP * len(widths):
        output.width = sum(widths) + GAP * len(widths)
    output.print(table)


def _print_blocks(
    output: "Console", columns: Sequence[str], rows: Sequence[Sequence[Cell]], lead: int, width: int
) -> None:
    from rich.text import Text

    names = max(map(len, columns[lead:]), default=0)
    indent = " " * (INDENT + names + GAP)
    for row in rows:
        heading = Text()
        for place, cell in enumerate(row[:lead]):
            heading.append(" " * GAP if place else "")
            heading.append(cell.text, style=cell.style or ("" if place else "bold"))
        output.print(heading, soft_wrap=True)
        for name, cell in zip(columns[lead:], row[lead:], strict=True):
            if cell.text in ("", "-"):
                continue
            lines = textwrap.wrap(
                cell.text, max(16, width - len(indent)), break_long_words=False, break_on_hyphens=False
            )
            line = Text(f"{'':{INDENT}}{name:<{names}}{'':{GAP}}", style="dim")
            line.append(f"\n{indent}".join(lines), style=f"not dim {cell.style}")
            output.print(line, soft_wrap=True)


def _styled(cell: Cell) -> "Text":
    from rich.text import Text

    return Text(cell.text, style=cell.style)  # as text, because a value may look like markup

"""The generated parts of docs/refusals.md: a table for each section of `base/refusals.toml`."""

from collections.abc import Callable

from tokenmint.base.remedies import Remedy, remedies
from tokenmint.rpc.status import code_of
from tokenmint.web.oauth_errors import row_of


def sections() -> list[str]:
    """Return the names of the sections."""
    return list(dict.fromkeys(one.section for one in remedies().values()))


def table(section: str) -> Callable[[object], str]:
    """Return the function that makes the table of a section: each reason with its statuses and its remedy."""

    def made(_: object) -> str:
        rows = [_row(one) for one in remedies().values() if one.section == section]
        return "\n".join(["| Reason | gRPC | HTTP | Meaning, and the way out |", "|---|---|---|---|", *rows]) + "\n"

    return made


def _row(one: Remedy) -> str:
    error = one.kind.__new__(one.kind)  # its class is all that the tables read
    retry = "**retry** " if one.retry else ""
    return f"| `{one.reason}` | {code_of(error).name} | {row_of(error).status} | {retry}{one.text} |"

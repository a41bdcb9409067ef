"""The public documents by the fast way of HTTP: their bytes are made once for each version of a document."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers

from tokenmint.base.errors import DependencyUnavailable
from tokenmint.web.fast_requests import DatedAnswer, FastRoute, dated_answer
from tokenmint.web.wellknown import Current, has, response


@dataclass(frozen=True, slots=True)
class Fetch:
    """The fields of a head that affect the answer."""

    agent: str
    if_none_match: str


def fast_documents(served: Mapping[str, Current]) -> dict[tuple[str, str], FastRoute[Any]]:
    """Return the routes of the documents."""
    return {("GET", path): FastDocument(current) for path, current in served.items()}


class FastDocument:
    """Answers fetches of one document.

    Args:
        current: returns the document.
    """

    def __init__(self, current: Current) -> None:
        self._current = current
        self._version: tuple[str, int] | None = None
        self._whole: DatedAnswer = (b"", b"")
        self._unchanged: DatedAnswer = (b"", b"")

    def learn(self, fields: Headers, *, has_body: bool) -> Fetch | None:
        """Return the fields that affect the answer; None for a fetch with a body."""
        return None if has_body else Fetch(fields.get("user-agent", ""), fields.get("if-none-match", ""))

    def answer(self, learned: Fetch, _: bytes, address: str, __: str = "") -> DatedAnswer | None:
        """Return the document or 304; None while no document may be served."""
        try:
            document = self._current(address, learned.agent)
        except DependencyUnavailable:
            return None
        version = document.etag, document.max_age
        if self._version != version:
            self._whole = dated_answer(response(document, unchanged=False))
            self._unchanged = dated_answer(response(document, unchanged=True))
            self._version = version
        # An empty condition does not count; the function judges all others.
        return self._unchanged if learned.if_none_match and has(learned.if_none_match, document) else self._whole

"""A gateway's question, as it is passed on, and the key of its answer.

Only headers that decide the answer are passed on, and all of them are in the key. So no key is too coarse.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tokenmint.admission.validation import Violations
from tokenmint.gateway.request import AUTHORIZATION, alike
from tokenmint.web.gateway_auth import COOKIE, Headers, read

PATH: Final = re.compile(r"/auth(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,127})?\Z")
"""The paths of `[gateway]`."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose answer may be kept."""

    path: str
    headers: tuple[tuple[str, str], ...]
    """The headers that decide the answer."""

    @property
    def key(self) -> bytes:
        """SHA-256 of the path and of these headers."""
        return hashlib.sha256(json.dumps([self.path, self.headers]).encode()).digest()


def question_of(path: str, raw: Headers, token_headers: Iterable[str], host_header: str) -> Question:
    """Return the question of a gateway.

    Raises:
        InvalidRequest: as :func:`read`, or a header of ``token_headers`` is spelled otherwise. Only headers by their
            exact names are passed on, so tokenmint would not see it, and the service behind may.
    """
    named = (*token_headers,)
    seen = read(raw, named, host_header)
    violations, spellings = Violations(), frozenset(map(alike, named))
    respelled = [name for name in seen if name not in named and alike(name) in spellings]
    violations.check("headers", "the request has a token's header in another spelling", holds=not respelled)
    violations.raise_any()
    deciding = (AUTHORIZATION, COOKIE, host_header, *named)
    return Question(path, tuple((name, seen[name]) for name in deciding if name in seen))

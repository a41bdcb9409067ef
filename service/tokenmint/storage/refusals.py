"""The meaning of the store's error codes, in words for operators: the code alone would send them to its source code.

The server's own text is left out: it may contain keys, and the server chooses its length.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from redis.exceptions import RedisError

from tokenmint.base.foreign_text import quoted

WRONG_TYPE: Final = "WRONGTYPE"
LONGEST: Final = 24  # bytes of a code that the table lacks
_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "READONLY": "it is read-only: a replica, or a primary that was demoted",
        "OOM": "its memory is full: raise maxmemory, or remove other data from it",
        "LOADING": "it is loading its data after a start",
        "NOAUTH": "it requires a password: check redis.username and redis.password_file",
        "WRONGPASS": "it refuses the credentials: check redis.username and redis.password_file",
        "NOPERM": "the user may not run the command: check the ACL of redis.username",
        "MISCONF": "it can't write to its disk, and refuses changes until it can",
        "CLUSTERDOWN": "the cluster is down: some slots have no primary",
        "NOREPLICAS": "it has fewer replicas than min-replicas-to-write asks for",
        "MASTERDOWN": "its link to the primary is down, and it serves no old data",
        "BUSY": "a script keeps it busy",
        "TRYAGAIN": "the cluster is moving slots",
        "MOVED": "the key is on another node of the cluster",
        "ASK": "the key moves to another node of the cluster",
        "EXECABORT": "it refused one command of several, and did none of them",
        WRONG_TYPE: "another program wrote a value of another type under the key: remove it",
        "UNKILLABLE": "a script that wrote keeps it busy",
    }
)
"""The meaning of a code, and the remedy."""


def named(code: str) -> str:
    """Return a server's error code for details: with its meaning if it is known, and bounded otherwise."""
    meaning = _MEANINGS.get(code)
    return f"{code}: {meaning}" if meaning is not None else quoted(code, LONGEST)


def code_of(error: RedisError) -> str:
    """Return the code at the start of the server's error message.

    The driver removes it if it has a class for the code, and keeps it in ``status_code``.
    """
    code: object = getattr(error, "status_code", None)
    return code if isinstance(code, str) and code else str(error).split(" ", 1)[0]

"""What the store's refusals mean, in words for operators: the code alone sends them to the server's source.

The server's own text stays out: it may name keys, and its length is the server's choice.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from redis.exceptions import RedisError

from tokenmint.base.foreign_text import quoted

LONGEST: Final = 24  # bytes of a code that is in no table
_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "READONLY": "it is read-only: a replica, or a primary that was demoted",
        "OOM": "its memory is used up: raise maxmemory, or remove what else it holds",
        "LOADING": "it is loading its data after a start",
        "NOAUTH": "it wants a password: check redis.username and redis.password_file",
        "WRONGPASS": "it refuses the credentials: check redis.username and redis.password_file",
        "NOPERM": "the user may not run the command: check the ACL of redis.username",
        "MISCONF": "it can't write to its disk, and refuses changes until it can",
        "CLUSTERDOWN": "the cluster does not serve: a part of its slots has no primary",
        "NOREPLICAS": "it has fewer replicas than min-replicas-to-write asks for",
        "MASTERDOWN": "its link to the primary is down, and it serves no old data",
        "BUSY": "a script keeps it busy",
        "TRYAGAIN": "slots of the cluster are on the move",
        "MOVED": "the key is on another node of the cluster",
        "ASK": "the key moves to another node of the cluster",
        "EXECABORT": "it refused one command of several, and did none of them",
        "UNKILLABLE": "a script that wrote keeps it busy",
    }
)
"""What a code means, and what can be done."""


def named(code: str) -> str:
    """Return a code of the server's as details have it: with what it means, where that is known; bounded otherwise."""
    meaning = _MEANINGS.get(code)
    return f"{code}: {meaning}" if meaning is not None else quoted(code, LONGEST)


def code_of(error: RedisError) -> str:
    """Return the code that the server's refusal began with.

    The driver cuts it off where it has a class for it, and keeps it in ``status_code``.
    """
    code: object = getattr(error, "status_code", None)
    return code if isinstance(code, str) and code else str(error).split(" ", 1)[0]

"""The store's refusals, as the driver raises them, in words that name what is the matter."""

import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import RedisError, ResponseError

from tokenmint.base.errors import StoreUnavailable
from tokenmint.storage import urls
from tokenmint.storage.connections import translated
from tokenmint.storage.refusals import LONGEST, code_of, named

URL = urls.parse("redis://localhost")
CODES = {
    "READONLY You can't write against a read only replica.": "READONLY: it is read-only",
    "OOM command not allowed when used memory > 'maxmemory'.": "OOM: its memory is full",
    "LOADING Valkey is loading the dataset in memory": "LOADING: it is loading its data",
    "NOPERM this user has no permissions to run the 'set' command": "NOPERM: the user may not run the command",
    "MISCONF Valkey is configured to save RDB snapshots": "MISCONF: it can't write to its disk",
    "CLUSTERDOWN The cluster is down": "CLUSTERDOWN: the cluster is down",
    "NOREPLICAS Not enough good replicas to write.": "NOREPLICAS: it has fewer replicas",
    "MASTERDOWN Link with MASTER is down": "MASTERDOWN: its link to the primary is down",
    "BUSY Valkey is busy running a script.": "BUSY: a script keeps it busy",
}


def refusal(text: str) -> RedisError:
    found = BaseParser.parse_error(text)  # type: ignore[no-untyped-call]  # untyped there
    assert isinstance(found, RedisError)
    return found


@pytest.mark.parametrize("text", CODES)
def test_a_refusal_is_named_as_such(text: str) -> None:
    error = refusal(text)
    assert code_of(error) == text.split(" ")[0]
    with pytest.raises(StoreUnavailable) as told, translated(URL, writes=False):
        raise error
    assert CODES[text] in told.value.detail
    assert text.split(" ", 1)[1] not in told.value.detail


@pytest.mark.parametrize("text", ["NOAUTH Authentication required.", "WRONGPASS invalid username-password pair"])
def test_refused_credentials_are_named_as_such(text: str) -> None:
    assert named(code_of(refusal(text))).startswith(text.split(" ")[0] + ": it ")
    with pytest.raises(StoreUnavailable) as told, translated(URL, writes=False):
        raise refusal(text)
    assert "redis.password_file" in told.value.detail


@pytest.mark.parametrize("code", ["x" * 16_384, "\x1b[31m", "\u20ac" * 4000, "", "a\nb"])
def test_a_code_that_nobody_knows_is_bounded_and_printable(code: str) -> None:
    assert len(named(code)) <= LONGEST
    assert named(code).isascii()
    assert named(code).isprintable()
    with pytest.raises(StoreUnavailable) as told, translated(URL, writes=False):
        raise ResponseError(code)
    assert len(told.value.detail) < 128

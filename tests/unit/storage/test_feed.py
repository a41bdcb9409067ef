"""Notes of changes: each change that was made is in the streams, in its own step, and no other is."""

import pytest

from tokenmint.base.errors import CorruptRecord
from tokenmint.storage import streams
from tokenmint.storage.feed import Feed
from tokenmint.storage.redis import Store

FEED = Feed(("a:", "b:"), lambda _, new: new is None or b"end" in new, ("urgent", "all"), 1000)


async def noted(store: Store) -> tuple[list[str], list[str]]:
    """Return the notes of urgent changes, and of all."""
    pages = [await streams.after(store, key, "0-0", most_entries=100, most_bytes=9999) for key in FEED.streams]
    urgent, every = ([raw.decode() for _, raw in page.entries] for page in pages)
    return urgent, every


async def test_a_change_is_noted_once_it_is_made(store: Store) -> None:
    assert await store.swap("a:0", None, b"before the feed")
    store.note_changes(FEED)
    assert await store.swap("a:1", None, b"x")
    assert not await store.swap("a:1", None, b"y")
    assert await store.swap("a:1", b"x", b"end", ttl=60)
    assert await store.swap("c:1", None, b"end")
    assert await noted(store) == (["a:1"], ["a:1", "a:1"])


async def test_each_change_of_many_is_noted_by_itself(store: Store) -> None:
    store.note_changes(FEED)
    changes = [("a:1", None, b"x"), ("b:1", b"wrong", b"end"), ("c:1", None, b"end"), ("b:2", None, b"end")]
    assert await store.swap_many(changes) == [True, False, True, True]
    assert await store.swap_many([("a:1", b"x", None)]) == [True]
    assert await noted(store) == (["b:2", "a:1"], ["a:1", "b:2", "a:1"])


async def test_what_shall_not_be_noted_is_not(store: Store) -> None:
    store.note_changes(FEED)
    assert await store.swap_many([("a:1", None, b"end"), ("b:1", None, b"x")], noted=False) == [True, True]
    assert await store.swap_many([("c:1", None, b"end")]) == [True]
    assert await noted(store) == ([], [])


@pytest.mark.parametrize("most", [1, 10])
async def test_the_streams_keep_about_the_newest_changes(store: Store, most: int) -> None:
    store.note_changes(Feed(("a:",), lambda *_: True, ("urgent", "all"), most))
    for _ in range(5):
        await store.swap_many([(f"a:{number}", None, b"x") for number in range(100)])
        await store.swap_many([(f"a:{number}", b"x", None) for number in range(100)])
    for key in FEED.streams:
        assert await store.server.client.xlen(f"{store.prefix}{key}") <= 300


@pytest.mark.parametrize("stream", ["urgent", "all"])
async def test_a_stream_of_another_type_keeps_a_change_from_being_made(store: Store, stream: str) -> None:
    """So "nothing was changed" is true of the failure, and no change is missing in the streams."""
    store.note_changes(FEED)
    await store.server.client.set(store.prefix + stream, b"text")
    with pytest.raises(CorruptRecord):
        await store.swap("a:1", None, b"end")
    with pytest.raises(CorruptRecord):
        await store.swap_many([("a:2", None, b"end"), ("c:1", None, b"value")])
    assert await store.get_many(["a:1", "a:2", "c:1"]) == [None, None, None]

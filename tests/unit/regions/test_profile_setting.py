"""The setting `regions.profiles`: a store that can't note changes is refused, before anything depends on it."""

from types import SimpleNamespace
from typing import Any

import pytest

from tokenmint.base.errors import ConfigurationError
from tokenmint.process.regions import copies_of, read_only


def test_a_cluster_is_refused() -> None:
    directory: Any = SimpleNamespace(options=SimpleNamespace(profiles=True))
    store: Any = SimpleNamespace(server=SimpleNamespace(clustered=True))
    nothing: Any = None
    with pytest.raises(ConfigurationError, match="needs a store that is no Cluster"):
        copies_of(nothing, store, nothing, nothing, nothing, directory)


def test_without_the_setting_nothing_is_copied() -> None:
    directory: Any = SimpleNamespace(options=SimpleNamespace(profiles=False))
    nothing: Any = None
    assert copies_of(nothing, nothing, nothing, nothing, nothing, directory) is None
    assert copies_of(nothing, nothing, nothing, nothing, nothing, None) is None


def test_copies_stay_read_only_after_regions_were_taken_from_the_configuration() -> None:
    directory: Any = SimpleNamespace(given_up={"us": None})
    assert [read_only(None)(home) for home in ("", "eu")] == [False, True]
    assert [read_only(directory)(home) for home in ("", "eu", "us")] == [False, True, False]

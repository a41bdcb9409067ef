"""Fixtures of the tests of the whole service."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged, by us and by libraries."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logging.getLogger().addHandler(handler)
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(text), cache_logger_on_first_use=False)
    yield text
    structlog.configure(**before)
    logging.getLogger().removeHandler(handler)

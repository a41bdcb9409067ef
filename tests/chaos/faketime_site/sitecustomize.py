"""Loaded by each process under libfaketime, whose clock_nanosleep(2) fails with EINVAL for CLOCK_MONOTONIC.

Python's own `time.sleep` uses that call (3.11 and later); select(2) is as exact, and left alone by libfaketime.
"""

import select
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex) -> None:
    select.select([], [], [], float(seconds))


time.sleep = _sleep

"""The machine that was measured on, and how busy others kept it."""

import os
import platform
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


def describe() -> dict[str, str]:
    """Describe the machine and the versions that were measured with."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", info)
    mhz = re.search(r"cpu MHz\s*: (\d+)", info)
    return {
        "cpu": f"{model[1] if model else platform.processor()}, {os.cpu_count()} cores, {mhz[1] if mhz else '?'} MHz",
        "kernel": platform.system(),
        "python": platform.python_version(),
        "go": _version("go", "env", "GOVERSION"),
        "node": _version("node", "--version"),
        "commit": _version("git", "rev-parse", "--short", "HEAD"),
    }


def _version(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


@dataclass(slots=True)
class Load:
    """How busy the machine is while this object is in use."""

    before: tuple[float, float, float] = field(default_factory=os.getloadavg)
    _begun: list[int] = field(default_factory=lambda: _ticks())

    def so_far(self) -> dict[str, object]:
        """Return the load averages at both ends, and the percentages of CPU time that were idle, and stolen, between."""
        spent = [now - before for now, before in zip(_ticks(), self._begun, strict=True)]
        total = sum(spent) or 1
        return {
            "loadavg_before": [round(one, 1) for one in self.before],
            "loadavg_after": [round(one, 1) for one in os.getloadavg()],
            "idle_percent": round(100 * (spent[3] + spent[4]) / total, 1),
            "steal_percent": round(100 * spent[7] / total, 1),
        }


def _ticks() -> list[int]:
    """Return the times of all CPUs (proc(5), /proc/stat): user, nice, system, idle, iowait, irq, softirq, steal."""
    return [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]

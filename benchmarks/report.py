"""Tables and a plot of what was measured."""

import os
import platform
import re
import subprocess
from pathlib import Path
from statistics import median
from typing import Any, Final

MARKS: Final = ("<!-- figures -->", "<!-- end of figures -->")
Outcome = dict[str, Any]


def machine() -> dict[str, str]:
    """Describe the machine."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", info)
    mhz = re.search(r"cpu MHz\s*: (.*)", info)

    def version(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    return {
        "cpu": f"{model[1] if model else platform.processor()}, {os.cpu_count()} cores, {mhz[1] if mhz else '?'} MHz",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "go": version("go", "env", "GOVERSION"),
        "node": version("node", "--version"),
        "load": f"{os.getloadavg()[2]:.1f} processes ran on average over the last quarter of an hour",
    }


def medians(outcome: Outcome) -> dict[tuple[str, str], dict[str, float]]:
    """Return the medians of the rounds, by scenario and contender."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in outcome["results"]:
        groups.setdefault((one["scenario"], one["contender"]), []).append(one)
    result = {}
    for key, group in groups.items():
        figures = {
            name: median(one[name] for one in group)
            for name, value in group[0].items()
            if isinstance(value, int | float)
        }
        figures["rss_mb"] = median(max(one["rss_mb"]) for one in group)
        figures["idle_rss_mb"] = median(max(one["idle_rss_mb"]) for one in group)
        result[key] = figures
    return result


def bounds(outcome: Outcome) -> dict[str, float]:
    """Return how many tokens a second the cryptography alone allows on one core, by scenario."""
    cost = outcome["crypto"]
    verify, sign, rsa = cost["rs256_verify_us"], cost["es256_sign_us"], cost["rs256_sign_us"]
    return {
        "exchange": 1e6 / (verify + sign),
        "two workers": 1e6 / (verify + sign),
        "eight audiences": 1e6 / (verify / 8 + sign),
        "batch of eight": 1e6 / sign,
        "RS256": 1e6 / (verify + rsa),
    }


def tables(outcome: Outcome) -> str:
    """Return everything in Markdown."""
    figures, bound, cost = medians(outcome), bounds(outcome), outcome["crypto"]
    lines = [
        f"{outcome['rounds']} rounds of {outcome['seconds']:g} s, medians. "
        + "; ".join(f"{name}: {value}" for name, value in outcome["machine"].items())
        + ".",
        "",
        f"Cryptography alone: RS256 verification {cost['rs256_verify_us']:.0f} µs, ES256 signature "
        f"{cost['es256_sign_us']:.0f} µs, RS256 signature {cost['rs256_sign_us']:.0f} µs.",
    ]
    for scenario in dict.fromkeys(scenario for scenario, _ in figures):
        most = bound.get(scenario)
        of_bound = f" (bound: {most:,.0f} tokens/s)" if most else ""
        lines += [
            "",
            f"**{scenario}**{of_bound}",
            "",
            "| | calls/s | tokens/s | of the bound | CPU µs/call | p50 ms | p99 ms | half load p50, p99 | RSS MB |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for (name, who), one in figures.items():
            if name != scenario:
                continue
            share = f"{one['tokens_per_second'] / most:.0%}" if most and "empty" not in who else ""
            half = f"{one['half_p50_ms']:.1f}, {one['half_p99_ms']:.1f}" if one["half_p50_ms"] else ""
            lines.append(
                f"| {who} | {one['calls_per_second']:,.0f} | {one['tokens_per_second']:,.0f} | {share} | "
                f"{one['cpu_us_per_call']:.0f} | {one['p50_ms']:.1f} | {one['p99_ms']:.1f} | {half} | {one['rss_mb']:.0f} |"
            )
    return "\n".join([*lines, "", *_targets(figures, bound)])


def _targets(figures: dict[tuple[str, str], dict[str, float]], bound: dict[str, float]) -> list[str]:
    """Compare with what is aimed at."""

    def get(scenario: str, who: str, name: str = "calls_per_second") -> float:
        return figures.get((scenario, who), {}).get(name, float("nan"))

    native, two = "tokenmint, native", "tokenmint, native, 2 workers"
    rate = get("exchange", native)
    rows = [
        ("of the Node peer", rate / get("exchange", "Node peer"), 2.5, "≥"),
        ("of the Go peer", rate / get("exchange", "Go peer"), 1.0, "≥"),
        ("of the Node peer, by CPU per call", get("exchange", "Node peer", "cpu_us_per_call") / get("exchange", native, "cpu_us_per_call"), 2.5, "≥"),
        ("of the Go peer, by CPU per call", get("exchange", "Go peer", "cpu_us_per_call") / get("exchange", native, "cpu_us_per_call"), 1.0, "≥"),
        ("of the crypto bound", rate / bound["exchange"], 0.30, "≥"),
        ("eight audiences, of one", get("eight audiences", native) / rate, 1.4, "≥"),
        ("batch, of the signing bound", get("batch of eight", native, "tokens_per_second") / bound["batch of eight"], 0.5, "≥"),
        ("RS256, of its bound", get("RS256", native) / bound["RS256"], 0.8, "≥"),
        (
            "grpcio: CPU per call, of an empty call's",
            get("exchange", "tokenmint, grpcio", "cpu_us_per_call") / get("exchange", "empty call, grpcio", "cpu_us_per_call"),
            1.5,
            "≤",
        ),
        (
            "two workers: exchanges per CPU second, of one worker's",
            get("two workers", native, "cpu_us_per_call") / get("two workers", two, "cpu_us_per_call"),
            0.9,
            "≥",
        ),
        ("p99 at half load, of p50", get("exchange", native, "half_p99_ms") / get("exchange", native, "half_p50_ms"), 4.0, "≤"),
        ("RSS of an idle worker, MB", get("exchange", native, "idle_rss_mb"), 130, "≤"),
        ("seconds until ready", get("exchange", native, "ready_seconds"), 2.5, "≤"),
        ("key set, answers a second", get("key set", native), 5000, "≥"),
    ]  # fmt: skip
    lines = ["| aim | figure | |", "|---|--:|---|"]
    for name, figure, aim, direction in rows:
        if figure == figure:  # not a number: it was not measured
            reached = figure >= aim if direction == "≥" else figure <= aim
            lines.append(
                f"| {name} ({direction} {aim:,g}) | {figure:,.2f} | {'reached' if reached else 'not reached'} |"
            )
    return lines


def plot(outcome: Outcome) -> str:
    """Return an SVG of exchanges per second, with the bound."""
    figures = {who: one for (name, who), one in medians(outcome).items() if name == "exchange"}
    most = max([bounds(outcome)["exchange"], *(one["calls_per_second"] for one in figures.values())])
    bars = [
        ("cryptography alone", bounds(outcome)["exchange"]),
        *((who, one["calls_per_second"]) for who, one in figures.items()),
    ]
    width, left, row = 760, 230, 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{row * len(bars) + 50}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="20" font-weight="bold">Calls a second on one core, distinct subject tokens, ES256</text>',
    ]
    for index, (name, value) in enumerate(bars):
        y = 36 + index * row
        size = (width - left - 90) * value / most
        colour = "#2b6cb0" if name.startswith("tokenmint") else "#a0aec0"
        parts += [
            f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{name}</text>',
            f'<rect x="{left}" y="{y}" width="{size:.1f}" height="20" fill="{colour}"/>',
            f'<text x="{left + size + 6:.1f}" y="{y + 15}">{value:,.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def write(outcome: Outcome, docs: Path) -> None:
    """Put tables and plot into the documentation, in the place of the last ones."""
    (docs / "performance.svg").write_text(plot(outcome))
    page = docs / "performance.md"
    before, _, rest = page.read_text().partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    page.write_text(f"{before}{MARKS[0]}\n{tables(outcome)}\n{MARKS[1]}{after}")

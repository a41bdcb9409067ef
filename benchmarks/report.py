"""Tables of what was measured. Reads figures alone, so that the documentation's tables are made of a committed file."""

import json
from collections.abc import Mapping
from statistics import median
from typing import Any, Final

from benchmarks import bars, steps

Figures = Mapping[str, Any]


def dumped(outcome: Figures) -> str:
    """Return a run as JSON: a line for each row of each round, so that files can be compared."""
    parts = []
    for name, value in outcome.items():
        if isinstance(value, list) and value:
            lines = ",\n  ".join(json.dumps(one, ensure_ascii=False) for one in value)
            parts.append(f'"{name}": [\n  {lines}\n ]')
        else:
            parts.append(f'"{name}": {json.dumps(value, ensure_ascii=False)}')
    return "{\n " + ",\n ".join(parts) + "\n}\n"


def page(outcome: Figures) -> str:
    """Return everything in Markdown, for the terminal."""
    return "\n".join([about(outcome), bar_table(outcome), row_tables(outcome)])


def about(outcome: Figures) -> str:
    """Return where and when it was measured, how busy the machine was, and what cryptography alone costs there."""
    busy = "; ".join(
        f"{one['loadavg_before'][0]:g} before and {one['loadavg_after'][0]:g} after, {one['idle_percent']:g} % idle, "
        f"{one['steal_percent']:g} % stolen"
        for one in outcome["load"]
    )
    cost = {name: median(one[name] for one in outcome["bounds"]) for name in outcome["bounds"][0] if name != "round"}
    facts = "; ".join(f"{name}: {value}" for name, value in outcome["machine"].items())
    return (
        f"Measured on {outcome['date']}; {len(outcome['bounds'])} rounds of {outcome['seconds']:g} s for each row. {facts}. "
        f"Load average of the machine: {busy}.\n\n"
        f"Cryptography alone, in one process: RS256 verification {cost['rs256_verify_us']:.0f} µs, ES256 signature "
        f"{cost['es256_sign_us']:.0f} µs, RS256 signature {cost['rs256_sign_us']:.0f} µs.\n"
    )


def bar_table(outcome: Figures) -> str:
    """Return the bars, and whether they were cleared."""
    lines = ["| bar | | median | least and most of the rounds | |", "|---|--:|--:|--:|---|"]
    lines += [
        f"| {one.bar.name} | {one.bar.direction} {one.bar.limit:,g} | {_short(one.figure)} | "
        f"{_short(one.least)} to {_short(one.most)} | {'pass' if one.passed else '**miss**'} |"
        for one in bars.cleared(outcome)
    ]
    return "\n".join(lines) + "\n"


def row_tables(outcome: Figures) -> str:
    """Return a table for each scenario: medians of the rounds, and the ratio to its first row within each round."""
    groups: dict[str, dict[str, list[Figures]]] = {}
    for one in outcome["results"]:
        groups.setdefault(one["scenario"], {}).setdefault(one["contender"], []).append(one)
    parts = []
    for scenario, contenders in groups.items():
        shown = _table(contenders)
        if shown:
            parts.append(f"**{scenario}**\n\n{shown}")
    return "\n".join(parts)


def sizing_table(outcome: Figures) -> str:
    """Return the figures that size an installation: exchanges of a core by transport, and the memory of a process."""
    lines = ["| exchanges (ES256, one audience) | CPU time of one | exchanges a second on one core |", "|---|--:|--:|"]
    for contender in ("native", "native, no near cache", "grpcio", "grpcio, TLS"):
        found = [one["cpu_us"] for one in outcome["results"]
                 if (one["scenario"], one["contender"]) == ("exchange", contender)]  # fmt: skip
        if found:
            lines.append(f"| {contender} | {median(found):,.0f} µs | {1e6 / median(found):,.0f} |")
    memory = outcome["memory"]
    lines += [
        "",
        f"A process takes {memory['before_mb']:.0f} MB at first, and {memory['after_mb']:.0f} MB with "
        f"{memory['values'] // 2:,} profiles in `caches.profiles`.",
    ]
    return "\n".join(lines) + "\n"


COLUMNS: Final = {
    "CPU µs a call": ("cpu_us", "{:,.0f}"),
    "calls/s": ("calls_per_second", "{:,.0f}"),
    "tokens/s": ("tokens_per_second", "{:,.0f}"),
    "p50 ms": ("p50_ms", "{:.1f}"),
    "p99 ms": ("p99_ms", "{:.1f}"),
    "all ms": ("all_ms", "{:.0f}"),
    "store µs": ("store_us", "{:.0f}"),
    "waits a call": ("waits", "{:.1f}"),
    "interruptions a call": ("interruptions", "{:.2f}"),
    "busiest worker": ("busiest_share", "{:.0%}"),
    "ready s": ("ready_seconds", "{:.2f}"),
    "idle MB": ("idle_rss_mb", "{:.0f}"),
    "refused": ("refused", "{:.0f}"),
}
"""The columns, each with its figure; those that no row of a table has are left out."""


def _table(contenders: Mapping[str, list[Figures]]) -> str:
    names = sorted(contenders, key=lambda name: (name != "native", not name.startswith("native")))
    some = [rounds[0] for rounds in contenders.values()]
    columns = {title: what for title, what in COLUMNS.items() if any(what[0] in one for one in some)}
    ratios = len(names) > 1 and any("cpu_us" in one for one in some)
    titles = ["", *columns, *([f"CPU of {names[0]}"] if ratios else [])]
    lines = ["| " + " | ".join(titles) + " |", "|---" + "|--:" * (len(titles) - 1) + "|"]
    for name in names:
        cells = [name]
        for figure, shape in columns.values():
            values = [one[figure] for one in contenders[name] if figure in one]
            cells.append(shape.format(sum(values) if figure == "refused" else median(values)) if values else "")
        if ratios:
            cells.append(_ratio(contenders[name], contenders[names[0]]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _ratio(mine: list[Figures], others: list[Figures]) -> str:
    """Return the median of the ratios within each round."""
    base = {one["round"]: one["cpu_us"] for one in others}
    values = [one["cpu_us"] / base[one["round"]] for one in mine if base.get(one["round"])]
    return f"{median(values):.2f}" if values else ""


def step_table(outcome: Figures) -> str:
    """Return where the CPU time of an exchange goes: step, function, microseconds, and what is remembered where."""
    known = {step.function: step for step in steps.STEPS}
    lines = ["| step | function | µs | remembered | where |", "|---|---|--:|---|---|"]
    for one in outcome["steps"]:
        if not one["us"]:
            continue
        step = known.get(one["function"])
        function = f"`{one['function']}`" if one["function"] else ""
        where = f"`{step.where}`" if step and step.where else ""
        lines.append(f"| {one['step']} | {function} | {one['us']:.1f} | {step.cached if step else ''} | {where} |")
    facts = "; ".join(f"{name}: {value}" for name, value in outcome["machine"].items())
    return (
        f"{outcome['samples']:,} samples on {outcome['date']}: {outcome['transport']}, {outcome['settings']}, {outcome['principals']} principals. {facts}.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}"

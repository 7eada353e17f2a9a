"""Tables and a chart of a benchmark's results."""

import os
import platform
import time
from pathlib import Path

COLOURS = ["#1b6ec2", "#e07b39", "#5a9e5a", "#9467bd", "#8c8c8c"]


def machine():
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    memory = int(next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal")))
    return f"{os.cpu_count()} cores of {model}, {memory / 1e6:.0f} GB of memory, {platform.system()} {platform.release()}"


def table(name, engines, results):
    """One corpus: wall seconds (and CPU seconds) of each step, peak of all of them, and what was stored."""
    steps = list(next(iter(results.values()))[0])
    lines = [f"| {name} | " + " | ".join(steps) + " | peak MB | stored MB |", "|---" * (len(steps) + 3) + "|"]
    for engine in engines:
        costs, stored = results[engine.name]
        cells = [f"{costs[step].wall:.2f} ({costs[step].cpu:.1f})" for step in steps]
        peak = max(cost.peak_mb for cost in costs.values())
        lines.append(f"| {engine.name} | " + " | ".join(cells) + f" | {peak:.0f} | {stored:.1f} |")
    others = [results[engine.name] for engine in engines[1:]]
    if others:
        mine, stored = results[engines[0].name]
        ratios = [f"{mine[step].wall / min(costs[step].wall for costs, _ in others):.2f}" for step in steps]
        lines.append(
            "| **of the best peer** | "
            + " | ".join(ratios)
            + f" | {max(c.peak_mb for c in mine.values()) / min(max(c.peak_mb for c in costs.values()) for costs, _ in others):.2f}"
            + f" | {stored / min(size for _, size in others):.2f} |"
        )
    return "\n".join(lines)


def chart(engines, results):
    """Bars of wall seconds, a group for each step, each group in its own scale: what counts is how they compare."""
    groups = [(corpus, step) for corpus, of in results.items() for step in next(iter(of.values()))[0]]
    bar, gap, left, width = 14, 16, 190, 760
    height = 40 + len(groups) * (bar * len(engines) + gap)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for index, engine in enumerate(engines):
        x = left + index * 110
        parts.append(f'<rect x="{x}" y="10" width="10" height="10" fill="{COLOURS[index % 5]}"/><text x="{x + 14}" y="19">{engine.name}</text>')
    y = 40
    for corpus, step in groups:
        parts.append(f'<text x="{left - 8}" y="{y + bar * len(engines) / 2 + 4}" text-anchor="end">{corpus}: {step}</text>')
        seconds = [results[corpus][engine.name][0][step].wall for engine in engines]
        for index, wall in enumerate(seconds):
            length = max(1, (width - left - 70) * wall / max(seconds))
            parts.append(f'<rect x="{left}" y="{y}" width="{length:.0f}" height="{bar - 2}" fill="{COLOURS[index % 5]}"/>')
            parts.append(f'<text x="{left + length + 4:.0f}" y="{y + bar - 4}">{wall:.2f} s</text>')
            y += bar
        y += gap
    return "\n".join([*parts, "</svg>\n"])


def write(docs, engines, results, scale, place):
    """Writes benchmarks.md and benchmarks.svg."""
    import corpora

    place = "on a RAM disk" if str(place or "").startswith("/dev/shm") else "in the temporary folder"
    text = [
        "# Benchmarks",
        "",
        f"Written by `python3 benches/compare.py` on {time.strftime('%Y-%m-%d')}: {machine()}; corpora and repositories {place}"
        + (f"; corpora at {scale} of their size" if scale != 1 else "")
        + ". All programs ran one after the other in this one run, with zstd at level 3 (this engine with the smaller tables that",
        "[decision 0004](decisions/0004-speed.md) explains), encryption on, and caches of their own. Seconds of the clock, in brackets those of all cores; MB are 10^6 bytes.",
        "Every restore was compared with what was backed up. Bars of one group share a scale.",
        "",
        "![Seconds of each step, by program](benchmarks.svg)",
        "",
    ]
    text += [f"- {engine.name}: {engine.version}" for engine in engines] + [""]
    for name, of in results.items():
        text += [f"## {name}", "", f"{corpora.ALL[name].about}.", "", table(name, engines, of), ""]
    (docs / "benchmarks.md").write_text("\n".join(text))
    (docs / "benchmarks.svg").write_text(chart(engines, results))

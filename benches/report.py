"""Tables and a chart of a benchmark's results, kept in docs/benchmarks.json corpus by corpus."""

import json
import os
import platform
import time
from pathlib import Path

COLOURS = ["#1b6ec2", "#e07b39", "#5a9e5a", "#9467bd", "#8c8c8c", "#c2571b", "#17a2b8", "#bcbd22"]


def machine():
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    memory = int(next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal")))
    return f"{os.cpu_count()} cores of {model}, {memory / 1e6:.0f} GB of memory, {platform.system()} {platform.release()}"


def table(name, engines):
    """One corpus: wall seconds (and CPU seconds) of each step, peak of all of them, and what was stored."""
    steps = list(engines[0]["steps"])
    stored = all(engine["stored_mb"] is not None for engine in engines)
    heads = [name, *steps, "peak MB", *(["stored MB"] if stored else [])]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for engine in engines:
        cells = [f"{cost['wall']:.2f} ({cost['cpu']:.1f})" for cost in engine["steps"].values()]
        cells += [f"{engine['peak_mb']:.0f}", *([f"{engine['stored_mb']:.1f}"] if stored else [])]
        lines.append(f"| {engine['name']} | " + " | ".join(cells) + " |")
    return lines


def row(title, ratios):
    return f"| **{title}** | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |"


def of_best_peer(engines):
    mine, *others = engines
    if not others:
        return []
    ratios = [cost["wall"] / min(other["steps"][step]["wall"] for other in others) for step, cost in mine["steps"].items()]
    ratios += [mine[figure] / min(other[figure] for other in others) for figure in ("peak_mb", "stored_mb")]
    return [row("of the best peer", ratios)]


def of_local(engines):
    """Each object store against the local one, and what its requests were."""
    local, *others = engines
    lines = []
    for other in others:
        ratios = [other["steps"][step]["wall"] / cost["wall"] for step, cost in local["steps"].items()]
        lines.append(row(f"{other['name']}, of local", [*ratios, other["peak_mb"] / local["peak_mb"]]))
    lines.append("")
    lines += [f"- {other['name']}, {step}: {cost['note']}" for other in others for step, cost in other["steps"].items()]
    return lines


def chart(kept):
    """Bars of wall seconds, a group for each step, each group in its own scale: what counts is how they compare."""
    names = list(dict.fromkeys(engine["name"] for of in kept.values() for engine in of["engines"]))
    groups = [(corpus, step, of["engines"]) for corpus, of in kept.items() for step in of["engines"][0]["steps"]]
    bar, gap, left, width = 14, 16, 190, 900
    height = 40 + sum(bar * len(engines) + gap for _, _, engines in groups)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    colour = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    for index, name in enumerate(names):
        x = 10 + index * 125
        parts.append(f'<rect x="{x}" y="10" width="10" height="10" fill="{colour[name]}"/><text x="{x + 14}" y="19">{name}</text>')
    y = 40
    for corpus, step, engines in groups:
        parts.append(f'<text x="{left - 8}" y="{y + bar * len(engines) / 2 + 4}" text-anchor="end">{corpus}: {step}</text>')
        most = max(engine["steps"][step]["wall"] for engine in engines)
        for engine in engines:
            wall = engine["steps"][step]["wall"]
            length = max(1, (width - left - 70) * wall / most)
            parts.append(f'<rect x="{left}" y="{y}" width="{length:.0f}" height="{bar - 2}" fill="{colour[engine["name"]]}"/>')
            parts.append(f'<text x="{left + length + 4:.0f}" y="{y + bar - 4}">{wall:.2f} s</text>')
            y += bar
        y += gap
    return "\n".join([*parts, "</svg>\n"])


def keep(docs, name, engines, results, scale, place, others):
    """Takes over the results of one corpus, in the place of older ones, and writes benchmarks.json, .md and .svg."""
    path = docs / "benchmarks.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    rows = []
    for engine in engines:
        costs, stored = results[engine.name]
        rows.append(
            {
                "name": engine.name,
                "version": engine.version,
                "peak_mb": round(max(cost.peak_mb for cost in costs.values()), 1),
                "stored_mb": stored and round(stored, 2),
                "steps": {step: {"wall": round(cost.wall, 3), "cpu": round(cost.cpu, 2), "note": cost.note} for step, cost in costs.items()},
            }
        )
    on = "on a RAM disk" if str(place or "").startswith("/dev/shm") else "in the temporary folder"
    kept[name] = {"date": time.strftime("%Y-%m-%d %H:%M"), "machine": machine(), "place": on, "scale": scale, "others": round(others, 2), "engines": rows}
    import corpora

    kept = {name: kept[name] for name in corpora.ALL if name in kept}
    path.write_text(json.dumps(kept, indent=1) + "\n")
    write(docs, kept)


def write(docs, kept):
    """Writes benchmarks.md and benchmarks.svg."""
    import corpora

    text = [
        "# Benchmarks",
        "",
        "Written by `python3 benches/compare.py`. All programs of one table ran one after the other in one run, which its heading names, with zstd at level 3 (this engine with smaller tables,",
        "a deeper search where that pays, and the allocator, which [decision 0004](decisions/0004-speed.md) explains), encryption on, and caches of their own. Seconds of the clock, in brackets those of all cores; MB are 10^6 bytes.",
        "Every restore was compared with what was backed up. Bars of one group share a scale. Where a table says that other programs kept cores busy, its seconds of the clock are longer",
        "than they would be on an idle machine, and its ratios are less certain; those of all cores hardly change. On a RAM disk each step finds as much free memory that was in use a moment",
        "before as its data take, for every program alike.",
        "",
        "![Seconds of each step, by program](benchmarks.svg)",
        "",
    ]
    for name, of in kept.items():
        engines, kind = of["engines"], corpora.ALL[name]
        versions = dict.fromkeys(f"{engine['name']}: {engine['version']}" for engine in engines)
        if kind.distant:
            versions = [engines[0]["version"]]
        text += [f"## {name}", "", f"{kind.about}.", ""]
        text += [f"{of['date']}; {of['machine']}; corpora and repositories {of['place']}; " + "; ".join(versions) + "."]
        if of["scale"] != 1:
            text += [f"At {of['scale']} of its size."]
        if of["others"] is not None:
            text += [f"Other programs{', the object store among them,' if kind.distant else ''} kept {of['others']:.1f} cores busy meanwhile."]
        text += ["", *table(name, engines), *(of_local(engines) if kind.distant else of_best_peer(engines)), ""]
    (docs / "benchmarks.md").write_text("\n".join(text))
    (docs / "benchmarks.svg").write_text(chart(kept))

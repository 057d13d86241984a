"""Plots what several seeds of a quickstart came to: success before and after RL, with ranges.

From the root of the repository, with one folder of a finished quickstart per seed::

    python -m scripts.results_plot runs/seed-0 runs/seed-1 runs/seed-2 --out docs/assets/results

writes results-light.svg and results-dark.svg, always the same bytes for the same folders. On the
left each seed's greedy success on held-out starts with its 95 % Wilson interval, which leaves out
the noise of training, and below the mean and the range of the seeds, which shows it. On the right
success in training, with sampled actions: the mean over the seeds and their range as a band.
"""

import argparse
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scripts.themes import themes

from pushcut.evaluation.intervals import Rate
from pushcut.evaluation.results import load_result
from pushcut.runs.config_json import stored_config

STAGES = ("before", "after")
FONTS = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
"""Of whoever looks: narrower than matplotlib's, in which the places are measured."""


@dataclass(frozen=True)
class Seed:
    """One quickstart."""

    number: int
    rates: dict[str, Rate]
    """Before and after: greedy success on held-out starts."""
    training: list[float]
    """Success with sampled actions, per iteration."""

    @staticmethod
    def of(run: Path) -> "Seed":
        """Reads the folder of a finished quickstart."""
        rates = {x: load_result(run / "eval" / f"{x}-greedy.json")[0].total for x in STAGES}
        lines = (run / "rl" / "metrics.jsonl").read_text().splitlines()
        training = [json.loads(line)["success_rate_sampled"] for line in lines]
        return Seed(stored_config(run)["seed"], rates, training)


def plot(seeds: Sequence[Seed], colours: dict[str, str]) -> str:
    """Both panels as SVG."""
    with matplotlib.rc_context(style(colours)):
        figure = Figure(figsize=(9.2, 3.5), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        draw_rates(left, seeds, colours)
        draw_training(right, seeds, colours)
        with io.StringIO() as file:
            nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            figure.savefig(file, format="svg", transparent=True, metadata=nothing)
            svg = file.getvalue()
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", FONTS, svg[svg.index("<svg") :])
    return "".join(f"{line.rstrip()}\n" for line in svg.splitlines())


def draw_rates(axes: Axes, seeds: Sequence[Seed], colours: dict[str, str]) -> None:
    """A row per seed with intervals, and a last one with the mean and the range of the seeds."""
    last = len(seeds) + 0.15
    for stage in STAGES:
        colour = colours[stage]
        values = [100 * seed.rates[stage].value for seed in seeds]
        for row, seed in enumerate(seeds):
            low, high = (100 * limit for limit in seed.rates[stage].interval)
            axes.plot([low, high], [row, row], color=colour, linewidth=2.2)
            axes.plot(values[row], row, "o", color=colour, markersize=7)
        low, mean, high = min(values), float(np.mean(values)), max(values)
        axes.barh(last, high - low, left=low, height=0.34, color=colour, alpha=0.35)
        axes.plot([mean, mean], [last - 0.24, last + 0.24], color=colour, linewidth=3.5)
        text: dict[str, Any] = {"ha": "center", "va": "top", "color": colours["ink"]}
        axes.text(mean, last + 0.3, f"{mean:.0f} %", fontweight="bold", **text)
        text |= {"va": "bottom", "color": colours["muted"] if stage == "before" else colour}
        # Beside each other also where the two are near.
        text["ha"] = "right" if stage == "before" else "center"
        at = values[0] - (3 if stage == "before" else 0)
        axes.text(at, -0.36, f"{stage} RL", **text)
    names = [*(f"seed {seed.number}" for seed in seeds), "mean, range"]
    axes.set_yticks([*range(len(seeds)), last], names)
    axes.set_ylim(last + 0.85, -0.95)
    axes.set_xlim(0, 100)
    in_percent(axes.xaxis)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_title("Success on held-out starts")


def draw_training(axes: Axes, seeds: Sequence[Seed], colours: dict[str, str]) -> None:
    """Success in training: each seed thin, their mean, and their range as a band."""
    length = min(len(seed.training) for seed in seeds)
    curves = 100 * np.array([seed.training[:length] for seed in seeds])
    x, colour = np.arange(length), colours["after"]
    axes.fill_between(x, curves.min(0), curves.max(0), color=colour, alpha=0.2, linewidth=0)
    for curve in curves:
        axes.plot(x, curve, color=colour, linewidth=0.6, alpha=0.6)
    axes.plot(x, curves.mean(0), color=colour, linewidth=2.4)
    axes.set_ylim(0, 100)
    axes.margins(x=0.01)
    in_percent(axes.yaxis)
    axes.set_xlabel("RL iteration")
    axes.set_title("Success in training")


def in_percent(axis: Any) -> None:
    """Marks at quarters of the whole."""
    axis.set_ticks(range(0, 101, 25), [f"{at} %" for at in range(0, 101, 25)])


def style(colours: dict[str, str]) -> dict[Any, Any]:
    """Matplotlib's settings, in the report's manner with larger letters: phones show it small."""
    ink, muted, grid = (colours[name] for name in ("ink", "muted", "grid"))
    return {
        "svg.fonttype": "none",  # text stays text: small, and in the reader's font
        "svg.hashsalt": "pushcut",  # the same data gives the same bytes
        "font.family": ["DejaVu Sans"],
        "font.size": 13,
        "axes.titlesize": 15,
        "axes.titlelocation": "left",
        "axes.titlecolor": ink,
        "axes.titlepad": 10,
        "axes.labelcolor": muted,
        "axes.edgecolor": grid,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": grid,
        "xtick.color": grid,
        "ytick.color": grid,
        "xtick.labelcolor": muted,
        "ytick.labelcolor": muted,
        "lines.solid_capstyle": "round",
    }


def main() -> None:
    """Writes the plot in light and in dark."""
    parser = argparse.ArgumentParser(description="plots seeds of a quickstart")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished quickstarts")
    parser.add_argument("--out", type=Path, default=Path("docs/assets/results"))
    options = parser.parse_args()
    seeds = sorted(map(Seed.of, options.runs), key=lambda seed: seed.number)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for name, colours in themes().items():
        path = options.out.with_name(f"{options.out.name}-{name}.svg")
        path.write_text(plot(seeds, colours))
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

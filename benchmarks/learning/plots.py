"""Success over what it took, as a picture."""

from __future__ import annotations

from pathlib import Path

from benchmarks.learning.compare import Outcomes
from benchmarks.learning.curves import AXES, MODES, mean_curve
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # without pyplot, which would look for a display

from pushcut.reporting.plots import COLOURS

MORE_COLOURS = (*COLOURS, "#7e22ce", "#0e7490", "#a16207", "#be185d", "#4b5563")


def draw(path: Path, outcomes: Outcomes, *, title: str, note: str) -> None:
    """A row per mode, a column per axis: each seed thin, their mean thick."""
    figure = Figure(figsize=(4.2 * len(AXES), 3.6 * len(MODES)), layout="constrained")
    panels = figure.subplots(len(MODES), len(AXES), squeeze=False, sharey=True)
    for row, mode in zip(panels, MODES, strict=True):
        for axes, axis in zip(row, AXES, strict=True):
            _panel(axes, outcomes, axis, mode)
        row[0].set_ylabel(f"held-out success, {mode} (%)")
    panels[0][0].legend(fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    figure.supxlabel(note, fontsize=7, color="#555555", wrap=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def _panel(axes: Axes, outcomes: Outcomes, axis: str, mode: str) -> None:
    for number, (name, seeds) in enumerate(outcomes.items()):
        if not seeds:
            continue
        colour = MORE_COLOURS[number % len(MORE_COLOURS)]
        curves = [outcome.curve for outcome in seeds.values()]
        for curve in curves:
            y = [100 * rate for rate in curve.rates(mode)]
            axes.plot(curve.axis(axis), y, color=colour, linewidth=0.7, alpha=0.5)
        x, y = mean_curve(curves, axis, mode)
        label = f"{name} ({len(curves)} seed{'s' if len(curves) > 1 else ''})"
        y = [100 * rate for rate in y]
        axes.plot(x, y, color=colour, linewidth=2, marker="o", markersize=4, label=label)
    axes.set_ylim(0, 100)
    axes.set_xlim(left=0)
    axes.set_xlabel(AXES[axis])
    axes.grid(alpha=0.3)

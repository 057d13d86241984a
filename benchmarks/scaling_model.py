"""Where 64 GPUs and 1,000 simulators would saturate: a discrete-event model with measured costs.

The workload is SimpleVLA-RL's (OpenVLA-OFT, LIBERO, 64 groups of 8). scaling_costs.py says which
costs are measured and which are assumed, scaling_sim.py how an iteration passes, and
scaling_validation.py how far the model is from real iterations. docs/scaling.md reads the tables.

    python benchmarks/scaling_model.py [--iterations 3] [--out FOLDER]

Writes scaling.json, scaling.md and scaling.png into FOLDER. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

from pushcut.runs.run import provenance
from scaling_costs import Case, Cluster, Costs, Workload, assumptions, networks
from scaling_sim import simulate

GPUS = (1, 2, 4, 8, 16, 32, 64)
COLOCATED = Cluster(workers=15, slots=30)
"""Sixteen cores per GPU: one for the main process."""
REMOTE = Cluster(workers=16, slots=32, remote=True)


@dataclass(frozen=True)
class Row:
    """The mean of some iterations of a case."""

    name: str
    gpus: int
    simulators: int
    seconds: float
    rollout: float
    update: float
    gpu_busy: float
    gpu_useful: float
    simulators_busy: float
    episodes_per_second: float
    """Of accepted groups and rejected ones."""
    bottleneck: str

    @staticmethod
    def of(name: str, case: Case, iterations: int) -> Row:
        outcomes = [simulate(case, iteration) for iteration in range(iterations)]
        seconds = fmean(outcome.total for outcome in outcomes)
        episodes = fmean(outcome.groups for outcome in outcomes) * case.workload.group_size
        cluster = case.cluster
        return Row(
            name=name,
            gpus=cluster.gpus,
            simulators=cluster.gpus * cluster.workers,
            seconds=round(seconds, 1),
            rollout=round(fmean(outcome.seconds["rollout"] for outcome in outcomes), 1),
            update=round(fmean(outcome.seconds["update"] for outcome in outcomes), 1),
            gpu_busy=round(fmean(outcome.gpu_busy for outcome in outcomes), 3),
            gpu_useful=round(fmean(outcome.gpu_useful for outcome in outcomes), 3),
            simulators_busy=round(fmean(outcome.simulators_busy for outcome in outcomes), 3),
            episodes_per_second=round(episodes / seconds, 2),
            bottleneck=outcomes[0].bottleneck.name,
        )


def over_gpus(base: Cluster, costs: Costs, workload: Workload, iterations: int) -> list[Row]:
    """The same work on more and more GPUs."""
    cases = (Case(replace(base, gpus=gpus), costs, workload) for gpus in GPUS)
    return [Row.of("", case, iterations) for case in cases]


def growing(base: Cluster, iterations: int) -> list[Row]:
    """Eight groups for each GPU: the batch grows with the cluster."""
    rows = []
    for gpus in GPUS:
        workload = replace(Workload(), groups=8 * gpus, max_groups=24 * gpus)
        case = Case(replace(base, gpus=gpus), Costs(), workload)
        rows.append(Row.of("", case, iterations))
    return rows


def over_simulators(base: Cluster, iterations: int) -> list[Row]:
    """64 GPUs with few and many simulators each."""
    rows = []
    for workers in (1, 2, 4, 8, 16, 32):
        cluster = replace(base, gpus=64, workers=workers, slots=2 * workers)
        rows.append(Row.of(f"{workers} per GPU", Case(cluster), iterations))
    return rows


def sensitivity(base: Cluster, iterations: int) -> list[Row]:
    """64 GPUs with one assumption changed at a time."""
    case = Case(replace(base, gpus=64))
    changed = [("as above", case), *(networks(case) if base.remote else assumptions(case))]
    return [Row.of(name, each, iterations) for name, each in changed]


def tables(iterations: int) -> dict[str, list[Row]]:
    """Everything that is reported."""
    small = {"inference_batch": 8}
    full = Costs()
    light = replace(
        full,
        infer_row=full.infer_row / 10,
        infer_launch=full.infer_launch / 2,
        train_row=full.train_row / 10,
        prepare=full.prepare / 10,
        weights_gb=full.weights_gb / 10,
        checkpoint_gb=full.checkpoint_gb / 10,
    )
    return {
        "colocated, inference batch 32": over_gpus(COLOCATED, Costs(), Workload(), iterations),
        "colocated, inference batch 8": over_gpus(
            replace(COLOCATED, **small), Costs(), Workload(), iterations
        ),
        "disaggregated, inference batch 8": over_gpus(
            replace(REMOTE, **small), Costs(), Workload(), iterations
        ),
        "colocated, batch 8, eight groups per GPU": growing(
            replace(COLOCATED, **small), iterations
        ),
        "disaggregated, batch 8, a policy a tenth as costly": over_gpus(
            replace(REMOTE, **small), light, Workload(), iterations
        ),
        "64 GPUs, disaggregated, batch 8, simulators": over_simulators(
            replace(REMOTE, **small), iterations
        ),
        "64 GPUs, colocated, batch 8, one thing changed": sensitivity(
            replace(COLOCATED, **small), iterations
        ),
        "64 GPUs, disaggregated, batch 8, one thing changed": sensitivity(
            replace(REMOTE, **small), iterations
        ),
    }


def markdown(found: Mapping[str, Iterable[Row]]) -> str:
    """The tables as text."""
    head = ("", "GPUs", "Simulators", "Iteration, s", "Rollout", "Update")
    head = (*head, "GPU busy", "GPU useful", "Simulators busy", "Episodes/s", "Bottleneck")
    lines = []
    for title, rows in found.items():
        lines += [f"### {title}", "", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
        for row in rows:
            cells = (
                row.name, row.gpus, row.simulators, row.seconds, row.rollout, row.update,
                f"{row.gpu_busy:.0%}", f"{row.gpu_useful:.0%}", f"{row.simulators_busy:.0%}",
                row.episodes_per_second, row.bottleneck,
            )  # fmt: skip
            lines.append(f"| {' | '.join(map(str, cells))} |")
        lines.append("")
    return "\n".join(lines)


def plot(path: Path, found: Mapping[str, list[Row]]) -> None:
    """Iteration time and the GPUs' useful share over the number of GPUs."""
    from matplotlib.figure import Figure  # without pyplot, which would look for a display

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for title, rows in found.items():
        if title.startswith("64"):
            continue
        gpus = [row.gpus for row in rows]
        left.plot(gpus, [row.episodes_per_second for row in rows], marker="o", label=title)
        right.plot(gpus, [100 * row.gpu_useful for row in rows], marker="o")
    first = next(iter(found.values()))
    ideal = [first[0].episodes_per_second * gpus for gpus in GPUS]
    left.plot(GPUS, ideal, "k:", linewidth=1, label="in proportion to the GPUs")
    left.set(xscale="log", yscale="log", ylabel="episodes per second, update included")
    right.set(xscale="log", ylabel="GPU time on rows that were wanted (%)", ylim=(0, 100))
    for axes in (left, right):
        axes.set_xticks(GPUS, [str(gpus) for gpus in GPUS], minor=False)
        axes.minorticks_off()
        axes.set_xlabel("GPUs, 15 or 16 simulators each")
        axes.grid(alpha=0.3)
    left.legend(fontsize=7, frameon=False)
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description="Where would 64 GPUs and 1,000 simulators end?")
    parser.add_argument("--iterations", type=int, default=3, help="per case")
    parser.add_argument("--out", type=Path, default=Path("runs/scaling"))
    options = parser.parse_args()
    found = tables(options.iterations)
    options.out.mkdir(parents=True, exist_ok=True)
    text = markdown(found)
    print(text)
    (options.out / "scaling.md").write_text(text)
    plot(options.out / "scaling.png", found)
    rows = {title: [asdict(row) for row in rows] for title, rows in found.items()}
    record = {"tables": rows, "costs": asdict(Costs()), "workload": asdict(Workload())}
    record |= {"iterations": options.iterations, **provenance()}
    (options.out / "scaling.json").write_text(json.dumps(record, indent=1) + "\n")
    ends = {title: rows[-1].seconds for title, rows in found.items() if rows[-1].gpus == 64}
    print(json.dumps({"seconds_at_the_end_of_each_table": ends, **provenance()}))


if __name__ == "__main__":
    main()

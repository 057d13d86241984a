"""The discrete-event model of benchmarks/: cases that can be worked out by hand."""

import importlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
costs = importlib.import_module("scaling_costs")
model = importlib.import_module("scaling_sim")
sys.path.remove(str(BENCHMARKS))

CHEAP = replace(
    costs.Costs(),
    simulate=1.0, render=0.5, reset=2.0, start=0.25, prepare=0.0, overhead=0.0, message=0.0,
    infer_row=0.25, infer_launch=0.5, train_row=0.1, micro_batch=1, weights_gb=0.0,
    optimizer_step=0.0, checkpoint_gb=0.0,
)  # fmt: skip


@dataclass(frozen=True)
class Fixed(costs.Workload):
    """Every episode takes three decisions; the first group fails altogether."""

    def episodes(self, iteration: int, group: int) -> list[tuple[bool, int]]:
        return [(group > 0 and member == 0, 3) for member in range(self.group_size)]


def case(groups: int = 1, group_size: int = 1, **cluster):
    usual = {"gpus": 1, "workers": 1, "slots": 1, "inference_batch": 1, "cores": 99}
    workload = Fixed(groups=groups, group_size=group_size, least=0, most=9, max_groups=9)
    return costs.Case(costs.Cluster(**(usual | cluster)), CHEAP, workload)


def test_one_episode_takes_the_sum_of_its_parts():
    # Reset 2.0 and look 0.5; three times infer 0.5 + 0.25 and simulate 1.0; two looks in between.
    outcome = model.simulate(case())
    assert outcome.seconds["rollout"] == pytest.approx(2.5 + 3 * 1.75 + 2 * 0.5)
    assert outcome.seconds["infer"] == pytest.approx(3 * 0.75)
    assert outcome.seconds["simulate"] == pytest.approx(2.0 + 3 * 1.0)
    assert outcome.seconds["render"] == pytest.approx(3 * 0.5)
    assert outcome.seconds["update"] == pytest.approx(3 * 0.1 * 4 / 3)  # four steps of one decision


def test_a_padded_forward_costs_as_much_as_a_full_one_and_is_not_useful():
    full = model.simulate(case(inference_batch=4))
    assert full.seconds["infer"] == pytest.approx(3 * (0.5 + 4 * 0.25))
    assert full.gpu_useful * full.total == pytest.approx(3 * 0.25 + 3 * 0.1)


def test_two_simulators_halve_what_one_takes_when_nothing_else_counts():
    free = replace(CHEAP, infer_row=0.0, infer_launch=0.0)
    one = replace(case(groups=1, group_size=4, slots=4, inference_batch=4), costs=free)
    two = replace(one, cluster=replace(one.cluster, workers=2))
    # One: 2.5 + 3 · 0.25 to start, then 4 · (3 · 1.0 + 2 · 0.5).
    assert model.simulate(one).seconds["rollout"] == pytest.approx(3.25 + 16)
    # Two: the one that resets has 2.5 + 0.25 to start and half of the rest.
    assert model.simulate(two).seconds["rollout"] == pytest.approx(2.75 + 8)


def test_two_processes_on_one_core_are_as_fast_as_one():
    free = replace(CHEAP, infer_row=0.0, infer_launch=0.0)
    one = replace(case(group_size=4, slots=4, inference_batch=4), costs=free)
    two = replace(one, cluster=replace(one.cluster, workers=2, cores=1))
    assert model.simulate(two).seconds["rollout"] == pytest.approx(
        model.simulate(one).seconds["rollout"]
    )


def test_a_group_starts_only_when_one_was_rejected_and_ranks_change_no_group():
    mixed = replace(case(groups=2, group_size=2, slots=2).workload, least=1, most=1)
    played = {
        gpus: model.simulate(replace(case(gpus=gpus, slots=4), workload=mixed)) for gpus in (1, 3)
    }
    # Group 0 is rejected, 1 and 2 are accepted: 2 · 2 · 3 decisions to learn from.
    assert [outcome.groups for outcome in played.values()] == [3, 3]
    assert [outcome.decisions for outcome in played.values()] == [12, 12]
    # The third group waits for the first to be judged, however many GPUs are free.
    alone = model.simulate(replace(case(group_size=2, gpus=3, slots=4))).seconds["rollout"]
    assert played[3].seconds["rollout"] > 1.9 * alone


def test_a_slow_network_holds_remote_simulators_up():
    near = model.simulate(case(remote=True, observation_mb=1.0, link_gb_s=1.0, latency=0.0))
    far = model.simulate(case(remote=True, observation_mb=1.0, link_gb_s=1.0, latency=0.5))
    slow = model.simulate(case(remote=True, observation_mb=1000.0, link_gb_s=1.0, latency=0.0))
    # Four replies pass two links of 1 GB/s each: 1 ms or 1 s per link.
    start = near.seconds["rollout"] - 4 * 0.002
    assert far.seconds["rollout"] == pytest.approx(start + 4 * (0.002 + 0.5))
    assert slow.seconds["rollout"] == pytest.approx(start + 4 * 2.0)

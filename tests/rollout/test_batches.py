"""The player on batches of scenes: nobody downstream can tell."""

import json
from dataclasses import replace

import pytest

from pushcut import assembly
from pushcut.algorithms.grpo import GRPO
from pushcut.algorithms.ppo import PPO
from pushcut.config import TrainConfig
from pushcut.envs.point_mass import PointMassConfig
from pushcut.envs.randomised.config import Randomisation
from pushcut.policies.value_head import CriticConfig
from tests.envs.many_points import ManyPointsConfig
from tests.same_run import check_same_run, metrics

ALGORITHMS = {
    "groups": (GRPO(groups=3, max_groups=4, group_size=3), CriticConfig()),
    "branches": (GRPO(groups=3, max_groups=6, group_size=3, branches=2), CriticConfig()),
    "streams": (PPO(episodes=7, stream_decisions=6, bootstrap="always"), CriticConfig()),
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_run_on_batches_is_the_run_on_separate_environments_to_the_bit(
    small_training, tmp_path, name
):
    algorithm, critic = ALGORITHMS[name]
    # Seven slots and batches of four decisions: some episodes wait for the actions of others.
    rollout = replace(small_training.rollout, slots=7, workers=1, inference_batch=4)
    base = replace(
        small_training,
        algorithm=algorithm,
        critic=critic,
        rollout=rollout,
        iterations=2,
        save_every=1,
    )
    size = base.env.spec.cameras["top"][0]
    runs = {}
    for kind, config in (("separate", PointMassConfig), ("batched", ManyPointsConfig)):
        env = config(image_size=size, max_steps=base.env.spec.max_steps)
        assert env.spec == base.env.spec
        out = tmp_path / kind
        assembly.train(replace(base, env=env, out=out, iterations=1))
        assembly.train(replace(base, env=env, out=out, resume=True))
        runs[kind] = out
    check_same_run(runs["separate"], runs["batched"], iteration=2)
    separate, batched = ((out / "episodes.jsonl").read_text() for out in runs.values())
    assert separate == batched
    rows = [row for line in separate.splitlines() for row in json.loads(line)["episodes"]]
    assert len(rows) >= 12
    if name == "branches":
        assert sum(line.get("branches", 0) for line in metrics(runs["batched"])) > 0
    config = json.loads((runs["batched"] / "config.json").read_text())
    assert config["config"]["env"]["type"].endswith("ManyPointsConfig")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"evaluation": {"videos": 1}}, "keeps no films"),
        ({"env": {"randomisation": Randomisation(image_noise=0.1)}}, "not randomised"),
        ({"rollout": {"tasks_per_process": 1}}, "frees no tasks"),
        ({"cluster": {"engine": "ray", "simulators": "hosts"}}, "hosts do not play batches"),
    ],
)
def test_what_batches_cannot_do_is_refused_before_a_run_begins(fields, message):
    config = TrainConfig(ManyPointsConfig())
    changed = {name: replace(getattr(config, name), **value) for name, value in fields.items()}
    with pytest.raises(ValueError, match=message):
        replace(config, **changed)


class Unrepeatable(ManyPointsConfig):
    """A batch on a GPU, as it were."""

    @property
    def repeats(self) -> bool:
        return False


def test_episodes_that_leave_others_need_a_simulator_that_repeats():
    with pytest.raises(ValueError, match="does not repeat exactly"):
        TrainConfig(Unrepeatable(), algorithm=GRPO(branches=1))

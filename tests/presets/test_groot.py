"""GR00T N1.5 on LIBERO (pi_RL, appendix H) with the numbers of RLinf's configurations."""

import pytest

from pushcut.algorithms.ppo import PPO
from pushcut.policies.source import FlowPolicySource
from pushcut.presets import DEFAULT_PRESETS, PRESETS

CONFIGURATIONS = {
    # suite: time limit, chunk, update epochs, rate, the critic's, largest gradient norm, steps
    "spatial": (240, 5, 4, 5e-6, 1e-4, 1.0, 24),
    "object": (240, 5, 1, 2e-5, 2e-5, 1.0, 24),
    "goal": (320, 5, 1, 2e-5, 2e-5, 1.0, 32),
    "long": (480, 10, 1, 2e-5, 2e-5, 2.0, 24),
}
"""libero_*_ppo_gr00t.yaml; optimiser steps of an epoch: 512 episodes in batches of 1,024."""


@pytest.mark.parametrize("suite", CONFIGURATIONS)
def test_groot_on_a_suite_is_a_preset(suite):
    preset = PRESETS[f"libero-{suite}-groot-flow-sde"]
    train, source, algorithm = preset.train, preset.train.policy, preset.train.algorithm
    assert isinstance(source, FlowPolicySource) and isinstance(algorithm, PPO)
    limit, chunk, epochs, rate, critic_rate, clip, steps = CONFIGURATIONS[suite]
    assert train.env.spec.max_steps == preset.eval.env.spec.max_steps == limit
    assert (source.noise, source.num_steps, source.noise_level) == ("flow-sde", 4, 0.5)
    assert (source.released.chunk, source.released.padded_length) == (chunk, 570)
    assert (source.trained, source.released.gripper) == ("expert", "one_opens")
    assert (train.learner.lr, train.critic.lr, train.learner.grad_clip) == (rate, critic_rate, clip)
    assert (algorithm.episodes, train.learner.minibatches, train.learner.epochs) == (
        512,
        steps,
        epochs,
    )
    assert (algorithm.gamma, algorithm.lam, algorithm.clip_low) == (0.99, 0.95, 0.2)
    # RLinf's critic is not detached, though its configuration says so.
    assert (train.critic.placement, train.critic.detach) == ("vlm", False)
    assert train.critic.hidden == (1024, 512, 256)
    assert preset.network == "groot" and preset.sft.policy.trained == "expert"


def test_both_kinds_of_folders_are_tried_out_with_it():
    assert {DEFAULT_PRESETS[kind] for kind in ("gr00t_n1_5", "groot")} == {
        "libero-spatial-groot-flow-sde"
    }

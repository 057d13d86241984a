"""What must also hold on a CUDA device; `pytest -m gpu`."""

import pytest
import torch

from tests.learning.builders import rollout_of, step
from tests.policies.builders import POLICIES, noise, observation, tiny

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize(
    ("name", "bound"),
    [("tiny", 1e-6), ("flow-hybrid", 1e-6), ("flow-two-layer", 2e-5), ("flow-noise", 5e-6)],
)
def test_the_log_ratio_is_zero_before_the_first_update_on_a_gpu(name, bound):
    policy, obs = POLICIES[name]().to("cuda"), observation(8)
    sample = policy.sample(obs, noise(8), "sampled")
    got = policy.evaluate(obs, sample.trace).logprob
    assert (got - sample.logprob).abs().max().item() < bound


def test_cpu_and_gpu_give_the_same_first_update():
    cpu, gpu = tiny(), tiny().to("cuda")
    rollout = rollout_of(cpu, [3, 5, 2, 4])
    want, got = step(cpu, rollout), step(gpu, rollout)
    assert got["grad_norm"] == pytest.approx(want["grad_norm"], rel=1e-3)
    for a, b in zip(cpu.parameters(), gpu.parameters(), strict=True):
        torch.testing.assert_close(a, b.cpu(), rtol=1e-3, atol=1e-4)

"""pi0 from images and prompt to velocities and actions, in one call."""

from __future__ import annotations

import torch
from torch import Tensor

from pushcut.policies.networks.pi0 import Pi0Network

Seen = tuple[Tensor, Tensor, Tensor, Tensor]
"""Images, which of them are there, token ids, which of them are there."""


def velocity(network: Pi0Network, seen: Seen, state: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """Velocity of noisy actions x [b, h, a] at times t [b]."""
    return network.denoise(network.encode(*seen), state, x[:, None], t[:, None]).velocity[:, 0]


@torch.no_grad()
def sample_actions(
    network: Pi0Network, seen: Seen, state: Tensor, noise: Tensor, num_steps: int
) -> Tensor:
    """Normalised actions: Euler steps from t = 1 (``noise``) to 0."""
    prefix = network.encode(*seen)
    x = noise[:, None]
    for step in range(num_steps):
        t = x.new_full(x.shape[:2], 1 - step / num_steps)
        x = x - network.denoise(prefix, state, x, t).velocity / num_steps
    return x[:, 0]

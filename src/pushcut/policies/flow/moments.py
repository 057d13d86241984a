"""Denoising steps of flow policies as pure functions.

Formulas: docs/reference/equations.md, sections 7 to 11.

Time runs as in openpi: t = 1 is noise, t = 0 is data; x_t = t eps + (1 - t) a and the
velocity is v = eps - a. A step goes from t to t - delta.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def time_grid(num_steps: int) -> Float[Tensor, " points"]:
    """Times 1, 1 - 1/K, …, 0 of K denoising steps."""
    if num_steps < 1:
        raise ValueError(f"num_steps must be >= 1, got {num_steps}")
    return 1 - torch.arange(num_steps + 1) / num_steps


def ode_step(
    x: Float[Tensor, "*shape"], velocity: Float[Tensor, "*shape"], delta: float
) -> Float[Tensor, "*shape"]:
    """Euler step of the probability-flow ODE: x - delta v (pi_RL eq. 3)."""
    return x - delta * velocity


def sde_moments(
    x: Float[Tensor, "*shape"],
    velocity: Float[Tensor, "*shape"],
    t: Float[Tensor, "*#shape"] | float,
    delta: float,
    *,
    noise_level: float,
    num_steps: int,
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*#shape"]]:
    """Mean and standard deviation of a Flow-SDE step (pi_RL eq. 6-9; Flow-GRPO).

    sigma = noise_level sqrt(t / (1 - t)); at t = 1 the denominator uses t = 1 - 1/K.
    mean = x - delta (v + sigma^2 / (2 t) (x + (1 - t) v)), std = sigma sqrt(delta).
    Marginals are those of the ODE as delta -> 0 only.
    """
    t = torch.as_tensor(t, dtype=x.dtype, device=x.device)
    sigma = noise_level * torch.sqrt(t / (1 - t).clamp(min=1 / num_steps))
    noise_end = x + (1 - t) * velocity
    mean = x - delta * (velocity + sigma**2 / (2 * t) * noise_end)
    return mean, sigma * math.sqrt(delta)


def cps_moments(
    x: Float[Tensor, "*shape"],
    velocity: Float[Tensor, "*shape"],
    t: Float[Tensor, "*#shape"] | float,
    delta: float,
    *,
    noise_level: float,
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*#shape"]]:
    """Mean and standard deviation of a Flow-CPS step (pi_RL, appendix I).

    With x0 = x - t v (data) and x1 = x + (1 - t) v (noise):
    mean = (1 - t') x0 + t' cos(pi noise_level / 2) x1, std = t' sin(pi noise_level / 2),
    t' = t - delta. The last step (t' = 0) is deterministic.
    """
    t = torch.as_tensor(t, dtype=x.dtype, device=x.device)
    later = t - delta
    data_end, noise_end = x - t * velocity, x + (1 - t) * velocity
    angle = math.pi * noise_level / 2
    mean = (1 - later) * data_end + later * math.cos(angle) * noise_end
    # Rounding may leave a hair below 0 where t' is 0.
    return mean, (later * math.sin(angle)).clamp(min=0)


def gaussian_logprob(
    x: Float[Tensor, "*shape"],
    mean: Float[Tensor, "*#shape"],
    std: Float[Tensor, "*#shape"],
) -> Float[Tensor, "*shape"]:
    """Elementwise log N(x; mean, std^2) in float32, constants included.

    Where std is 0 the step was deterministic and contributes 0.
    """
    x, mean, std = x.float(), mean.float(), std.float()
    noisy = std > 0
    safe = torch.where(noisy, std, torch.ones_like(std))
    logprob = -0.5 * ((x - mean) / safe) ** 2 - safe.log() - 0.5 * math.log(2 * math.pi)
    return torch.where(noisy, logprob, torch.zeros_like(logprob))


def gaussian_entropy(std: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Elementwise entropy 0.5 log(2 pi e std^2) in float32; 0 where std is 0."""
    std = std.float()
    noisy = std > 0
    safe = torch.where(noisy, std, torch.ones_like(std))
    entropy = 0.5 * math.log(2 * math.pi * math.e) + safe.log()
    return torch.where(noisy, entropy, torch.zeros_like(entropy))


def largest_noise_level(num_steps: int) -> float:
    """Noise level of Flow-SDE above which a step before the last points past its goal.

    The mean holds the noise end with the coefficient t' - sigma^2 delta / (2 t), t' = t -
    delta. It stays >= 0 if noise_level^2 <= 2 t' max(1 - t, delta) / delta for every step
    with t' > 0; K = 1 has none (its last step is always past it), so that anything goes.
    """
    delta = 1 / num_steps
    bounds = [
        2 * (t - delta) * max(1 - t, delta) / delta for t in time_grid(num_steps).tolist()[:-2]
    ]
    return math.sqrt(min(bounds, default=math.inf))

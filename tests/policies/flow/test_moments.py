"""Denoising steps against arithmetic written out, and the SDE against the ODE."""

import math

import pytest
import torch

from pushcut.policies.flow.moments import (
    cps_moments,
    gaussian_entropy,
    gaussian_logprob,
    largest_noise_level,
    ode_step,
    sde_moments,
    time_grid,
)


def test_time_runs_from_noise_to_data():
    torch.testing.assert_close(time_grid(4), torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]))
    with pytest.raises(ValueError, match="num_steps must be >= 1"):
        time_grid(0)


def test_an_euler_step_of_the_true_velocity_from_noise_ends_at_the_data():
    noise, data = torch.tensor([0.5, -1.0]), torch.tensor([0.1, 0.3])
    torch.testing.assert_close(ode_step(noise, noise - data, 1.0), data)


@pytest.mark.parametrize(
    ("t", "std"), [(1.0, 0.5), (0.75, 0.4330127), (0.5, 0.25), (0.25, 0.1443376)]
)
def test_the_noise_of_flow_sde_with_four_steps(t, std):
    # sigma = 0.5 sqrt(t / (1 - t)): sqrt(3), 1, sqrt(1/3) times 0.5; at t = 1 the denominator
    # is 1/4, so 0.5 * 2 = 1. std = sigma sqrt(1/4).
    x = torch.zeros(3)
    _, got = sde_moments(x, x, t, 0.25, noise_level=0.5, num_steps=4)
    torch.testing.assert_close(got, torch.tensor(std), atol=1e-6, rtol=0)


def test_the_mean_of_flow_sde_by_hand():
    # t = 0.5, delta = 0.25, alpha = 0.5: sigma^2 = 0.25, sigma^2 / (2 t) = 0.25.
    # x = 1, v = 2: noise end 1 + 0.5 * 2 = 2; mean = 1 - 0.25 (2 + 0.25 * 2) = 0.375.
    mean, _ = sde_moments(
        torch.tensor([1.0]), torch.tensor([2.0]), 0.5, 0.25, noise_level=0.5, num_steps=4
    )
    torch.testing.assert_close(mean, torch.tensor([0.375]))


@pytest.mark.parametrize("t", [1.0, 0.75, 0.5, 0.25])
def test_the_mean_of_flow_sde_mixes_the_two_ends(t):
    x, v = torch.tensor([0.7, -0.2]), torch.tensor([1.1, 0.4])
    delta, alpha = 0.25, 0.5
    sigma2 = alpha**2 * t / max(1 - t, delta)
    data_end, noise_end = x - t * v, x + (1 - t) * v
    later = t - delta
    want = (1 - later) * data_end + (later - sigma2 * delta / (2 * t)) * noise_end
    mean, _ = sde_moments(x, v, t, delta, noise_level=alpha, num_steps=4)
    torch.testing.assert_close(mean, want)


def test_without_noise_flow_sde_and_flow_cps_are_the_ode():
    x, v = torch.tensor([0.7, -0.2]), torch.tensor([1.1, 0.4])
    for t in time_grid(4)[:-1].tolist():
        want = ode_step(x, v, 0.25)
        for mean, std in (
            sde_moments(x, v, t, 0.25, noise_level=1e-6, num_steps=4),
            cps_moments(x, v, t, 0.25, noise_level=1e-6),
        ):
            torch.testing.assert_close(mean, want)
            assert float(std.max()) < 2e-6


def test_times_may_differ_from_row_to_row():
    x, v = torch.randn(2, 3), torch.randn(2, 3)
    t = torch.tensor([[1.0], [0.25]])
    both, _ = sde_moments(x, v, t, 0.25, noise_level=0.5, num_steps=4)
    for row, time in enumerate((1.0, 0.25)):
        alone, _ = sde_moments(x[row], v[row], time, 0.25, noise_level=0.5, num_steps=4)
        torch.testing.assert_close(both[row], alone)


def test_flow_cps_by_hand():
    # t = 0.75, delta = 0.25, alpha = 1/3: cos 30 degrees = 0.8660, sin = 0.5. x = 1, v = 2:
    # data end 1 - 1.5 = -0.5, noise end 1.5; mean = 0.5 * -0.5 + 0.5 * 0.8660 * 1.5 = 0.3995.
    mean, std = cps_moments(torch.tensor([1.0]), torch.tensor([2.0]), 0.75, 0.25, noise_level=1 / 3)
    torch.testing.assert_close(mean, torch.tensor([-0.25 + 0.75 * math.sqrt(3) / 2]))
    torch.testing.assert_close(std, torch.tensor(0.25))


def test_the_last_step_of_flow_cps_has_no_noise():
    x = torch.ones(2)
    _, std = cps_moments(x, x, 0.25, 0.25, noise_level=0.5)
    assert float(std) == 0.0


def test_gaussian_logprob_by_hand():
    # x - mean = 1, std = 2: -1/8 - ln 2 - ln(2 pi) / 2 = -0.125 - 0.6931 - 0.9189 = -1.7371
    got = gaussian_logprob(torch.tensor([3.0]), torch.tensor([2.0]), torch.tensor([2.0]))
    torch.testing.assert_close(got, torch.tensor([-1.7370857]))


def test_gaussian_entropy_by_hand():
    # std = 2: ln(2 pi e) / 2 + ln 2 = 1.4189 + 0.6931 = 2.1121
    torch.testing.assert_close(gaussian_entropy(torch.tensor([2.0])), torch.tensor([2.1120858]))


def test_deterministic_entries_contribute_nothing():
    x, std = torch.tensor([1.0, 1.0]), torch.tensor([0.0, 1.0])
    logprob = gaussian_logprob(x, torch.zeros(2), std)
    assert logprob[0] == 0
    assert logprob[1] != 0
    assert gaussian_entropy(std)[0] == 0


def test_the_gradient_of_the_log_probability_is_that_of_finite_differences():
    x = torch.tensor([0.3, -0.1], dtype=torch.float64)
    v = torch.tensor([0.5, 0.2], dtype=torch.float64, requires_grad=True)

    def logprob(velocity):
        """In double precision, unlike ``gaussian_logprob``."""
        mean, std = sde_moments(x, velocity, 0.5, 0.25, noise_level=0.5, num_steps=4)
        return (-0.5 * ((0.2 - mean) / std) ** 2 - std.log()).sum()

    assert torch.autograd.gradcheck(logprob, v)
    # The float32 function has the same gradient: (x - mean) / std^2 * d mean / d v, where
    # d mean / d v = -0.25 (1 + 0.25 * 0.5) = -0.28125 and std = 0.25.
    single = v.detach().float().requires_grad_()
    mean, std = sde_moments(x.float(), single, 0.5, 0.25, noise_level=0.5, num_steps=4)
    gaussian_logprob(torch.full((2,), 0.2), mean, std).sum().backward()
    want = (0.2 - mean.detach()) / 0.25**2 * -0.28125
    torch.testing.assert_close(single.grad, want)


def test_the_moments_of_flow_sde_approach_those_of_the_ode_as_steps_grow():
    """Data N(2, 0.5^2): x_t is N(2 (1 - t), s_t^2), s_t^2 = t^2 + 0.25 (1 - t)^2.

    The velocity is E[eps - a | x_t] = -2 + (t - 0.25 (1 - t)) / s_t^2 * (x - 2 (1 - t)).
    """

    def velocity(x, t):
        variance = t**2 + 0.25 * (1 - t) ** 2
        return -2 + (t - 0.25 * (1 - t)) / variance * (x - 2 * (1 - t))

    def ends(num_steps, noise_level):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(200_000, generator=generator)
        for t in time_grid(num_steps)[:-1].tolist():
            v, delta = velocity(x, t), 1 / num_steps
            if noise_level == 0:
                x = ode_step(x, v, delta)
                continue
            mean, std = sde_moments(x, v, t, delta, noise_level=noise_level, num_steps=num_steps)
            x = mean + std * torch.randn(len(x), generator=generator)
        return x

    ode = ends(512, 0)
    assert abs(float(ode.mean()) - 2) < 0.01
    assert abs(float(ode.std()) - 0.5) < 0.01
    distances = []
    for num_steps in (8, 32, 128):
        sde = ends(num_steps, 0.5)
        distances.append(abs(float(sde.mean() - ode.mean())) + abs(float(sde.std() - ode.std())))
    assert distances[0] > 2 * distances[1] > 4 * distances[2]
    assert distances[2] < 0.02


@pytest.mark.parametrize("num_steps", [2, 3, 4, 8])
def test_the_largest_noise_level_is_where_a_coefficient_turns_negative(num_steps):
    """The mean for x0 = 0, x1 = 1 (x = t, v = 1) is the coefficient of the noise end."""

    def smallest(noise_level):
        return min(
            float(
                sde_moments(
                    torch.tensor([t]), torch.ones(1), t, 1 / num_steps,
                    noise_level=noise_level, num_steps=num_steps,
                )[0]
            )
            for t in time_grid(num_steps)[:-2].tolist()
        )  # fmt: skip

    level = largest_noise_level(num_steps)
    assert smallest(level * 0.99) > 0
    assert smallest(level * 1.01) < 0

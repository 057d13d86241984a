"""The columns of pi_RL's tables 11, 12 and 13, and those of its program where tables are silent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Model = Literal["pi0", "pi05", "smolvla"]


@dataclass(frozen=True)
class Column:
    """What differs between the columns of pi_RL's tables."""

    max_steps: int
    chunk: int
    epochs: int
    num_steps: int
    noise_level: float
    cosine: bool = False
    floor: float = 0.1
    """What the cosine ends at."""
    grad_clip: float = 1.0
    lr: float = 5e-6
    iterations: int = 500
    std_bounds: tuple[float, float] = (0.04, 0.10)
    horizon: int = 50
    hidden: tuple[int, int, int] = (512, 256, 128)
    """The critic's hidden layers."""
    episodes: int = 512
    """64 environments, 8 times."""
    batch: int = 2048
    """Decisions of an optimiser step, those after an episode's end counted (they weigh nothing)."""
    critic_lr: float = 1e-4

    @property
    def optimiser_steps(self) -> int:
        """Steps of an epoch over all episodes, each with as many decisions as the limit allows."""
        return self.episodes * -(-self.max_steps // self.chunk) // self.batch


COSINE_ITERATIONS = 1000
"""Length of the cosine in the program; the runs of the tables end half way."""

PI05_HIDDEN = (1024, 512, 256)
"""The program's critic for pi0.5 on LIBERO; elsewhere it is smaller."""

PI0_BOUNDS = (0.08, 0.16)

LIBERO: dict[Model, dict[str, Column]] = {
    "pi0": {
        "spatial": Column(240, 5, 4, 4, 0.5, std_bounds=PI0_BOUNDS),
        "object": Column(240, 5, 4, 4, 0.5, std_bounds=PI0_BOUNDS),
        "goal": Column(320, 5, 4, 4, 0.5, std_bounds=PI0_BOUNDS),
        "long": Column(480, 10, 4, 4, 0.5, std_bounds=PI0_BOUNDS, grad_clip=2.0),
    },
    "pi05": {
        "spatial": Column(240, 5, 1, 3, 0.5, horizon=10, hidden=PI05_HIDDEN),
        "object": Column(320, 5, 1, 5, 0.3, horizon=10, hidden=PI05_HIDDEN),
        "goal": Column(320, 5, 3, 5, 0.3, horizon=10, hidden=PI05_HIDDEN),
        "long": Column(480, 10, 4, 5, 0.5, cosine=True, horizon=10, hidden=PI05_HIDDEN),
    },
}
LIBERO["smolvla"] = LIBERO["pi0"]
"""Table 11 (SmolVLA: pi0's columns). Critic and largest gradient norm are the program's."""

GROOT: dict[str, Column] = {
    "spatial": Column(240, 5, 4, 4, 0.5, horizon=16, hidden=PI05_HIDDEN, batch=1024),
    **{
        suite: Column(
            steps,
            chunk,
            1,
            4,
            0.5,
            grad_clip=clip,
            lr=2e-5,
            horizon=16,
            hidden=PI05_HIDDEN,
            batch=1024,
            critic_lr=2e-5,
        )
        for suite, steps, chunk, clip in (
            ("object", 240, 5, 1.0),
            ("goal", 320, 5, 1.0),
            ("long", 480, 10, 2.0),
        )
    },
}
"""GR00T N1.5 on LIBERO: the program's. The paper (appendix H) says that all is as for pi0, whose
batch is 2,048, with 4 epochs and a rate of 5e-6; iterations are pi0's, the program's limit 1,000.
"""

METAWORLD: dict[Model, Column] = {
    "pi0": Column(100, 5, 4, 5, 0.5, lr=1e-5, iterations=450, horizon=5),
    "pi05": Column(100, 5, 4, 5, 0.5, cosine=True, floor=0.0, iterations=450, horizon=5),
}
METAWORLD["smolvla"] = replace(METAWORLD["pi0"], horizon=50)
"""Table 13 (SmolVLA: pi0's column, with its own horizon)."""

CALVIN: dict[Model, Column] = {
    model: Column(480, 5, 4, 5, 0.5, iterations=100, horizon=5, std_bounds=PI0_BOUNDS)
    for model in ("pi0", "pi05")
}
"""Table 13."""

CALVIN_SCENES = {"d": ("D", "validation"), "abc-d": ("ABC", "training")}
"""Protocol -> scenes and sentences of its training (D.2); both are evaluated in D."""

METAWORLD_ML45: dict[Model, Column] = {
    model: replace(column, max_steps=160, iterations=500) for model, column in METAWORLD.items()
}
"""ML45 (appendix D.3); time limit and iterations are those of RLinf's metaworld_45 configs."""

METAWORLD_IMAGE_SIZE = 480
"""What lerobot/metaworld_mt50 holds and RLinf renders; the policy resizes it to 224."""

SIMPLER_TASKS = {
    "eggplant": "PutEggplantInBasketScene-v1",
    "carrot": "PutCarrotOnPlateInScene-v1",
    "spoon": "PutSpoonOnTableClothInScene-v1",
    "cube": "StackGreenCubeOnYellowCubeBakedTexInScene-v1",
}
"""Columns of table 12 -> ManiSkill's names."""

_SIMPLER = Column(
    48,
    5,
    4,
    4,
    0.5,
    lr=5.6e-6,
    iterations=40,
    horizon=8,
    episodes=256,
    batch=2560,
    critic_lr=1.1e-4,
)

SIMPLER: dict[Model, dict[str, Column]] = {
    "pi0": dict.fromkeys(SIMPLER_TASKS, replace(_SIMPLER, std_bounds=PI0_BOUNDS)),
    "pi05": dict.fromkeys(SIMPLER_TASKS, _SIMPLER),
}
"""Table 12; the cube takes longer."""
SIMPLER["pi0"]["cube"] = replace(SIMPLER["pi0"]["cube"], iterations=130)
SIMPLER["pi05"]["cube"] = replace(SIMPLER["pi05"]["cube"], iterations=70)

_PUT_ON_PLATE = Column(
    80,
    5,
    4,
    4,
    0.5,
    lr=7.91e-6,
    iterations=150,
    horizon=8,
    episodes=320,
    batch=5120,
    critic_lr=1.55e-4,
)

PUT_ON_PLATE: dict[Model, Column] = {
    "pi0": replace(_PUT_ON_PLATE, std_bounds=PI0_BOUNDS),
    "pi05": replace(_PUT_ON_PLATE, epochs=5),
}
"""Table 12, ManiSkill, but for the time limit: the table says 48 steps, the program 80. With 80 its
320 environments make the 5,120 decisions of the table's batch (16 chunks of 5 each)."""

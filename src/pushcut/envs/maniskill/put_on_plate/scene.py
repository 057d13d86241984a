"""The benchmark's scene in ManiSkill: arm, table, and the models of one episode.

This module imports the simulator, so it is itself imported late, by ``simulator``.
"""

# These packages are in ManiSkill's own environment only.
# pyright: reportMissingImports=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import sapien
from jaxtyping import Float32, Float64
from mani_skill import ASSET_DIR
from mani_skill.envs.sapien_env import BaseEnv
from mani_skill.envs.tasks.digital_twins.bridge_dataset_eval.base_env import (
    WidowX250SBridgeDatasetFlatTable,
)
from mani_skill.utils import sapien_utils
from mani_skill.utils.structs.types import SimConfig
from sapien.physx import PhysxMaterial

from pushcut.envs.init_states import seed_of_32_bits
from pushcut.envs.maniskill.control import HandControl
from pushcut.envs.maniskill.put_on_plate.assets import Model, model
from pushcut.envs.maniskill.put_on_plate.outcome import Outcome, Resting, Reward
from pushcut.envs.maniskill.put_on_plate.starts import ROLES, Placed, Start
from pushcut.envs.maniskill.put_on_plate.variants import MOVED_AFTER
from pushcut.envs.maniskill.sapien_process import keep_drawing
from pushcut.envs.maniskill.simpler.assets import BRIDGE, TABLES
from pushcut.envs.maniskill.simpler.tasks import FLAT
from pushcut.envs.maniskill.widowx import arm

JOINTS = (-0.01840777, 0.0398835, 0.22242722, -0.00460194, 1.36524296, 0.00153398, 0.037, 0.037)
"""At the start: the joints in radians, the fingers in metres."""
BASE, OUT_OF_THE_WAY = (0.147, 0.028, 0.870), (0.147, 0.028, 1.870)
"""Where the arm's base is, and where it is while things come to rest; metres."""
TURNED = (0.0, 0.0, 0.0, 1.0)
TABLE_OFFSET, TABLE_TURN = (2.0634, 2.8313, 0.0), (0.707, 0.707, 0.0, 0.0)
FRICTION = 1.0
SETTLING, LONGER = 50, 600
"""Simulator steps in which things come to rest, and how many more if they have not."""
SLOW, SLOW_TURN = 1e-3, 1e-2
"""At rest the speeds of all things add up to less, m/s and rad/s."""


class PlateEnv(BaseEnv):
    """One arm, a table and the models of ``start_state``.

    Another start needs a reset that makes the scene anew.
    """

    SUPPORTED_OBS_MODES = ("none", "rgb+segmentation")
    SUPPORTED_REWARD_MODES = ("none",)

    def __init__(self, start: Start, folder: Path, **options: Any) -> None:
        self.start_state, self._folder = start, folder
        self.actors: list[Any] = []
        super().__init__(robot_uids=WidowX250SBridgeDatasetFlatTable, **options)

    @property
    def _default_sim_config(self) -> SimConfig:
        return SimConfig(sim_freq=500, control_freq=5, spacing=20)

    def _load_agent(self, options: dict) -> None:
        super()._load_agent(options, sapien.Pose(BASE, TURNED))

    def _load_scene(self, options: dict) -> None:
        for robot in self.agent.robot._objs:
            sapien_utils.set_articulation_render_material(robot, specular=0.9, roughness=0.3)
        table = str(Path(ASSET_DIR) / BRIDGE / "stages" / TABLES[FLAT])
        builder = self.scene.create_actor_builder()
        pose = sapien.Pose(q=TABLE_TURN)
        builder.add_nonconvex_collision_from_file(table, pose=pose)
        builder.add_visual_from_file(table, pose=pose)
        builder.initial_pose = sapien.Pose(TABLE_OFFSET)
        builder.build_static(name="arena")
        self.models = [model(t.kind, t.place, self._folder) for t in self.start_state.things]
        things = zip(self.models, self.start_state.things, ROLES, strict=False)
        self.actors = [self._actor(own, thing, role) for own, thing, role in things]

    def _actor(self, own: Model, thing: Placed, role: str) -> Any:
        material = PhysxMaterial(FRICTION, FRICTION, 0.0)
        builder = self.scene.create_actor_builder()
        builder.add_multiple_convex_collisions_from_file(
            str(own.folder / "collision.obj"), material=material, density=own.density
        )
        builder.add_visual_from_file(str(own.visual))
        builder.initial_pose = sapien.Pose(thing.position, thing.orientation)
        return builder.build(name=role)

    def _load_lighting(self, options: dict) -> None:
        self.scene.set_ambient_light([0.3] * 3)
        self.scene.add_directional_light([0, 0, -1], [2.2] * 3, shadow=False)
        self.scene.add_directional_light([-1, -0.5, -1], [0.7] * 3)
        self.scene.add_directional_light([1, 1, -1], [0.7] * 3)

    def _initialize_episode(self, env_idx: Any, options: dict) -> None:
        for actor, thing in zip(self.actors, self.start_state.things, strict=True):
            actor.set_pose(sapien.Pose(thing.position, thing.orientation))
        if self.start_state.settle:
            self.agent.robot.set_pose(sapien.Pose(OUT_OF_THE_WAY, TURNED))
            self._let_settle()
        self.agent.robot.set_pose(sapien.Pose(BASE, TURNED))
        self.agent.reset(init_qpos=np.array(JOINTS))

    def _let_settle(self) -> None:
        for steps in (SETTLING, LONGER):
            for _ in range(steps):
                self.scene.step()
            speed = sum(float(a.linear_velocity.norm()) for a in self.actors)
            turn = sum(float(a.angular_velocity.norm()) for a in self.actors)
            if speed <= SLOW and turn <= SLOW_TURN:
                return

    def kept(self) -> np.ndarray:
        """What the photograph is not in front of: ids of the robot's links and the models."""
        parts = [*self.agent.robot.get_links(), *self.actors]
        return np.concatenate([part.per_scene_id.cpu().numpy() for part in parts])


class PlateScene:
    """An episode in a physics scene of its own."""

    def __init__(self, make: Any, start_of: Any, reward: Reward) -> None:
        """``make(start)`` makes an environment, ``start_of(seed)`` says where one starts."""
        self._make, self._start_of = make, start_of
        self._reward: Reward = reward
        self.env: Any = None
        self.outcome = Outcome()
        self._steps = 0

    def start(self, seed: int) -> None:
        start = self._start_of(seed)
        if self.env is None:
            self.env = self._make(start)
            keep_drawing(self.env)
        self.env.start_state = start
        self.env.reset(seed=seed_of_32_bits(seed), options={"reconfigure": True})
        self.control = HandControl(self.env)
        self._steps = 0
        boxes = zip(self.env.actors[:2], self.env.models, strict=False)
        obj, receptacle = (Resting.of(arm.matrix(actor), own.size) for actor, own in boxes)
        self.outcome = Outcome(obj, receptacle, self._reward)

    def step(self, action: Float32[np.ndarray, " 7"]) -> bool:
        env = self.env
        self.control.step(action)
        self._steps += 1
        start: Start = env.start_state
        obj, receptacle = env.actors[:2]
        if start.moved_to is not None and self._steps == MOVED_AFTER:
            obj.set_pose(sapien.Pose(start.moved_to, start.things[0].orientation))
        self.outcome.note(
            obj=_position(obj),
            receptacle=_position(receptacle),
            force=self.control.grip.force(obj, receptacle),
            grasped=self.control.grip.holds(obj),
        )
        return self.outcome.placed

    def close(self) -> None:
        if self.env is not None:
            self.env.close()


def _position(actor: Any) -> Float64[np.ndarray, " 3"]:
    return arm.matrix(actor)[:3, 3]

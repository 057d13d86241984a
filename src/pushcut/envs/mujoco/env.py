"""What environments of MuJoCo tasks share besides episodes: images, and the gripper's sign."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, UInt8

from pushcut.envs.mujoco.gl import not_drawing
from pushcut.envs.randomised.scene import Scene
from pushcut.envs.telling import ContactReader, TellingEnv
from pushcut.types import EnvSpec

if TYPE_CHECKING:
    from pushcut.envs.mujoco.renderer import OpenGL, RenderStyle, TaskRenderer
    from pushcut.envs.mujoco.scene import Surfaces


COARSEST = 0.05
"""Details of meshes, metres: with larger ones left out, hands and objects would be gone."""


class MuJoCoEnv(TellingEnv):
    """Draws each task with a renderer of its own, made when first needed and freed with the task.

    A simulator also has ``model``, ``data``, ``sync()`` and ``contacts``; its gripper closes at +1.
    """

    def __init__(self, spec: EnvSpec, *, max_sim_steps: int, image_size: int) -> None:
        from pushcut.envs.mujoco.renderer import OpenGL, TaskRenderer

        super().__init__(spec, max_sim_steps=max_sim_steps)
        self._image_size = image_size
        self._make_renderer = TaskRenderer
        self._make_opengl = OpenGL
        self._opengl: OpenGL | None = None
        self._renderers: dict[str, TaskRenderer] = {}
        self._scene: Scene | None = None
        self._raised = 0.0

    @property
    @abstractmethod
    def _style(self) -> RenderStyle:
        """How images are drawn."""

    @property
    @abstractmethod
    def _surfaces(self) -> Surfaces:
        """What of the models is table and background."""

    @property
    def _model_cameras(self) -> Mapping[str, str]:
        """Camera of the spec -> its name in the model, where that is another."""
        return {}

    def show(self, scene: Scene | None) -> None:
        """Draws what follows so; see ``envs.randomised.scene.ShowsScenes``."""
        self._scene = scene

    def raise_table(self, metres: float) -> None:
        """Starts what follows so; see ``envs.randomised.scene.RaisesTables``."""
        self._raised = metres

    def release(self, task: str) -> None:
        if renderer := self._renderers.pop(task, None):
            renderer.free()
        super().release(task)

    def close(self) -> None:
        for task in list(self._renderers):
            self.release(task)
        if self._opengl is not None:
            self._opengl.free()
            self._opengl = None
        super().close()

    def _to_native(self, actions: Float32[np.ndarray, "h a"]) -> Float32[np.ndarray, "h a"]:
        return flip_gripper(actions)

    def mark(self, *, start: bool) -> Any:
        if start:
            self._now.sync()
        return super().mark(start=start)

    @property
    def _contacts(self) -> ContactReader:
        return self._now.contacts

    def _draw(self, camera: str, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """What one of the model's cameras sees."""
        task = self._episode().task
        simulator = self._simulator(task)
        if self._opengl is None:
            self._opengl = self._open_gl()
        if task not in self._renderers:
            self._renderers[task] = self._make_renderer(
                self._opengl,
                simulator.model,
                simulator.data,
                style=self._style,
                size=self._image_size,
            )
        simulator.sync()
        with self._as_shown(simulator):
            objects, top = (), None
            if self._scene is not None:
                objects, top = self._scene.distractors, self._surfaces.top
            return self._renderers[task].draw(camera, size, objects, top)

    def _as_shown(self, simulator: Any) -> AbstractContextManager[None]:
        """Inside, the simulator looks as it was told to."""
        if self._scene is None and not simulator.raised:
            return nullcontext()
        from pushcut.envs.mujoco.scene import drawn_as

        model, data, scene = simulator.model, simulator.data, self._scene or Scene()
        return drawn_as(
            model, data, scene, self._surfaces, self._model_cameras, raised=simulator.raised
        )

    def _open_gl(self) -> OpenGL:
        """A context; UserError where the machine gives none, to any process."""
        try:
            return self._make_opengl()
        # PyOpenGL and mujoco raise what they like.
        except Exception as error:
            if told := not_drawing():
                raise told from error
            raise


def check_mesh_detail(detail: float) -> None:
    """ValueError where no mesh could be drawn with such details."""
    if not 0 <= detail <= COARSEST:
        raise ValueError(f"mesh_detail must be from 0 to {COARSEST} (metres), got {detail}")


def flip_gripper(actions: Float32[np.ndarray, "*h a"]) -> Float32[np.ndarray, "*h a"]:
    """Between our actions, which open the gripper at +1, and those that close it so."""
    flipped = actions.copy()
    flipped[..., -1] *= -1
    return flipped

"""What ManiSkill's environments tell of their objects: a hand-made scene, and experts."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pushcut.analysis.phases import phases_of, strategy_of
from pushcut.envs.base import EnvConfig
from pushcut.envs.events import Events
from pushcut.envs.maniskill.contacts import ContactReader
from pushcut.envs.maniskill.env import CONTROL_HZ, ManiSkillConfig
from pushcut.envs.maniskill.put_on_plate.env import MAIN, PutOnPlateConfig
from pushcut.envs.pool.pool import EnvPool
from pushcut.evaluation.experts import ExpertPlay, play_experts
from pushcut.types import InitState
from tests.envs.isolated.simulators import NEEDS_MANISKILL

PICK, PUSH = "PickCube-v1", "PushCube-v1"


def body(number: int, position: tuple[float, float, float]) -> Any:
    pose = SimpleNamespace(p=np.array(position, np.float32), q=np.array([1, 0, 0, 0], np.float32))
    return SimpleNamespace(per_scene_id=number, pose=pose)


def link(name: str, entity: Any, parent: Any = None) -> Any:
    return SimpleNamespace(name=name, entity=entity, parent=parent)


def touching(one: Any, two: Any, *impulses: tuple[float, float, float]) -> Any:
    points = [SimpleNamespace(impulse=np.array(i, np.float32)) for i in impulses]
    bodies = [SimpleNamespace(entity=one), SimpleNamespace(entity=two)]
    return SimpleNamespace(bodies=bodies, points=points)


def test_contacts_of_a_scene_are_told_apart():
    table, cube, bowl = body(1, (0, 0, 0)), body(2, (0.1, 0, 0.02)), body(3, (0.3, 0, 0.02))
    hand = link("hand", body(4, (0, 0, 0.3)))
    left, right = (
        link(f"{side}_finger", body(5 + n, (0, y, 0.2)), hand)
        for n, (side, y) in enumerate((("left", 0.03), ("right", -0.03)))
    )
    pad = link("left_pad", body(7, (0, 0.03, 0.1)), left)
    contacts: list[Any] = []
    physics = SimpleNamespace(timestep=0.01, get_contacts=lambda: contacts)
    actors = {
        "table": SimpleNamespace(px_body_type="kinematic", _objs=[table]),
        "cube": SimpleNamespace(px_body_type="dynamic", _objs=[cube]),
        "bowl": SimpleNamespace(px_body_type="dynamic", _objs=[bowl]),
    }
    agent = SimpleNamespace(
        robot=SimpleNamespace(_objs=[SimpleNamespace(links=[hand, left, right, pad])]),
        finger1_link=SimpleNamespace(_objs=[left]),
        finger2_link=SimpleNamespace(_objs=[right]),
    )
    reader = ContactReader(
        SimpleNamespace(scene=SimpleNamespace(px=physics, actors=actors), agent=agent)
    )
    marks = [reader.mark(start=True)]
    # 3 and 4 along two axes are pushes of their own: (0.03 + 0.04) / 0.01 s = 7 N.
    contacts += [
        touching(cube, table, (0, 0, 0.03), (0, 0.04, 0)),
        touching(pad.entity, cube, (0, 0.02, 0)),  # outwards: it holds the cube
        touching(cube, right.entity, (0, 0, 0)),  # near, without a push
        touching(bowl, right.entity, (0, 0.05, 0)),  # outwards too, as what it acts on is the bowl
        touching(bowl, left.entity, (0.05, 0, 0)),  # a tip that pushes forwards holds nothing
        touching(hand.entity, table, (0, 0, 1.0)),
        touching(bowl, cube, (0.01, 0, 0)),
    ]
    marks.append(reader.mark(start=False))
    events = reader.read(marks)
    assert events.objects == ("cube", "bowl")
    np.testing.assert_allclose(events.touch, [[np.nan, np.nan], [2, 10]], rtol=1e-6)
    np.testing.assert_allclose(events.rest, [[np.nan, np.nan], [8, 1]], rtol=1e-6)
    np.testing.assert_array_equal(events.fingers, [[0, 0], [1, 1]])
    np.testing.assert_allclose(events.opening, [0.06, 0.06], rtol=1e-6)
    np.testing.assert_allclose(events.hand[1], [0, 0, 0.3])
    np.testing.assert_allclose(events.pose[1, 1], [0.3, 0, 0.02, 1, 0, 0, 0])


def told(config: EnvConfig, *inits: InitState) -> list[Events]:
    events: dict[tuple[str, int, int], Events] = {}
    with EnvPool(config, slots=1, workers=1, timeout_s=300.0, start_timeout_s=300.0) as pool:
        result = play_experts(pool, list(inits), ExpertPlay(0.0, 1, 0), events=events)
    assert all(line.success for line in result.ledger)
    return [events[init.task, init.seed, 0] for init in inits]


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_experts_carry_and_push_the_cube():
    config = ManiSkillConfig(tasks=(PICK, PUSH), scenes=1)
    held, pushed = told(config, InitState(PICK, 3), InitState(PUSH, 3))
    assert held.objects == ("cube",)
    assert (held.fingers[-1, 0], held.fingers[1, 0]) == (2, 0)
    assert held.resting[1, 0] and not held.resting[-1, 0]
    assert held.opening[1] > 0.07 > held.opening[-1]
    assert strategy_of(phases_of(held, CONTROL_HZ)) == (("carry", "cube"),)
    assert pushed.touched.any() and (pushed.fingers < 2).all()
    assert strategy_of(phases_of(pushed, CONTROL_HZ)) == (("push", "cube"),)


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
@pytest.mark.usefixtures("plate_assets")
def test_what_is_put_on_a_plate_has_its_role_as_name_whichever_model_it_is():
    config = PutOnPlateConfig(cameras=(), state="objects", scenes=1, stand_ins=True)
    seeds = 0, 1
    digits = [config.variants[MAIN].of_seed(seed) for seed in seeds]
    assert digits[0].obj != digits[1].obj
    for events in told(config, *(InitState(MAIN, seed) for seed in seeds)):
        assert ("carry", "object") in strategy_of(phases_of(events, config.spec.control_hz))
        assert events.objects[0] == "object"

"""Contacts of a hand-made model: who touches whom, and how hard."""

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.sim

MODEL = """
<mujoco>
  <option cone="{cone}" gravity="0 0 -10"/>
  <worldbody>
    <geom name="table" type="plane" size="1 1 .1"/>
    <body name="arm" pos="0 0 .05">
      <body name="hand">
        <body name="left"><joint name="l" type="slide" axis="1 0 0"/>
          <body name="pad" pos="-.05 0 0"><geom type="box" size=".01 .02 .02" mass=".1"/></body>
        </body>
        <body name="right"><joint name="r" type="slide" axis="1 0 0"/>
          <geom type="box" pos=".05 0 0" size=".01 .02 .02" mass=".1"/></body>
      </body>
    </body>
    <body name="block" pos="0 0 .03"><freejoint/>
      <geom type="box" size=".03 .03 .03" mass="2"/></body>
    <body pos=".5 0 .1"><joint name="knob" type="hinge"/>
      <geom type="box" size=".03 .03 .03" mass="1"/></body>
  </worldbody>
  <actuator><motor joint="l"/><motor joint="r"/></actuator>
</mujoco>
"""


def reader(cone: str) -> tuple[Any, Any, Any]:
    import mujoco

    from pushcut.envs.mujoco.contacts import ContactReader, GripperBodies

    model = mujoco.MjModel.from_xml_string(MODEL.format(cone=cone))  # pyright: ignore
    data = mujoco.MjData(model)  # pyright: ignore
    gripper = GripperBodies("hand", ("left", "right"))
    return model, data, ContactReader(model, data, gripper)


def settled(model: Any, data: Any, *forces: float) -> None:
    import mujoco

    data.ctrl[:] = forces
    for _ in range(2000):
        mujoco.mj_step(model, data)  # pyright: ignore
    mujoco.mj_forward(model, data)  # pyright: ignore


@pytest.mark.parametrize("cone", ["elliptic", "pyramidal"])
def test_forces_are_those_of_the_physics(cone):
    model, data, contacts = reader(cone)
    settled(model, data, 0, 0)
    alone = contacts.mark(start=False)
    settled(model, data, 7, -7)
    events = contacts.read([contacts.mark(start=True), alone, contacts.mark(start=False)])
    block = events.objects.index("block")
    # 2 kg under 10 m/s²; then two fingers press with 7 N each.
    assert events.rest[1, block] == pytest.approx(20, rel=0.01)
    assert not events.touched[1, block]
    assert events.touch[2, block] == pytest.approx(14, rel=0.02)
    assert events.fingers[:, block].tolist() == [0, 0, 2]
    # Of a start only the poses are known.
    assert not events.touched[0].any() and not events.resting[0].any()
    np.testing.assert_allclose(events.pose[1, block, 2], 0.03, atol=1e-3)


def test_objects_are_what_can_move_and_is_no_robot():
    _, _, contacts = reader("elliptic")
    # A body without a name is called by its joint.
    assert contacts.objects == ("block", "knob")


def test_one_finger_is_one():
    model, data, contacts = reader("elliptic")
    settled(model, data, 1, 5)
    events = contacts.read([contacts.mark(start=False)])
    assert events.fingers[0, events.objects.index("block")] == 1
    # What nobody touched and what did not move is left out.
    assert events.stirred().objects == ("block",)

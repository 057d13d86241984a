"""Which device ManiSkill draws on, with devices that are made up, and where it is installed."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pushcut.envs.isolated import simulators
from pushcut.envs.isolated.simulators import Launch, installed
from pushcut.envs.maniskill import devices, env
from pushcut.envs.maniskill.devices import NO_VULKAN, DeviceChoice, ask_device, choose_device
from pushcut.envs.maniskill.env import ManiSkillConfig
from pushcut.errors import UserError
from tests.envs.isolated.simulators import NEEDS_MANISKILL

DRAWING = ManiSkillConfig(cameras=("base_camera",))


@dataclass
class Device:
    """What sapien.Device tells of a device."""

    name: str
    draws: bool = True

    def can_render(self) -> bool:
        return self.draws


def machine(**gpus: Device):
    """sapien.Device on a machine with these GPUs, numbered from zero as cuda0, cuda1, …"""
    numbered = {name.replace("cuda", "cuda:"): gpu for name, gpu in gpus.items()}
    known = {"cpu": Device("cpu")} | numbered | ({"cuda": numbered["cuda:0"]} if gpus else {})

    def find(name: str) -> Device:
        if name not in known:
            raise RuntimeError(f'failed to find device "{name}"')
        return known[name]

    return find


A, B, BLIND = Device("NVIDIA A"), Device("NVIDIA B"), Device("NVIDIA C", draws=False)

CHOICES = {
    "no GPU": ("auto", machine(), {}, ("cpu", "there is no CUDA device")),
    "a GPU": ("auto", machine(cuda0=A), {}, ("cuda", "NVIDIA A")),
    "without Vulkan": ("auto", machine(cuda0=BLIND), {}, ("cpu", "NVIDIA C has no Vulkan driver")),
    "that of the rank": (
        "auto", machine(cuda0=A, cuda1=B), {"LOCAL_RANK": "1"}, ("cuda:1", "NVIDIA B"),
    ),
    "the rank's is hidden": ("auto", machine(cuda0=A), {"LOCAL_RANK": "1"}, ("cuda", "NVIDIA A")),
    "Ray shows one": (
        "auto", machine(cuda0=A), {"LOCAL_RANK": "1", "PUSHCUT_GPU": "1"}, ("cuda", "NVIDIA A"),
    ),
    "the CPU is asked for": ("cpu", machine(cuda0=A), {}, ("cpu", "as --env.render-device asks")),
    "a GPU is asked for": ("cuda:1", machine(cuda0=A, cuda1=B), {}, ("cuda:1", "NVIDIA B")),
    "against SAPIEN's word": ("cuda", machine(cuda0=BLIND), {}, ("cuda", "NVIDIA C")),
}  # fmt: skip


@pytest.mark.parametrize("case", CHOICES)
def test_a_gpu_that_draws_is_taken_else_the_cpu(case):
    asked, find, environment, wanted = CHOICES[case]
    assert choose_device(asked, find, environment) == DeviceChoice(*wanted)


def test_a_gpu_that_is_asked_for_and_missing_is_refused():
    with pytest.raises(UserError, match=r"--env.render-device cuda:3: .*no such GPU; auto takes"):
        choose_device("cuda:3", machine(cuda0=A), {})


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "pci:0", ""])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="render_device must be auto, cpu, cuda or cuda:N"):
        replace(DRAWING, render_device=name)


def test_one_line_says_which(monkeypatch, capsys):
    asked = []

    def ask(python: Path, name: str) -> DeviceChoice:
        asked.append((python, name))
        return DeviceChoice("cuda:1", "NVIDIA B")

    class Installed:
        python = Path("theirs/bin/python")

    monkeypatch.setattr(devices, "ask_device", ask)
    monkeypatch.setattr(env, "installed", lambda name: Installed)
    replace(DRAWING, render_device="cuda:1").check_drawing(films=False)
    ManiSkillConfig().check_drawing(films=False)  # states: nothing is asked
    assert asked == [(Path("theirs/bin/python"), "cuda:1")]
    said = "ManiSkill draws on cuda:1 (NVIDIA B); --env.render-device chooses\n"
    assert capsys.readouterr().out == said


ANSWERS = {
    '{"name": "cpu", "why": "no CUDA device"}': DeviceChoice("cpu", "no CUDA device"),
    '{"error": "no such GPU"}': "no such GPU",
    "": "ManiSkill cannot draw here: exit code 0",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_the_other_interpreter_answers_is_told(monkeypatch, answer):
    launch = Launch(("sh", "-c", 'printf "%s" "$0"', answer), {})
    monkeypatch.setattr(simulators, "isolated_launch", lambda python, module: launch)
    wanted = ANSWERS[answer]
    if isinstance(wanted, DeviceChoice):
        assert ask_device(Path("python"), "auto") == wanted
        return
    with pytest.raises(UserError) as told:
        ask_device(Path("python"), "auto")
    assert str(told.value) == wanted


@pytest.mark.sim
@pytest.mark.slow
@NEEDS_MANISKILL
def test_the_simulators_own_interpreter_answers():
    found = installed("maniskill")
    assert found is not None
    try:
        choice = ask_device(found.python, "auto")
    except UserError as error:
        assert str(error) == NO_VULKAN
    else:
        assert choice.name in ("cpu", "cuda")

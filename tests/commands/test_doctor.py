import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from pushcut.commands import doctor_machine
from pushcut.commands.doctor_machine import run_doctor
from pushcut.commands.doctor_verdict import Examination, Trial, checkpoint_verdict, gap_verdict
from pushcut.envs.isolated.simulators import Installed
from pushcut.envs.mujoco.gl import GlProbe
from pushcut.evaluation.intervals import Rate
from pushcut.system import machine

GB = 1 << 30


@pytest.fixture(autouse=True)
def a_machine_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PUSHCUT_SIMS", str(tmp_path / "sims"))
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(doctor_machine, "backends_here", lambda: ("egl", "osmesa"))
    monkeypatch.setattr(doctor_machine, "probe_gl", probes("egl"))
    monkeypatch.setattr(doctor_machine, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(doctor_machine, "usable_cores", lambda: 4.0)
    monkeypatch.setattr(doctor_machine, "memory_bytes", lambda: (16 * GB, 12 * GB))
    monkeypatch.setattr(doctor_machine, "free_bytes", lambda path: 100 * GB)


def probes(*working: str) -> Callable[[str], GlProbe]:
    def probe(backend: str) -> GlProbe:
        if backend in working:
            return GlProbe(backend, True, 7.3, "llvmpipe")
        return GlProbe(backend, False, 0.0, "its library is not installed")

    return probe


def ask(checkpoint: Path | None = None, examined: Examination | None = None) -> tuple[int, str]:
    out = io.StringIO()
    console = Console(file=out, width=200)
    examine = None if examined is None else lambda path: examined
    return run_doctor(checkpoint, examine=examine, console=console), out.getvalue()


def test_a_machine_in_order_has_no_problems():
    code, text = ask()
    assert code == 0
    for part in ("metaworld", "3.1.1", "works: llvmpipe, 7.3 ms a frame", "12.0 GB available"):
        assert part in text
    assert "No problems" in text


def test_simulators_and_what_draws_for_maniskill_are_named(monkeypatch: pytest.MonkeyPatch):
    _, text = ask()
    assert "not installed: pushcut sims install maniskill" in text
    assert "Vulkan" not in text
    found = Installed(Path("/sims/maniskill"), (), (), "3.11.7", 150.0, 2 << 30)
    monkeypatch.setattr(doctor_machine, "isolated", lambda name: found)
    for works, part in ((True, "works: a box, 2.7 ms"), (False, "does not work: a box")):
        probe = GlProbe("vulkan", works, 2.7, "a box")
        monkeypatch.setattr(doctor_machine, "probe_vulkan", lambda python, probe=probe: probe)
        code, text = ask()
        assert code == 0
        assert part in text
        assert ("it plays from states" in text) == (not works)


def test_no_opengl_is_fatal_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor_machine, "probe_gl", probes())
    code, text = ask()
    assert code == 1
    assert "MuJoCo cannot render here" in text
    assert "--no-install-recommends libegl1 libgl1-mesa-dri libgles2" in text


def test_a_choice_of_opengl_that_fails_names_one_that_works(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    code, text = ask()
    assert code == 1
    assert "MUJOCO_GL=glfw does not work here" in text
    assert "export MUJOCO_GL=egl" in text


def test_a_missing_package_is_fatal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor_machine, "PACKAGES", ("no-such-package",))
    code, text = ask()
    assert code == 1
    assert "no-such-package is not installed" in text


def test_a_torch_that_cannot_be_imported_is_fatal(monkeypatch: pytest.MonkeyPatch):
    def broken(name: str):
        raise OSError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr("importlib.import_module", broken)
    section = doctor_machine.compute()
    assert [problem.fatal for problem in section.problems] == [True]
    assert "libcudart.so.13" in section.problems[0].what


def test_scarce_cores_memory_and_space_are_told_but_not_fatal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor_machine, "usable_cores", lambda: 0.5)
    monkeypatch.setattr(doctor_machine, "memory_bytes", lambda: (2 * GB, GB))
    monkeypatch.setattr(doctor_machine, "free_bytes", lambda path: 32 << 20)
    code, text = ask()
    assert code == 0
    for part in ("0.5 core:", "1.0 GB of memory is available", "--shm-size=1g", "make room"):
        assert part in text


def test_spinning_openmp_threads_are_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_WAIT_POLICY")
    _, text = ask()
    assert "export OMP_WAIT_POLICY=PASSIVE" in text


def test_a_gpu_that_a_cpu_build_of_torch_leaves_idle_is_told(monkeypatch: pytest.MonkeyPatch):
    import torch

    monkeypatch.setattr(doctor_machine, "has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.version, "cuda", None)
    code, text = ask()
    assert code == 0
    assert "this torch is a CPU build" in text
    assert "NVIDIA_DRIVER_CAPABILITIES=all" in text


def test_a_checkpoint_is_sampled_and_judged(tmp_path: Path):
    code, text = ask(tmp_path, Examination({"push-v3": Rate(2, 8)}))
    assert code == 0
    assert "sampled success: 2 of 8 episodes = 25.0%" in text


def test_a_machine_that_cannot_work_samples_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(doctor_machine, "probe_gl", probes())
    code, text = ask(tmp_path, Examination({"push-v3": Rate(2, 8)}))
    assert code == 1
    assert "sampled success" not in text


def test_below_five_percent_rl_learns_nothing():
    # 4 of 100 = 4 %; Wilson: 1.6 % to 9.8 %, so it could be more than 5 %
    lines = checkpoint_verdict({"a": Rate(4, 50), "b": Rate(0, 50)})
    assert "4 of 100 episodes = 4.0% (95 % interval 1.6% to 9.8%)" in lines[0]
    assert "RL will learn nothing" in lines[1]
    assert "from 0 % there is no gain" in lines[1]
    assert "more demonstrations" in lines[2]
    assert "sample more to be sure" in lines[3]


def test_a_sure_zero_is_not_called_open():
    # 0 of 100: Wilson 0 % to 3.7 %
    assert not any("sample more" in line for line in checkpoint_verdict({"a": Rate(0, 100)}))


def test_above_ninety_five_percent_little_is_left_to_gain():
    lines = checkpoint_verdict({"a": Rate(97, 100)})
    assert "little to gain: at most 3.0%" in lines[1]


def test_in_between_rl_can_work_and_one_sided_tasks_are_named():
    lines = checkpoint_verdict({"half": Rate(4, 8), "never": Rate(0, 8), "always": Rate(8, 8)})
    # Mixed groups of 8 at one half: 1 - 2 / 2^8 = 99.2 %; at 0 and 1: none; mean 33 %
    assert "RL can work: up to 33% of groups of 8" in lines[1]
    assert "never solved, so nothing to learn from yet: never (0 of 8)" in lines
    assert "always solved, so nothing left to learn: always (8 of 8)" in lines


@pytest.mark.parametrize("rates", [{}, {"a": Rate(0, 0)}])
def test_no_episodes_say_nothing(rates: dict[str, Rate]):
    assert checkpoint_verdict(rates) == ["no episode was sampled, so nothing can be said"]


def test_the_gap_between_sampled_and_deterministic_actions_is_judged():
    # 20 of 100: Wilson to 28.9 %; 60 of 100: from 50.2 %.
    apart = Trial("noise", Rate(60, 100), Rate(20, 100), chosen=True)
    lines = gap_verdict([apart, Trial("other", Rate(60, 100), Rate(0, 100))])
    assert "exploring costs 40 points" in lines[0]
    assert "--policy.noise-level" in lines[1]
    near = Trial("noise", Rate(60, 100), Rate(50, 100), chosen=True)
    (line,) = gap_verdict([near])
    assert line == "with noise -10 points: no more of a difference than chance explains"
    better = Trial("noise", Rate(20, 100), Rate(60, 100), chosen=True)
    assert gap_verdict([better]) == ["exploring helps: 40 points more than without noise"]


def test_settings_of_exploration_are_listed(tmp_path: Path):
    trials = [Trial("flow-sde 0.5, K = 4", Rate(6, 8), Rate(4, 8), chosen=True)]
    _, text = ask(tmp_path, Examination({"push-v3": Rate(4, 8)}, trials))
    assert "flow-sde 0.5, K = 4 (chosen)" in text
    assert "75% (41% to 93%)" in text
    assert "-25" in text


def test_the_containers_limits_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "cpu.max").write_text("50000 100000\n")  # half a core
    (tmp_path / "memory.max").write_text(str(1 << 20))
    (tmp_path / "memory.current").write_text(str(1 << 19))
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    assert machine.usable_cores() == 0.5
    assert machine.memory_bytes() == (1 << 20, 1 << 19)


def test_no_limit_of_a_container_leaves_the_machines_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    assert machine.usable_cores() >= 1

"""The arrows of the design, read from the source: who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from scripts.house import (
    PAGE,
    ROOT,
    all_imports,
    arrows,
    floors,
    house,
    imports,
    page_with,
    reached,
    room_of,
)

TESTS = Path(__file__).parent

LEVELS = {
    "": (
        "errors weights types transfers",
        "batch system registry plugins promises client",
        "envs policies algorithms ranks runs",
        "demos rollout cluster",
        "learning evaluation instructions serving robot",
        "config reporting analysis",
        "trainer presets memory loading before_loading",
        "assembly",
        "commands",
        "arguments",
        "handlers",
        "cli",
        "__main__",
    ),
    "envs": (
        "checks events contacts protocol",
        "around resized still",
        "randomised",
        "base batched episodes init_states isolated replayed two_arms",
        "instructions telling",
        "mujoco pool point_mass",
        "bimanual calvin gymnasium metaworld libero maniskill contract",
        "robotwin",
        "mixed",
    ),
    "policies": (
        "pickles",
        "evidence noise normalisation places precision tensor_files told adapter_settings",
        "networks value_head lora",
        "adapter_files",
        "base",
        "masters pretrained tokens flow",
        "from_data",
        "small released",
        "kinds whole",
        "source contract",
    ),
    "policies/released": (
        "files images options prompts scaling tensors",
        "lerobot hub network_sizes vector_sizes weight_files",
        "adapters camera_order stated tokenizer_parts",
        "policy tokenizer_files",
        "vla",
        "flow vla_loading",
        "groot openvla pi0",
        "pi0_fast smolvla",
        "before_download",
    ),
    "demos": (
        "images stats pictures choice plain_pickles",
        "dialects frames",
        "hdf5",
        "attempts joined lerobot libero_hdf5 robotwin_hdf5 calvin_npz loading event_files",
        "sources",
        "dataset collect sentences",
    ),
}
"""Folder -> its floors. A part (module or folder) may import parts of lines above its own, never
its neighbours on the line; the modules of a folder that is not listed may import each other."""

ONLY_IN = {
    "mujoco": "envs",
    "pybullet": "envs",
    "metaworld": "envs",
    "libero": "envs",
    "robosuite": "envs",
    "numba": "envs",
    "gymnasium": "envs",
    "mani_skill": "envs",
    "sapien": "envs",
    "mplib": "envs",
    "transforms3d": "envs",
    "safetensors": "policies",
    "pyarrow": "demos",
    "h5py": "demos",
    "av": "system",
    "tyro": "arguments",
    "cattrs": "runs",
    "yaml": "runs envs",
    "shtab": "commands",
    "wandb": "runs",
    "prometheus_client": "runs",
    "ray": "cluster",
    "torch.distributed": "ranks",
    "transformers": "policies",
    "tokenizers": "policies",
    "simplejpeg": "policies",
    "huggingface_hub": "policies",
    "peft": "policies",
    "msgpack": "client",
}
"""Foreign package -> the parts that may import it."""

WITHOUT_TORCH = "errors types promises system envs demos client"
"""Parts that never import torch, nor anything that does: the workers are made of them."""

FOUND = all_imports()


def has_prefix(name: str, prefix: str) -> bool:
    return f"{name}.".startswith(f"{prefix}.")


def importers_of(package: str) -> set[str]:
    return {room_of(one.path) for one in FOUND if has_prefix(one.name, package)}


def folders() -> list[str]:
    return sorted(str(path.parent.relative_to(ROOT)) for path in ROOT.glob("*/**/__init__.py"))


@pytest.mark.parametrize("folder", LEVELS)
def test_every_part_has_its_level(folder):
    assert {part for line in LEVELS[folder] for part in line.split()} == arrows(
        FOUND, folder
    ).keys()


@pytest.mark.parametrize("folder", LEVELS)
def test_arrows_point_from_lower_to_higher_levels_only(folder):
    level = {part: number for number, line in enumerate(LEVELS[folder]) for part in line.split()}
    found = arrows(FOUND, folder)
    wrong = [(a, b) for a, targets in found.items() for b in targets if level[b] >= level[a]]
    assert not wrong


@pytest.mark.parametrize("folder", folders())
def test_no_folder_has_a_circle_of_imports(folder):
    assert floors(arrows(FOUND, folder))


@pytest.mark.parametrize("folder", folders())
def test_every_folder_says_what_it_is_what_it_imports_and_what_it_promises(folder):
    docstring = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text())) or ""
    assert "May import" in docstring
    assert "Promises" in docstring


def test_the_picture_of_the_house_is_the_one_that_the_imports_draw():
    page = PAGE.read_text()
    assert page == page_with(house(), page), "stale: python scripts/house.py --write"


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_foreign_package_is_imported_in_its_own_parts_only(package):
    assert importers_of(package) <= set(ONLY_IN[package].split())


def test_the_workers_parts_reach_torch_over_no_arrow():
    found = arrows(FOUND)
    parts = set(WITHOUT_TORCH.split())
    assert not parts.union(*(reached(part, found) for part in parts)) & importers_of("torch")


def modules_after(code: str) -> set[str]:
    """Names of the modules that a fresh process has loaded after running ``code``."""
    script = f"{code}\nimport sys\nprint()\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import pushcut", "torch numpy tyro"),
        (
            "import pushcut.envs.pool.worker, pushcut.envs",
            "torch metaworld libero robosuite numba mujoco gymnasium scipy",
        ),
        (
            "import pushcut.robot, pushcut.robot.session, pushcut.robot.operator",
            "torch tyro cattrs",
        ),
        ("from pushcut.cli import main; assert main(['--help']) == 0", "torch tyro numpy rich"),
        ("from pushcut.cli import main; assert main(['report']) == 2", "torch tyro"),
    ],
)
def test_a_light_start_loads_nothing_heavy(code, absent):
    assert not modules_after(code) & set(absent.split())


def test_no_test_imports_another_test():
    found = {
        (str(path.relative_to(TESTS)), name)
        for path in TESTS.rglob("*.py")
        for name in imports(ast.parse(path.read_text()))
        if name.startswith("tests.") and ".test_" in name
    }
    assert not found, "what tests share stands beside them, as in tests/policies/builders.py"


def test_the_reader_of_imports_sees_late_ones_but_none_for_type_checkers():
    code = """
if TYPE_CHECKING:
    import ray
else:
    import one
def f():
    from two import three
importlib.import_module("four")
"""
    assert list(imports(ast.parse(code))) == ["one", "two.three", "four"]

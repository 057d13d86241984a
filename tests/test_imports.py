"""The arrows of the design, read from the source: who may import whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "pushcut"

LEVELS = (
    "errors types streams statistics charts gripper",
    "system",
    "runs",
    "devices weights video report batch verdict lineage plots",
    "envs policies algorithms ranks",
    "step demos rollout cluster doctor results memory",
    "learner",
    "sft evaluator checkpoint tables",
    "config",
    "resume",
    "presets trainer",
    "commands",
    "cli",
    "__main__",
)
"""A part (module or package of pushcut) may import parts of lines above its own, never its
neighbours on the line; the modules of a package may import each other."""

ONLY_IN = {
    "mujoco": "envs",
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
    "tyro": "cli",
    "wandb": "runs",
    "prometheus_client": "runs",
    "simpy": "",
    "ray": "cluster",
    "torch.distributed": "ranks",
    "transformers": "policies",
    "tokenizers": "policies",
    "simplejpeg": "policies",
    "huggingface_hub": "policies",
    "peft": "policies",
}
"""Foreign package -> the one part that may import it."""

WITHOUT_TORCH = "errors types system runs streams statistics charts gripper envs demos"
"""Parts that never import torch, nor anything that does: the workers are made of them."""


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of everything imported anywhere, except for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports(ast.Module(node.orelse, []))
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import: {ast.unparse(node)}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func):
            yield from (str(a.value) for a in node.args if isinstance(a, ast.Constant))
        yield from imports(node)


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def has_prefix(name: str, prefix: str) -> bool:
    return f"{name}.".startswith(f"{prefix}.")


def all_imports() -> list[tuple[Path, str]]:
    return [
        (path, name)
        for path in sorted(ROOT.rglob("*.py"))
        for name in imports(ast.parse(path.read_text()))
    ]


LEVEL = {part: number for number, line in enumerate(LEVELS) for part in line.split()}
IMPORTS = all_imports()
OWN = [
    (path, part_of(path), name.split(".")[1])
    for path, name in IMPORTS
    if has_prefix(name, "pushcut") and name != "pushcut.__version__"
]


def test_every_part_has_its_level():
    parts = {part_of(path) for path in ROOT.rglob("*.py")} - {"__init__"}
    assert parts == LEVEL.keys()


def test_arrows_point_from_lower_to_higher_levels_only():
    wrong = [
        f"{path.relative_to(ROOT)} imports {target}"
        for path, part, target in OWN
        if part != target and LEVEL[target] >= LEVEL[part]
    ]
    assert not wrong


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_foreign_package_is_imported_in_its_one_part_only(package):
    found = {part_of(path) for path, name in IMPORTS if has_prefix(name, package)}
    assert found <= {ONLY_IN[package]}


def test_the_workers_parts_reach_torch_over_no_arrow():
    reached = set(WITHOUT_TORCH.split())
    while more := {target for _, part, target in OWN if part in reached} - reached:
        reached |= more
    guilty = {part_of(path) for path, name in IMPORTS if has_prefix(name, "torch")}
    assert not reached & guilty


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
        ("from pushcut.cli import main; assert main(['--help']) == 0", "torch tyro numpy rich"),
        ("from pushcut.cli import main; assert main(['report']) == 2", "torch tyro"),
    ],
)
def test_a_light_start_loads_nothing_heavy(code, absent):
    assert not modules_after(code) & set(absent.split())


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

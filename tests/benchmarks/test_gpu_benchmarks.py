"""The GPU benchmarks, tried at tiny sizes on the CPU: their code runs and says what it should.

Their times at this size mean nothing; what is tested is that all variants compute the same.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GPU = Path(__file__).parents[2] / "benchmarks" / "gpu"

PI0_VARIANTS = {"straightforward", "reference", "eager", "graph", "compiled", "compiled+graph"}


def record_of(script: str, *options: str) -> dict:
    environment = os.environ | {"PYTHONPATH": str(GPU.parents[1] / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(GPU / script), "--tiny", "--device", "cpu", *options]
    # The longest by far is waiting for a processor, where others work on the machine.
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1400)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def largest_error(record: dict) -> float:
    measured = [*record["sampling"].values(), *record["update"].values()]
    errors = [each["error"] for each in measured if each["error"] is not None]
    assert len(errors) > len(measured) / 2
    return max(errors)


@pytest.mark.parametrize(
    ("model", "dtype", "bound"),
    [
        pytest.param("pi0", "bfloat16", 0.05, marks=pytest.mark.slow),
        pytest.param("pi05", "float32", 1e-5, marks=pytest.mark.slow),
    ],
)
def test_all_variants_of_pi0_sample_and_learn_the_same(model, dtype, bound):
    record = record_of("pi0.py", "--model", model, "--dtype", dtype)
    assert record["not_measured"] == {}
    assert record["results_agree"] and largest_error(record) < bound
    assert record["sensitivity"] > 0.1, "a variant blind to the image would not be noticed"
    assert set(record["decisions_per_second"]) == PI0_VARIANTS | {"autotuned", "autotuned+graph"}
    assert set(record["ours"]) == {"1", "2"}
    # Four ways to run ours with the prefix computed again, kept, or on the host; two baselines.
    assert len(record["update"]) == 2 * (4 * 3 + 2)
    assert record["ratio_sampling"] > 0 and record["ratio_update"] > 0
    # PaliGemma is frozen, and the words that the expert never uses.
    assert 0 < record["trained"] < record["parameters"] / 2
    assert record["graph_breaks"] == 0
    assert {"date", "commit", "device", "torch", "matmul_tflops", "gflop"} <= set(record)


@pytest.mark.slow
def test_all_variants_of_openvla_oft_sample_and_learn_the_same():
    record = record_of("openvla_oft.py", "--commit", "abc")
    assert record["not_measured"] == {}
    assert record["results_agree"] and largest_error(record) < 0.05
    assert record["sensitivity"] > 0.5
    assert set(record["decisions_per_second"]) > {"straightforward", "eager", "compiled+graph"}
    assert len(record["update"]) == 3 * 2
    assert record["ratio_sampling"] > 0 and record["ratio_update"] > 0
    assert record["what_is_trained"].partition(":")[0] in ("lora", "last blocks")
    assert record["commit"] == "abc"


@pytest.mark.slow
def test_what_no_longer_fits_the_budget_is_noted_and_left_out():
    record = record_of("openvla_oft.py", "--budget-seconds", "0")
    assert record["sampling"] == {} and record["ours"] == {}
    assert record["ratio_sampling"] is None and not record["results_agree"]
    assert record["not_measured"]["sample 1 eager"].startswith("skipped: ")

"""Files of initial states: what is read, and that nothing in them is ever executed."""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from pushcut.envs.libero.init_states import read_init_states
from pushcut.errors import UserError
from tests.envs.libero.torch_files import Hostile, torch_file

STATES = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f8", ">f8", "<f4"])
def test_originals_and_the_packages_own_files_are_read_alike(tmp_path: Path, order, kind):
    states = np.asarray(STATES, dtype=kind, order=order)
    original = torch_file(tmp_path / "task.pruned_init", states)
    np.savez(tmp_path / "task.npz", states=STATES)
    np.save(tmp_path / "task.npy", STATES)
    for path in (original, tmp_path / "task.npz", tmp_path / "task.npy"):
        read = read_init_states(path, 3, 4)
        assert read.dtype == np.float64
        np.testing.assert_array_equal(read, STATES)


def test_what_torch_itself_saves_is_read(tmp_path: Path):
    import torch

    torch.save(STATES, tmp_path / "task.pruned_init")
    np.testing.assert_array_equal(read_init_states(tmp_path / "task.pruned_init", 3, 4), STATES)


def test_a_hostile_pickle_is_refused_and_never_executed(tmp_path: Path):
    touched = tmp_path / "touched"
    files = {
        "zip.pruned_init": torch_file(tmp_path / "zip.pruned_init", Hostile(touched)),
        "inside.pruned_init": torch_file(
            tmp_path / "inside.pruned_init", OrderedDict(states=Hostile(touched))
        ),
        "bare.pruned_init": tmp_path / "bare.pruned_init",
        "bare.npy": tmp_path / "bare.npy",
        "objects.npy": tmp_path / "objects.npy",
        "objects.npz": tmp_path / "objects.npz",
    }
    files["bare.pruned_init"].write_bytes(pickle.dumps(Hostile(touched)))
    files["bare.npy"].write_bytes(pickle.dumps(Hostile(touched)))
    objects = np.array([Hostile(touched)], dtype=object)
    np.save(files["objects.npy"], objects, allow_pickle=True)
    np.savez(files["objects.npz"], states=objects)
    for path in files.values():
        with pytest.raises(UserError, match=path.name) as refusal:
            read_init_states(path, 3, 4)
        assert "\n" not in str(refusal.value)
    assert not touched.exists()
    # The same pickle does harm where it is trusted.
    pickle.loads(pickle.dumps(Hostile(touched)))
    assert touched.exists()


def test_the_refusal_names_what_the_file_wanted_to_call(tmp_path: Path):
    path = torch_file(tmp_path / "task.pruned_init", Hostile(tmp_path / "touched"))
    with pytest.raises(UserError, match=r"wants to call (posix|os|nt)\.system, which is refused"):
        read_init_states(path, 3, 4)


def test_other_contents_are_one_clear_line(tmp_path: Path):
    contents = {
        "a list": [1, 2, 3],
        "a string array": np.array(["a"]),
        "an object array": np.array([None, 1], dtype=object),
        "too few": STATES[:2],
        "no numbers": np.full((3, 4), np.nan),
    }
    for name, content in contents.items():
        path = torch_file(tmp_path / f"{name}.pruned_init", content)
        with pytest.raises(UserError) as refusal:
            read_init_states(path, 3, 4)
        assert "\n" not in str(refusal.value)
    with pytest.raises(UserError, match=r"float64 \[2, 4\]; this task needs float64 \[3, 4\]"):
        read_init_states(tmp_path / "too few.pruned_init", 3, 4)
    with pytest.raises(UserError, match="none.npz is no file of initial states"):
        read_init_states(tmp_path / "none.npz", 3, 4)


def test_a_pickle_that_lies_about_its_size_is_refused(tmp_path: Path):
    honest = pickle.dumps(STATES, protocol=2)
    lying = honest.replace(b"K\x03K\x04\x86", b"K\x09K\x04\x86")  # shape (9, 4)
    assert lying != honest
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", lying)
    path = tmp_path / "task.pruned_init"
    path.write_bytes(archive.getvalue())
    with pytest.raises(UserError, match=r"96 bytes do not make an array of shape \(9, 4\)"):
        read_init_states(path, 9, 4)

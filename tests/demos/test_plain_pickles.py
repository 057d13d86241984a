"""Arrays, texts and numbers come back as they were saved; what else a pickle says is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pushcut.demos.plain_pickles import read_plain
from pushcut.errors import UserError

REFUSED = "holds more than arrays, texts, numbers, tuples, lists and dicts, or is damaged"


def save(file: Path, content: Any, protocol: int = 4) -> Path:
    """As ``np.save`` does, whichever protocol its version takes."""
    array = np.empty((), object)
    array[()] = content
    return save_bytes(file, pickle.dumps(array, protocol=protocol))


def save_bytes(file: Path, pickled: bytes) -> Path:
    with file.open("wb") as stream:
        header = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(pickled)
    return file


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_what_np_save_writes_comes_back(tmp_path, protocol):
    content = {
        "text": ["pull the drawer", "é"],
        "spans": [(3, 6), (np.int64(5), 9)],
        "emb": np.arange(6, dtype=np.float32).reshape(1, 2, 3),
        "by columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "swapped": np.array([1.5, -2], ">f8"),
        "words": np.array(["ab", "c"]),
        "true": np.array([True, False]),
        "nothing": [None, np.zeros((0, 3)), {}, (), 1.5, True],
    }
    back = read_plain(save(tmp_path / "a.npy", content, protocol))
    assert list(back) == list(content)
    assert (back["text"], back["spans"]) == (content["text"], [(3, 6), (5, 9)])
    for name in ("emb", "by columns", "swapped", "words", "true"):
        np.testing.assert_array_equal(back[name], content[name])
        assert back[name].dtype == content[name].dtype
    assert back["nothing"][0] is None and back["nothing"][1].shape == (0, 3)
    assert back["nothing"][2:] == [{}, (), 1.5, True]


def test_arrays_of_objects_are_lists_and_plain_arrays_are_arrays(tmp_path):
    objects: Any = np.array(["a", None, 2], dtype=object)
    np.save(tmp_path / "a.npy", objects)
    assert read_plain(tmp_path / "a.npy") == ["a", None, 2]
    np.save(tmp_path / "b.npy", np.arange(4).reshape(2, 2))
    assert read_plain(tmp_path / "b.npy").tolist() == [[0, 1], [2, 3]]


class Calling:
    """Its pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("touch {}",), "posix.system"),
        (eval, ("open('{}', 'w')",), "builtins.eval"),
        (getattr, ([], "append"), "builtins.getattr"),
        (np.load, ("{}",), "numpy.load"),
        (set, ([1],), "builtins.set"),
    ],
)
def test_a_pickle_that_names_anything_else_is_not_executed(tmp_path, function, arguments, named):
    made = tmp_path / "made"
    arguments = [x.format(made) if isinstance(x, str) else x for x in arguments]
    file = save(tmp_path / "a.npy", {"language": Calling(function, *arguments)})
    with pytest.raises(UserError, match=f"{REFUSED} .*it names {named}.*was not executed") as told:
        read_plain(file)
    assert "\n" not in str(told.value)
    assert not made.exists()


ARRAY = pickle.dumps(np.arange(3), protocol=4)
OF_OBJECTS = pickle.dumps(np.array([None], object), protocol=4)


@pytest.mark.parametrize(
    ("pickled", "why"),
    [
        (ARRAY.replace(b"i8", b"O8"), "array of objects"),  # its bytes would be addresses
        (ARRAY.replace(b"i8", b"V8"), "type V8"),
        (ARRAY.replace(b"i8", b"i4"), "3 numbers of int32 have other bytes"),
        (OF_OBJECTS.replace(b"O8", b"i8"), "list is not|have other bytes"),
        (pickle.dumps(np.zeros(1, [("a", "f4")]), protocol=4), "of type V4"),
        (pickle.dumps(np.zeros((1, 1), object), protocol=4), r"shape \(1, 1\)"),
        (b"\x80\x04cnumpy\ndtype\n.", "_Named is not plain"),
        (b"\x80\x04cnumpy\ndtype\n}b.", "it changes a function"),
        (b"\x80\x04]\x94h\x00a.", "a container holds itself"),
        (b"\x80\x04Pid\n.", "persistent"),
        (ARRAY[:20], "EOFError|UnpicklingError|truncated"),
        (b"", "EOFError"),
    ],
)
def test_a_pickle_with_something_crooked_in_it_is_refused(tmp_path, pickled, why):
    with pytest.raises(UserError, match=f"{REFUSED} .*({why})"):
        read_plain(save_bytes(tmp_path / "a.npy", pickled))


def test_what_refers_to_one_list_many_times_takes_no_longer(tmp_path):
    nested: list[Any] = []
    for _ in range(60):  # 2^60 lists, if each were made anew
        nested = [nested, nested]
    assert len(read_plain(save(tmp_path / "a.npy", nested))) == 2


def test_a_file_that_is_no_array_or_not_there_is_one_line(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=REFUSED):
        read_plain(tmp_path / "a.npy")
    with pytest.raises(UserError, match="b.npy is missing"):
        read_plain(tmp_path / "b.npy")

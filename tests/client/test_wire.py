"""Messages: openpi's layout byte for byte, and what is refused of damaged and hostile ones."""

import subprocess
import sys

import msgpack
import numpy as np
import pytest

from pushcut.client.wire import WireError, pack, unpack


def test_an_array_is_a_map_of_its_bytes_dtype_and_shape():
    array = np.array([[1, 2, 3]], np.uint8)
    plain = {b"__ndarray__": True, b"data": b"\x01\x02\x03", b"dtype": "|u1", b"shape": [1, 3]}
    assert msgpack.unpackb(pack({"a": array}), strict_map_key=False) == {"a": plain}
    number = {b"__npgeneric__": True, b"data": 0.5, b"dtype": "<f4"}
    assert msgpack.unpackb(pack(np.float32(0.5)), strict_map_key=False) == number


@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f8", "<i8", "?"])
def test_what_is_packed_is_unpacked(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    found = unpack(pack({"x": {"y": array, "n": array[0, 1]}}))["x"]
    np.testing.assert_array_equal(found["y"], array)
    assert found["y"].dtype == array.dtype
    assert found["n"] == array[0, 1]


def array(**changes):
    whole = {b"__ndarray__": True, b"data": b"\x00" * 8, b"dtype": "<f4", b"shape": [2]}
    return msgpack.packb(whole | {name.encode(): value for name, value in changes.items()})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xc1",
        b"\x81\xa1a",
        b"\x91" * 5000,
        array(dtype="|O"),
        array(dtype="nonsense"),
        array(dtype=[["a", "<f4"]]),
        array(shape=[3]),
        array(shape=[-2]),
        array(shape=[2**62, 2**62]),
        array(data="text"),
        array(dtype=None),
    ],
)
def test_damaged_and_hostile_messages_are_refused_in_words(content):
    with pytest.raises(WireError):
        unpack(content)


def test_objects_are_never_sent():
    with pytest.raises(WireError, match="dtype object do not travel"):
        pack({"a": np.array([object()])})
    with pytest.raises(WireError, match="set is neither text"):
        pack({"a": {1}})


def test_a_robot_needs_neither_torch_nor_the_rest_of_pushcut():
    code = "import pushcut.client, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert not loaded & {"torch", "rich", "jaxtyping", "PIL", "pyarrow", "tyro"}
    ours = {name for name in loaded if name.startswith("pushcut.")}
    assert all(name.startswith(("pushcut.client", "pushcut.errors")) for name in ours)

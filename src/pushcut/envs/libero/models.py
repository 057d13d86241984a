"""Compiles LIBERO's scenes into MuJoCo models, in a process of its own.

MuJoCo keeps up to 500 MB of meshes and textures for a next compilation and offers no way to
give them back: a worker that compiles is 0.4 GB larger for good than one that loads.
"""

# mujoco has no type stubs for its compiled part.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import mujoco

from pushcut.envs.isolated import start

TIMEOUT = 600.0
"""Seconds for a compilation, which takes 3 to 6 on an idle core."""


def load_model(xml: str, texture_size: int | None) -> mujoco.MjModel:
    """The model that ``xml`` describes; textures with a longer side are shrunk to the size."""
    with tempfile.TemporaryDirectory(prefix="pushcut-") as folder:
        scene, model = Path(folder) / "scene.xml", Path(folder) / "scene.mjb"
        scene.write_text(xml)
        command = [sys.executable, "-P", start.__file__, __name__, str(scene), str(model)]
        done = subprocess.run(
            [*command, str(texture_size or 0)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise RuntimeError(f"the scene does not compile: {lines[-1]}")
        return mujoco.MjModel.from_binary_path(str(model))


def compile_scene(xml: str, texture_size: int) -> mujoco.MjModel:
    """Compiles in this process; 0 leaves the textures as they are."""
    if texture_size == 0:
        return mujoco.MjModel.from_xml_string(xml)
    root = ElementTree.fromstring(xml)
    assets: dict[str, bytes] = {}
    for texture in root.iter("texture"):
        file = texture.get("file")
        if file is not None:
            name = f"texture{len(assets)}.bin"
            assets[name] = _shrunk(Path(file), texture_size)
            texture.set("file", name)
    return mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"), assets)


def _shrunk(path: Path, size: int) -> bytes:
    """An image in MuJoCo's own format: int32 width and height, then RGB bytes."""
    from PIL import Image

    with Image.open(path) as file:
        image = file.convert("RGB")
    if max(image.size) > size:
        width, height = (max(1, side * size // max(image.size)) for side in image.size)
        # The mean of the pixels that fall together, as OpenGL's own smaller versions of it are.
        image = image.resize((width, height), Image.Resampling.BOX)
    return struct.pack("ii", *image.size) + image.tobytes()


def main() -> None:
    """Entry point: XML file, file for the model, largest side of a texture or 0."""
    source, target, texture_size = sys.argv[1:]
    model = compile_scene(Path(source).read_text(), int(texture_size))
    mujoco.mj_saveModel(model, target)


if __name__ == "__main__":
    main()

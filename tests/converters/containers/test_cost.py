"""Whatever a hostile file costs its maker, it costs us less than a second and less than 100 MB."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile import FLOODS, HEADER_BOMBS, IMAGE_BOMBS, LEGACY_BOMBS, SECONDS, VIEWS, ZIP_BOMBS, header_bomb, image_bomb

GROWTH = 100_000_000  # bytes of the process's peak

BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    **{f"pickle: {name}": ("bare_pickle", make) for name, make in FLOODS.items()},
    **{f"zip: {name}": ("torch_zip", make) for name, make in ZIP_BOMBS.items()},
    **{f"legacy: {name}": ("torch_legacy", make) for name, make in LEGACY_BOMBS.items()},
    **{f"safetensors: {name}": ("safetensors", lambda name=name: header_bomb(name)) for name in HEADER_BOMBS},  # type: ignore[misc]
    **{f"image: {name}": ("image", lambda name=name: image_bomb(name)) for name in IMAGE_BOMBS},  # type: ignore[misc]
    **{f"views: {name}": ("examine", make) for name, make in VIEWS.items()},
}
CHILD = """
import importlib, json, sys, time
from pathlib import Path
from embconv.converters.errors import EmbconvError
from embconv.converters.model import TensorInfo
from embconv.converters.read import examine
from embconv.converters.source import Source

reader = None if sys.argv[1] == "examine" else importlib.import_module("embconv.converters.containers." + sys.argv[1])
if sys.argv[1] == "image":
    import numpy, PIL.Image, PIL.PngImagePlugin, PIL.WebPImagePlugin
    from embconv.converters.containers import carrier

def peak():  # in KiB; ru_maxrss would begin with the parent's
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

def read():
    with Source(sys.argv[2]) as source:
        if reader is None:
            return examine(source)
        contents = reader.read(source)
        if isinstance(contents.outline.root, TensorInfo):
            contents.fetch(contents.outline.root)

before, start, error = peak(), time.perf_counter(), None
try:
    read()
except EmbconvError as exc:
    error = type(exc).__name__
print(json.dumps({"seconds": time.perf_counter() - start, "growth": 1024 * (peak() - before), "error": error}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux")
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_in_a_second_and_100_mb(bomb: str, tmp_path: Path) -> None:
    reader, make = BOMBS[bomb]
    path = tmp_path / "bomb"
    path.write_bytes(make())
    done = subprocess.run([sys.executable, "-c", CHILD, reader, str(path)], capture_output=True, text=True)
    path.unlink()
    assert done.returncode == 0, done.stderr
    cost = json.loads(done.stdout)
    assert cost["error"], cost
    assert cost["seconds"] < SECONDS, cost
    assert cost["growth"] < GROWTH, cost

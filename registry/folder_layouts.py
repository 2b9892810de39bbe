"""Where programs keep embeddings, and under which names: one line for each that `export` writes for."""

from __future__ import annotations

import re

from msgspec import Struct

from embconv.converters.targets import Target, refusal, target

from .errors import BadParameter
from .model import Entry


class FolderLayout(Struct, frozen=True, kw_only=True):
    """A program's folder. `target` is the program that loads; `by_stem`: it goes by the file's name whatever the folder.

    `sidecars` are written where nothing else is asked for.
    """

    name: str
    title: str
    target: Target
    by_stem: bool
    sidecars: tuple[str, ...] = ()

    def can_hold(self, entry: Entry) -> bool:
        """Does the program load it in any form?"""
        sizes = {key: (encoder.vectors, encoder.width) for key, encoder in entry.encoders.items()}
        return not refusal(self.target, sizes, "word")[0]

    def part(self, text: str) -> str:
        """A part of a path with what the program does not take in a name made `_`."""
        return re.sub(self.target.stem, "_", text) if self.target.stem else text


FOLDER_LAYOUTS: tuple[FolderLayout, ...] = (
    FolderLayout(name="a1111", title="AUTOMATIC1111 web UI", target=target("a1111"), by_stem=True),
    FolderLayout(name="forge", title="Stable Diffusion WebUI Forge", target=target("forge"), by_stem=True),
    FolderLayout(name="comfyui", title="ComfyUI", target=target("comfyui"), by_stem=False),
    FolderLayout(name="invokeai", title="InvokeAI", target=target("invokeai"), by_stem=True),
    FolderLayout(name="sdnext", title="SD.Next", target=target("sdnext"), by_stem=True),
    # it shares one folder with the programs it installs, so what A1111 reads is written
    FolderLayout(name="stabilitymatrix", title="StabilityMatrix", target=target("a1111"), by_stem=True, sidecars=("cm-info",)),
    FolderLayout(name="diffusers", title="diffusers", target=target("diffusers"), by_stem=False),
)
NAMES = tuple(layout.name for layout in FOLDER_LAYOUTS)


def folder_layout(name: str) -> FolderLayout:
    """The one called `name`; BadParameter with the nearest where there is none."""
    for layout in FOLDER_LAYOUTS:
        if layout.name == name.lower():
            return layout
    raise BadParameter("layout", name, "one of those below", NAMES)

"""The programs, and how to find one by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..display import quoted
from ..errors import EmbconvError
from . import a1111, comfyui, diffusers, forge, invokeai, kohya, onetrainer, sdcpp, sdkit, sdnext

if TYPE_CHECKING:
    from .target import Target

TARGETS: tuple[Target, ...] = (
    a1111.TARGET,
    forge.TARGET,
    comfyui.TARGET,
    diffusers.TARGET,
    invokeai.TARGET,
    kohya.TARGET,
    sdnext.TARGET,
    onetrainer.TARGET,
    sdkit.TARGET,
    sdcpp.TARGET,
)
NAMES = tuple(t.name for t in TARGETS)
_BY_NAME = {t.name: t for t in TARGETS}


class UnknownTarget(EmbconvError, ValueError):
    """No program of that name is in the table."""

    code = "unknown_target"

    def __init__(self, name: str) -> None:
        from difflib import get_close_matches  # for a mistake only

        near = get_close_matches(name.lower(), NAMES, n=3, cutoff=0.5)
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        super().__init__(f"{quoted(name)} is not a program known here.", f"{meant}Known: {', '.join(NAMES)}.")
        self.name, self.near = name, tuple(near)


def target(name: str) -> Target:
    """The program called `name`, in any case."""
    try:
        return _BY_NAME[name.lower()]
    except KeyError:
        raise UnknownTarget(name) from None

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from embconv.registry.validation.heat import COLD, HOT, SHOWN, WARM, ground, painted
from embconv.registry.verdicts import protocol_for


def test_the_warmest_place_is_where_it_is_attended_to_most() -> None:
    heat = np.full((4, 4), 0.7, np.float32)
    heat[1, 2] = 1.9
    pixels = painted(heat, np.zeros((32, 64), np.float32))
    assert (pixels.shape, pixels.dtype) == ((32, 64, 3), np.float32)
    row, column = np.unravel_index(pixels.sum(axis=2).argmax(), (32, 64))
    assert (row // 8, column // 16) == (1, 2)
    assert pixels.max() <= 1.0
    assert pixels.min() >= 0.0


def test_the_scene_shines_through() -> None:
    greys = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    for heat, colour in ((0.1, COLD), (0.5, COLD), (1.0, WARM), (2.0, HOT), (9.0, HOT)):
        expected = SHOWN * greys[..., None] + (1 - SHOWN) * np.array(colour)
        assert np.allclose(painted(np.full((8, 8), heat, np.float32), greys), expected, atol=1e-5)


def test_the_scene_is_drawn_once(model: Callable[[str], Any]) -> None:
    told = protocol_for("sd1", 64)
    greys = ground(model("sd1"), told)
    assert greys.shape == (64, 64)
    assert greys.std() > 0.01
    assert ground(model("sd1"), told) is greys

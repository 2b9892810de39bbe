"""What vectors alone settle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from embconv.registry.validation.parts import Subject
from embconv.registry.validation.static import static


def rows(count: int, width: int, value: float | None = None) -> Any:
    made = np.random.default_rng(width).standard_normal((count, width)).astype(np.float32)
    return made if value is None else np.full_like(made, value)


def subject(vectors: dict[str, Any], base: str | None = None) -> Subject:
    return Subject(digest="0" * 64, name="it", trigger="it", vectors=vectors, base=base)


HOLED = rows(3, 768)
HOLED[1, 5] = np.nan
ENDLESS = rows(1, 768)
ENDLESS[0, 0] = np.inf

SETTLED = [
    pytest.param({"clip_l": HOLED}, "sd1", "broken", "1 of its 3 vectors for clip_l hold NaN or infinity.", id="NaN"),
    pytest.param({"clip_l": ENDLESS}, "sd1", "broken", "1 of its 1 vectors for clip_l hold NaN or infinity.", id="infinity"),
    pytest.param({"clip_h": rows(1, 1024)}, "sd1", "incompatible", "It has clip_h 1024; SD 1.x wants clip_l 768.", id="wider"),
    pytest.param({"clip_l": rows(1, 768)}, "sd2", "incompatible", "It has clip_l 768; SD 2.x wants clip_h 1024.", id="narrower"),
    pytest.param({"clip_l": rows(1, 768)}, "sdxl", "incompatible", "It has clip_l 768; SDXL wants clip_l 768 and clip_g 1280.", id="SD1 on SDXL"),
    pytest.param({"clip_l": rows(1, 768), "clip_g": rows(1, 1280)}, "sd1", "incompatible",
          "It has clip_g 1280, clip_l 768; SD 1.x wants clip_l 768.", id="SDXL on SD1"),
    pytest.param({"clip_l": rows(1, 1280)}, "sd1", "incompatible", "It has clip_l 1280; SD 1.x wants clip_l 768.", id="the key lies"),
    pytest.param({}, "sd1", "incompatible", "It has no vectors; SD 1.x wants clip_l 768.", id="nothing"),
    pytest.param({"clip_l": rows(80, 768)}, "sd1", "incompatible",
          "It has 80 vectors; a prompt has room for 75, and programs cut it off.", id="80 vectors"),
    pytest.param({"clip_l": rows(4, 768, 0.0)}, "sd1", "no_effect", "All its vectors are zero: nothing was learned.", id="zeros"),
    pytest.param({"clip_l": rows(0, 768)}, "sd1", "no_effect", "All its vectors are zero: nothing was learned.", id="no rows"),
]  # fmt: skip


@pytest.mark.parametrize(("vectors", "base", "state", "says"), SETTLED)
def test_it_is_settled_by_the_vectors_alone(vectors: dict[str, Any], base: str, state: str, says: str) -> None:
    findings, _, found = static(subject(vectors), base)
    assert (found, [each.says for each in findings]) == (state, [says])


def test_75_vectors_are_not_too_many() -> None:
    assert static(subject({"clip_l": rows(75, 768)}), "sd1")[2] is None


def test_a_good_one_goes_on_with_its_counts_and_lengths() -> None:
    given = np.zeros((2, 768), np.float32)
    given[0, :2], given[1, 0] = (3, 4), 1
    findings, numbers, state = static(subject({"clip_l": given}), "sd1")
    assert (findings, state) == ([], None)
    assert numbers == {"vectors": {"clip_l": 2}, "norms": {"clip_l": {"min": 1.0, "mean": 3.0, "max": 5.0}}}


@pytest.mark.parametrize("key", ["clip_l", "clip_g"])
def test_half_of_an_sdxl_one_is_judged_with_a_warning(key: str) -> None:
    half = {key: rows(1, {"clip_l": 768, "clip_g": 1280}[key])}
    findings, _, state = static(subject(half, base="sdxl"), "sdxl")
    assert (state, [(each.rule, each.severity) for each in findings]) == (None, [("half", "warning")])
    assert findings[0].where == ({"clip_l", "clip_g"} - {key}).pop()


def test_single_zeros_and_repeats_are_remarked() -> None:
    given = rows(4, 768)
    given[0], given[2] = 0, given[1]
    findings, _, state = static(subject({"clip_l": given}), "sd1")
    assert state is None
    assert [(each.rule, each.says) for each in findings] == [
        ("zero", "1 of its 4 vectors for clip_l are zero."),
        ("repeated", "1 of its 4 vectors for clip_l stand there more than once."),
    ]

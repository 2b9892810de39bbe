"""Sheets: which cells each has, and what is asked of the encoder for them."""

import numpy as np
import pytest
from msgspec.structs import replace

from embconv.registry.validation.parts import Subject
from embconv.registry.validation.sheets import SCENES, Planned, plan
from embconv.registry.verdicts import SAMPLERS, SHEETS, protocol_for

VECTORS = {"clip_l": np.ones((2, 768), np.float32)}
SUBJECT = Subject("emb:1", "moonpaper", "moonpaper", VECTORS)
WEIGHTS = [None, 0.4, 0.8, 1.0, 1.2, 1.5]


def planned(*sheets: str, role: str = "positive", **changes: object) -> list[Planned]:
    return plan(replace(protocol_for("sd1", 512), sheets=sheets, **changes), SUBJECT, role)


def test_without_a_sheet_there_are_no_cells() -> None:
    assert planned() == []


def test_the_strength_strip_is_off_and_five_weights_for_each_seed() -> None:
    cells = [each.cell for each in planned("strength", seeds=(3, 4))]
    assert [(cell.seed, cell.weight) for cell in cells] == [(seed, weight) for seed in (3, 4) for weight in WEIGHTS]
    assert [cell.label for cell in cells[:6]] == ["off", "0.4", "0.8", "1.0", "1.2", "1.5"]
    assert [cell.prompt for cell in cells[:6]] == ["a photo of", "a photo of (moonpaper:0.4)", "a photo of (moonpaper:0.8)", "a photo of moonpaper",
                                                   "a photo of (moonpaper:1.2)", "a photo of (moonpaper:1.5)"]  # fmt: skip


def test_the_weight_is_the_emphasis_and_off_has_no_vectors() -> None:
    strip = planned("strength")[:6]
    assert [each.positive.vectors is None for each in strip] == [True, False, False, False, False, False]
    assert [each.positive.weight for each in strip] == [1.0, 0.4, 0.8, 1.0, 1.2, 1.5]
    assert all(each.negative.vectors is None for each in strip)
    assert strip[1].positive.vectors is VECTORS


def test_a_negative_embedding_stands_in_the_negative_prompt() -> None:
    strip = planned("strength", role="negative")[:6]
    assert {each.cell.prompt for each in strip} == {"a photo of a woman"}
    assert [each.cell.negative_prompt for each in strip[:3]] == ["", "(moonpaper:0.4)", "(moonpaper:0.8)"]
    assert all(each.positive.vectors is None for each in strip)
    assert strip[2].negative.vectors is VECTORS
    assert strip[2].negative.weight == 0.8


def test_the_sampler_sheet_has_each_sampler_without_and_with_it() -> None:
    cells = [each.cell for each in planned("samplers")]
    assert [(cell.sampler, cell.weight) for cell in cells] == [(key, weight) for weight in (None, 1.0) for key in SAMPLERS]
    assert [cell.label for cell in cells[:6]] == ["Euler a", "Euler", "DPM++ 2M Karras", "DPM++ 2M SDE", "UniPC", "DDIM"]
    assert len({cell.seed for cell in cells}) == 1


def test_the_prompt_sheet_has_three_scenes_and_the_persons_own() -> None:
    cells = [each.cell for each in planned("prompts", prompts=("a {T} cup",))]
    assert [cell.label for cell in cells] == [*SCENES, "own 1", *SCENES, "own 1"]
    without, with_it = cells[:4], cells[4:]
    assert [cell.prompt for cell in without] == ["a portrait of a woman", "a landscape with a river and a mountain", "a cup on a table", "a cup"]
    assert [cell.prompt for cell in with_it] == [f"{cell.prompt}, moonpaper" for cell in without[:3]] + ["a moonpaper cup"]


def test_a_scene_is_whole_beside_a_negative_embedding() -> None:
    with_it = [each.cell for each in planned("prompts", role="negative", prompts=("a {T} cup",))][4:]
    assert [cell.prompt for cell in with_it] == ["a portrait of a woman", "a landscape with a river and a mountain", "a cup on a table", "a cup"]
    assert {cell.negative_prompt for cell in with_it} == {"moonpaper"}


@pytest.mark.parametrize("role", ["positive", "negative", "unknown"])
def test_cells_are_drawn_as_the_protocol_says_and_know_their_sheet(role: str) -> None:
    for each in planned(*SHEETS, role=role, steps=9, cfg=3.0, width=64, height=128):
        cell = each.cell
        assert (cell.steps, cell.cfg, cell.width, cell.height) == (9, 3.0, 64, 128)
        assert cell.kind in SHEETS
        assert (cell.weight is None) == (each.positive.vectors is None and each.negative.vectors is None)


def test_a_profile_without_renders_still_has_sheets() -> None:
    assert {each.cell.seed for each in planned("strength", seeds=())} == {1, 2}

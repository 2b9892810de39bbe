from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from embconv.converters import Embedding, Names, Tensor
from embconv.registry.validation.parts import Subject
from embconv.registry.validation.subjects import hinted, overflow, subject, trial_of
from embconv.registry.verdicts import protocol_for

from .conftest import vectors


def called(name: str, *hints: str, **given: Any) -> Subject:
    return Subject(**{"digest": "emb:1", "name": name, "trigger": name, "vectors": {}, "hints": hints, **given})


def test_an_embedding_becomes_a_subject() -> None:
    values = vectors("sd1", 2)["clip_l"]
    half = values.astype(np.float16)
    embedding = Embedding(names=Names(file_stem="bad_hands", inner_name="hands"), vectors={"clip_l": Tensor("F16", (2, 768), half.tobytes())})
    made = subject(embedding, "emb:1", role="negative", hints=("tag",), shorthash="abc")
    assert (made.digest, made.name, made.base, made.role, made.hints, made.shorthash) == ("emb:1", "bad_hands", "sd1", "negative", ("tag",), "abc")
    assert made.vectors["clip_l"].dtype == np.float32
    assert np.array_equal(made.vectors["clip_l"], half.astype(np.float32))


@pytest.mark.parametrize(
    ("name", "role"),
    [("EasyNegative", "negative"), ("badhandv4", "negative"), ("bad_prompt_version2", "negative"), ("bad-artist", "negative"),
     ("ng_deepnegative_v1_75t", "negative"), ("verybadimagenegative_v1.3", "negative"), ("neg4all", "negative"), ("badger", "unknown"),
     ("negotiator", "unknown"), ("charturnerv2", "unknown")],
)  # fmt: skip
def test_names_hint_at_a_role(name: str, role: str) -> None:
    assert hinted(called(name)) == role
    assert hinted(called("x", name)) == role


@pytest.mark.parametrize(("largest", "too_large"), [(65504.0, False), (-65504.0, False), (65600.0, True), (-1e30, True)])
def test_half_precision_has_an_end(largest: float, too_large: bool) -> None:
    rows = np.zeros((2, 768), np.float32)
    rows[1, 7] = largest
    found = overflow(called("x", vectors={"clip_l": rows}))
    assert (found is not None) is too_large
    assert found is None or (found.rule, found.where) == ("overflow", "clip_l")


@pytest.mark.parametrize(
    ("role", "name", "profile", "sides"),
    [("unknown", "x", "standard", ("positive", "negative")), ("positive", "bad", "standard", ("positive",)),
     ("negative", "x", "standard", ("negative",)), ("unknown", "x", "probe", ("positive",)), ("unknown", "EasyNegative", "probe", ("negative",))],
)  # fmt: skip
def test_it_stands_on_the_side_of_its_role_or_on_both(role: str, name: str, profile: str, sides: tuple[str, ...]) -> None:
    trial = trial_of(0, called(name, role=role), protocol_for("sd1", 64, name=profile))
    assert (trial.sides, trial.leans) == (sides, len(sides) == 2)

"""The values that flow through the converters: facts without behaviour."""

import msgspec
import pytest
import torch

from embconv.converters import model
from embconv.converters.model import FLOATS, SIZES, Embedding, Names, Tensor, Training
from examples import DTYPES

STRUCTS = [
    found for found in vars(model).values() if isinstance(found, type) and issubclass(found, msgspec.Struct) and found is not msgspec.Struct
]


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_a_value_cannot_be_changed(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_a_value_says_what_it_is(kind: type[msgspec.Struct]) -> None:
    assert kind.__doc__


@pytest.mark.parametrize(("theirs", "ours"), DTYPES.items())
def test_a_number_has_as_many_bytes_as_in_torch(theirs: str, ours: str) -> None:
    assert SIZES[ours] == getattr(torch, theirs).itemsize


def test_every_kind_of_float_is_one_of_the_sizes() -> None:
    assert set(FLOATS) == {kind for kind in SIZES if kind.startswith(("F", "BF"))} == set(DTYPES.values())


def test_no_two_embeddings_share_what_they_hold() -> None:
    one, two = (Embedding(names=Names(), vectors={}) for _ in range(2))
    one.metadata["x"] = "y"
    assert two.metadata == {}


def test_equal_facts_are_equal() -> None:
    assert Tensor("F32", (1, 1), bytes(4)) == Tensor("F32", (1, 1), bytes(4))
    assert Training() != Training(step=None)

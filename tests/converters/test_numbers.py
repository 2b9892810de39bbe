"""The bytes of tensors as numbers, against torch and numpy."""

import math
import struct

import numpy as np
import pytest
import torch

from embconv.converters.model import FLOATS, SIZES, Tensor
from embconv.converters.numbers import WRITABLE, all_finite, as_float32, as_float64, converted, fits_float32, floats, norms, rows
from examples import DTYPES, as_tensor

TORCH = {ours: getattr(torch, theirs) for theirs, ours in DTYPES.items()}
PATTERNS = {  # every pattern of bits that a narrow kind has
    "F16": np.arange(65536, dtype="<u2"), "BF16": np.arange(65536, dtype="<u2"),
    "F8_E4M3": np.arange(256, dtype="u1"), "F8_E5M2": np.arange(256, dtype="u1"),
}  # fmt: skip


def _every(dtype: str) -> tuple[Tensor, torch.Tensor]:
    bits = PATTERNS[dtype]
    return Tensor(dtype, (1, len(bits)), bits.tobytes()), torch.from_numpy(bits.copy()).view(TORCH[dtype])


def _random(dtype: str, count: int = 100_000) -> tuple[Tensor, torch.Tensor]:
    """Numbers of every size: patterns of random bits."""
    raw = np.random.default_rng(7).bytes(count * SIZES[dtype])
    return Tensor(dtype, (1, count), raw), torch.frombuffer(bytearray(raw), dtype=TORCH[dtype])


def _same(ours: bytes, theirs: torch.Tensor) -> bool:
    """Bit for bit, and NaN where NaN is."""
    bits = {8: "<u8", 4: "<u4", 2: "<u2", 1: "u1"}[theirs.element_size()]
    nan = torch.isnan(theirs).numpy()
    mine = np.frombuffer(ours, bits)
    wanted = np.frombuffer(as_tensor(theirs).data, bits)
    again = torch.frombuffer(bytearray(ours), dtype=theirs.dtype)
    return bool(np.array_equal(mine[~nan], wanted[~nan]) and torch.isnan(again).numpy()[nan].all())


@pytest.mark.parametrize("dtype", PATTERNS)
def test_every_narrow_number_widens_as_in_torch(dtype: str) -> None:
    mine, theirs = _every(dtype)
    assert _same(as_float32(mine), theirs.float())
    assert _same(as_float64(mine), theirs.double())


@pytest.mark.parametrize("dtype", ["F32", "F64"])
def test_wide_numbers_go_to_float32_as_in_torch(dtype: str) -> None:
    mine, theirs = _random(dtype)
    assert _same(as_float32(mine), theirs.float())
    assert _same(as_float64(mine), theirs.double())


@pytest.mark.parametrize("dtype", FLOATS)
def test_numbers_are_given_as_they_are(dtype: str) -> None:
    mine, theirs = _every(dtype) if dtype in PATTERNS else _random(dtype, 1000)
    assert [repr(value) for value in floats(mine)] == [repr(value) for value in theirs.double().tolist()]


TOO_LARGE = {"F16": 65520.0, "BF16": 3.3961775292304e38, "F32": float.fromhex("0x1.ffffffp127")}


@pytest.mark.parametrize("wanted", ["F16", "BF16"])
@pytest.mark.parametrize("given", ["F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"])
def test_narrowing_rounds_to_nearest_even_as_torch_does(given: str, wanted: str) -> None:
    _, theirs = _every(given) if given in PATTERNS else _random(given)
    theirs = theirs[(theirs.double().abs() < TOO_LARGE[wanted]) | ~torch.isfinite(theirs.double())]
    made, _ = converted(as_tensor(theirs.reshape(1, -1)), wanted)
    assert made.dtype == wanted
    assert _same(made.data, theirs.to(TORCH[wanted]))


@pytest.mark.parametrize("wanted", ["F16", "BF16"])
def test_halfway_goes_to_the_even_neighbour(wanted: str) -> None:
    """Each narrow number, and the float32 exactly between it and the next."""
    _, narrow = _every(wanted)
    values = narrow.double()[torch.isfinite(narrow.double()) & (narrow.double().abs() < TOO_LARGE[wanted] / 2)].sort().values.unique()
    between = ((values[1:] + values[:-1]) / 2).float()
    made, error = converted(as_tensor(between.reshape(1, -1)), wanted)
    assert _same(made.data, between.to(TORCH[wanted]))
    assert error == (values[1:] - values[:-1]).max().item() / 2


def test_float64_to_float16_rounds_once() -> None:
    """torch goes by way of float32; numpy does not."""
    values = np.random.default_rng(5).uniform(-3, 3, 100_000)
    made, _ = converted(Tensor("F64", (1, len(values)), values.tobytes()), "F16")
    assert made.data == values.astype(np.float16).tobytes()
    tie = np.array([1 + 2**-11 + 2**-40])
    assert converted(Tensor("F64", (1, 1), tie.tobytes()), "F16")[0].data == np.array([1 + 2**-10], np.float16).tobytes()


@pytest.mark.parametrize("given", FLOATS)
@pytest.mark.parametrize("wanted", WRITABLE)
def test_the_error_is_the_largest_difference(given: str, wanted: str) -> None:
    values = (torch.rand(1, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5).to(TORCH[given])
    made, error = converted(as_tensor(values), wanted)
    again = torch.frombuffer(bytearray(made.data), dtype=TORCH[wanted]).double()
    assert error == (values.double().reshape(-1) - again).abs().max().item()
    assert (error == 0) == (made.shape == (1, 64) and torch.equal(values.double().reshape(-1), again))


@pytest.mark.parametrize("wanted", WRITABLE)
def test_nothing_is_done_where_nothing_is_to_do(wanted: str) -> None:
    tensor = as_tensor(torch.zeros(1, 3, dtype=TORCH[wanted]))
    assert converted(tensor, wanted) == (tensor, 0.0)


@pytest.mark.parametrize(
    ("value", "wanted", "holds"),
    [
        (65504.0, "F16", 65504.0), (65519.0, "F16", 65504.0), (65520.0, "F16", None), (-65520.0, "F16", None), (1e300, "F16", None),
        (3.3895e38, "BF16", 3.3895313892515355e38), (3.4e38, "BF16", None), (-3.4e38, "BF16", None), (1e39, "BF16", None),
        (3.4028234663852886e38, "F32", 3.4028234663852886e38), (3.4028235e38, "F32", 3.4028234663852886e38),
        (3.41e38, "F32", None), (-1e300, "F32", None),
        (math.inf, "F16", math.inf), (-math.inf, "BF16", -math.inf), (math.inf, "F32", math.inf),
        (1e-300, "F32", 0.0), (1e-10, "F16", 0.0), (-1e-10, "F16", -0.0), (6e-8, "F16", 2**-24),
    ],
)  # fmt: skip
def test_what_is_too_large_is_refused_and_what_is_too_small_is_zero(value: float, wanted: str, holds: float | None) -> None:
    tensor = Tensor("F64", (1, 1), struct.pack("<d", value))
    if holds is None:
        with pytest.raises(OverflowError):
            converted(tensor, wanted)
    else:
        (found,) = floats(converted(tensor, wanted)[0])
        assert (found, math.copysign(1, found)) == (holds, math.copysign(1, holds))


@pytest.mark.parametrize("wanted", WRITABLE)
@pytest.mark.parametrize("given", FLOATS)
def test_nan_stays_nan(given: str, wanted: str) -> None:
    tensor = as_tensor(torch.tensor([[0.5, float("nan")]]).to(TORCH[given]))
    one, other = floats(converted(tensor, wanted)[0])
    assert (one, math.isnan(other)) == (0.5, True)


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ([0.5, -3.0], True),
        ([0.1], False),
        ([1e-300], False),
        ([1e39], False),
        ([math.inf, -math.inf], True),
        ([16777217.0], False),
        ([], True),
    ],
)
def test_float32_holds_some_doubles_exactly(values: list[float], fits: bool) -> None:
    assert fits_float32(Tensor("F64", (1, len(values)), struct.pack(f"<{len(values)}d", *values))) is fits


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_number_that_is_none_is_found(dtype: str) -> None:
    special = torch.tensor([0.0, -1.5, 3e38, -3e38, 1e-40, math.inf, -math.inf, math.nan], dtype=torch.float64).to(TORCH[dtype])
    every = torch.cat([special, _every(dtype)[1][:: 1 if "F8" in dtype else 37]]) if dtype in PATTERNS else special
    for value in every:
        pair = torch.stack([torch.zeros((), dtype=TORCH[dtype]), value]).reshape(1, 2) if "F8" not in dtype else value.reshape(1, 1)
        assert all_finite(as_tensor(pair)) is bool(torch.isfinite(value.double()))


@pytest.mark.parametrize("dtype", FLOATS)
def test_norms_are_those_of_torch(dtype: str) -> None:
    values = (torch.rand(3, 64, generator=torch.Generator().manual_seed(1)) - 0.5).to(TORCH[dtype])
    assert norms(as_tensor(values)) == pytest.approx(values.double().norm(dim=1).tolist(), rel=1e-12)


def test_the_norm_of_large_numbers_does_not_overflow() -> None:
    assert norms(Tensor("F64", (1, 2), struct.pack("<2d", 3e300, 4e300))) == (5e300,)
    assert math.isnan(norms(Tensor("F32", (1, 2), struct.pack("<2f", math.nan, 1)))[0])
    assert norms(Tensor("F32", (1, 2), struct.pack("<2f", math.inf, 1))) == (math.inf,)


@pytest.mark.parametrize("dtype", FLOATS)
def test_rows_are_the_bytes_of_each_vector(dtype: str) -> None:
    values = torch.arange(6).reshape(3, 2).to(TORCH[dtype])
    assert list(rows(as_tensor(values))) == [as_tensor(values[i : i + 1]).data for i in range(3)]

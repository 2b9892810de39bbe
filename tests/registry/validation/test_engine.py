"""Devices, how many rows, and what exceptions mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from embconv.registry.render_errors import DeviceFailed, DeviceFull, NoDevice
from embconv.registry.validation import engine

CPU = torch.device("cpu")


def room(rows: int) -> engine.Room:
    return engine.Room(rows, CPU, 64, 64)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "meta", "cpu:x"])
def test_a_device_that_is_not_here_is_refused_with_a_sentence(name: str) -> None:
    with pytest.raises(NoDevice, match="cannot be used"):
        engine.device_of(name)


def test_without_a_name_the_best_device_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine.device_of("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert engine.device_of().type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert engine.device_of() == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert engine.device_of() == torch.device("cuda")
    assert engine.device_of("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize(("device", "capability", "expected"), [
    ("cpu", None, torch.float32), ("mps", None, torch.float32), ("cuda", (9, 0), torch.bfloat16), ("cuda", (7, 5), torch.float16),
])  # fmt: skip
def test_the_precision_is_what_the_device_computes_well_with(
    device: str, capability: Any, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert engine.dtype_for(torch.device(device)) == expected


@pytest.mark.parametrize(("base", "device", "size", "rows"), [
    ("sd1", "cuda", 512, 32), ("sd1", "cuda", 768, 14), ("sd2", "cuda", 768, 14), ("sd1", "cuda", 64, 64),
    ("sdxl", "cuda", 1024, 16), ("sdxl", "cuda", 768, 28), ("sdxl", "cuda", 4096, 2),
    ("sd1", "cpu", 64, 32), ("sd1", "cpu", 512, 2), ("sdxl", "cpu", 1024, 2),
])  # fmt: skip
def test_larger_pictures_get_fewer_rows(base: str, device: str, size: int, rows: int, model: Any) -> None:
    there = replace(model("sdxl" if base == "sdxl" else base), device=torch.device(device))
    assert engine.rows_for(there, size, size) == rows


@pytest.mark.parametrize(("exc", "full", "failed"), [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True, False),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"), True, False),
    (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True, False),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True, False),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True, False),
    (MemoryError(), True, False),
    (RuntimeError("CUDA error: an illegal memory access was encountered"), False, True),
    (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), False, True),
    (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False, True),
    (RuntimeError("HIP error: unspecified launch failure"), False, True),
    (RuntimeError("The size of tensor a (4) must match the size of tensor b (3)"), False, False),
    (ValueError("out of memory"), False, False),
])  # fmt: skip
def test_an_exception_says_whether_fewer_rows_may_fit_or_nothing_works_any_more(exc: Exception, full: bool, failed: bool) -> None:
    assert (engine.is_out_of_memory(exc), engine.is_device_failure(exc)) == (full, failed)


def test_a_failed_device_is_an_error_of_ours_with_its_cause() -> None:
    broken = RuntimeError("CUDA error: device-side assert triggered\nCompile with `TORCH_USE_CUDA_DSA`")
    with pytest.raises(DeviceFailed, match="device-side assert triggered") as told, engine.failures(CPU):
        raise broken
    assert told.value.__cause__ is broken
    with pytest.raises(RuntimeError, match="shape"), engine.failures(CPU):
        raise RuntimeError("shape")


def test_rows_are_computed_so_many_at_a_time_and_the_last_call_is_filled_up() -> None:
    shapes: list[int] = []

    def double(rows: torch.Tensor, nothing: None) -> torch.Tensor:
        assert nothing is None
        shapes.append(rows.shape[0])
        return rows * 2

    rows = torch.arange(10.0).view(5, 2)
    assert torch.equal(engine.spread(room(2), double, rows, None), rows * 2)
    assert shapes == [2, 2, 2]


def test_what_was_computed_before_memory_ran_out_is_kept() -> None:
    calls: list[list[float]] = []
    small = room(4)

    def greedy(rows: torch.Tensor) -> torch.Tensor:
        calls.append(rows.tolist())
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return rows + 1

    found = engine.spread(small, greedy, torch.arange(1.0, 8.0))
    assert found.tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert calls == [[1, 2, 3, 4], [5, 6, 7, 0], [5, 6], [7, 0]]
    assert small.rows == 2


def test_memory_that_runs_out_while_rows_are_put_together_halves_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    real = engine.filled

    def full(rows: torch.Tensor, count: int) -> torch.Tensor:
        if count > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(rows, count)

    monkeypatch.setattr(engine, "filled", full)
    assert engine.spread(room(8), lambda rows: rows + 1, torch.arange(5.0)).tolist() == [1, 2, 3, 4, 5]


def test_memory_for_not_even_one_row_is_an_error_with_the_size() -> None:
    def full(rows: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(DeviceFull, match="64 x 64"):
        engine.spread(room(8), full, torch.zeros(3))


def test_how_many_rows_fit_is_learned_once() -> None:
    module = torch.nn.Identity()
    first = engine.room_for(module, CPU, 64, 64, 16)
    first.halve()
    assert engine.room_for(module, CPU, 64, 64, 16).rows == 8
    assert engine.room_for(module, CPU, 64, 64, 2).rows == 2
    assert engine.room_for(module, CPU, 128, 64, 16).rows == 16
    assert engine.room_for(torch.nn.Identity(), CPU, 64, 64, 16).rows == 16


def test_a_tiny_model_computes_with_one_thread_and_a_real_one_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import UNet2DConditionModel

    monkeypatch.setattr(engine, "THREADS", 3)
    before = torch.get_num_threads()
    try:
        for channels, side, expected in [((32, 64), 8, 1), ((320, 640, 1280, 1280), 64, 3), ((32, 64), 8, 1), ((32, 64), None, 3)]:
            blocks = {"down_block_types": ("DownBlock2D",) * len(channels), "up_block_types": ("UpBlock2D",) * len(channels)}
            with torch.device("meta"):
                unet = UNet2DConditionModel(sample_size=side, block_out_channels=channels, **blocks)
            engine.use_threads(unet)
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_module_in_float32_for_a_while_is_the_same_afterwards(dtype: torch.dtype, pipeline: Any) -> None:
    from diffusers import AutoencoderKL

    module = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4).to(dtype)
    before = {name: each.clone() for name, each in module.state_dict().items()}
    with engine.in_float32(module, CPU, 64, 64):
        assert module.dtype == torch.float32
    with pytest.raises(KeyError), engine.in_float32(module, CPU, 64, 64):
        raise KeyError
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) and after[name].dtype == dtype for name in before)


def test_what_a_result_depends_on_is_named(model: Any) -> None:
    made = engine.made_with(model("sd1"))
    assert made["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert {"diffusers", "transformers"} <= made.keys()
    assert made["dtype"] == "float32"
    assert made["device"].startswith("cpu")


class OfApple(torch.Tensor):
    """A tensor as MPS has it."""

    device = torch.device("mps")  # type: ignore[assignment]  # a property of tensors

    def double(self, *_: Any, **__: Any) -> torch.Tensor:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.")

    def cpu(self, *_: Any, **__: Any) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)


def test_where_a_device_has_no_float64_the_cpu_computes_with_it() -> None:
    here = torch.tensor([1.0, 1e30])
    for numbers in (here, here.as_subclass(OfApple)):
        found = engine.precise(numbers)
        assert found.dtype == torch.float64
        assert found.tolist() == here.tolist()


def test_nothing_is_chosen_by_timing() -> None:
    torch.backends.cudnn.benchmark = torch.backends.cuda.matmul.allow_tf32 = True
    engine.room_for(torch.nn.Identity(), CPU, 64, 64, 2)
    assert (torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (False, False, False)

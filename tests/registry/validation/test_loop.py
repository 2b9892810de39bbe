"""What the loop draws is what diffusers draws, whoever shares the calls, and whatever goes wrong on the way."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from embconv.registry.render_errors import DeviceFailed, DeviceFull
from embconv.registry.validation import engine, loop
from embconv.registry.validation.decode import decode
from embconv.registry.validation.engine import Room
from embconv.registry.validation.loop import denoise, forward
from embconv.registry.validation.parts import Conditioning, Drawn, Order

STEPS = 5
SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "euler_a": EulerAncestralDiscreteScheduler.from_config,
    "euler": EulerDiscreteScheduler.from_config,
    "dpmpp_2m_karras": lambda config: DPMSolverMultistepScheduler.from_config(config, use_karras_sigmas=True),
    "dpmpp_2m_sde": lambda config: DPMSolverMultistepScheduler.from_config(config, algorithm_type="sde-dpmsolver++"),
    "unipc": UniPCMultistepScheduler.from_config,
    "ddim": lambda config: DDIMScheduler.from_config(config, timestep_spacing="leading", clip_sample=False, set_alpha_to_one=False),
}
BASES = ("sd1", "sd2", "sd2v", "sdxl")


@pytest.fixture(scope="session")
def words(pipeline: Any) -> Callable[..., Conditioning]:
    """A prompt as diffusers encodes it."""

    @cache
    def encoded(base: str, prompt: str) -> Conditioning:
        with torch.no_grad():
            found = pipeline(base).encode_prompt(prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
        return Conditioning(found[0][0], found[2][0] if base == "sdxl" else None)

    return encoded


@pytest.fixture
def order(words: Any) -> Callable[..., Order]:
    """An order with the usual settings."""

    def make(base: str = "sd1", prompt: str = "a photo of a cat", **more: Any) -> Order:
        usual = {"key": prompt, "positive": words(base, prompt), "negative": words(base, ""), "seed": 1, "sampler": "euler",
                 "steps": STEPS, "cfg": 7.0, "width": 64, "height": 64}  # fmt: skip
        return Order(**{**usual, **more})

    return make


@pytest.fixture
def own(model: Any) -> Callable[..., Any]:
    """A model whose UNet may be changed."""

    def make(base: str = "sd1", dtype: torch.dtype = torch.float32) -> Any:
        shared = model(base)
        return replace(shared, unet=torch.nn.Module.to(copy.deepcopy(shared.unet), dtype), dtype=dtype)

    return make


def drawn(model: Any, *orders: Order, **more: Any) -> dict[Any, Drawn]:
    return {each.key: each for each in denoise(model, orders, **more)}


def theirs(pipe: Any, base: str, order: Order, **more: Any) -> tuple[torch.Tensor, Any]:
    """The latents and the picture of diffusers' own pipeline."""
    kept, pipe.scheduler = pipe.scheduler, SCHEDULERS[order.sampler](pipe.scheduler.config | {"timestep_spacing": "linspace"})
    pipe.set_progress_bar_config(disable=True)
    sides = {"prompt": order.positive, "negative_prompt": order.negative}
    given = {f"{side}_embeds": each.embeds[None] for side, each in sides.items() if each}
    if base == "sdxl":
        given |= {f"{side.replace('prompt', 'pooled_prompt')}_embeds": each.pooled[None] for side, each in sides.items() if each}
        given["negative_pooled_prompt_embeds"] = given.pop("negative_pooled_prompt_embeds", None)
    try:
        latents = pipe(**given, **more, num_inference_steps=order.steps, guidance_scale=order.cfg if order.negative else 1.0,
                       generator=torch.Generator().manual_seed(order.seed), width=order.width, height=order.height,
                       output_type="latent").images  # fmt: skip
        with torch.no_grad():
            pixels = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
        return latents[0], pipe.image_processor.postprocess(pixels, output_type="np")[0]
    finally:
        pipe.scheduler = kept


@pytest.mark.parametrize("base", BASES)
def test_pictures_of_all_samplers_in_one_loop_are_those_of_separate_pipelines(base: str, pipeline: Any, model: Any, order: Any) -> None:
    orders = [order(base, key=sampler, seed=seed, sampler=sampler, steps=STEPS + seed % 3) for seed, sampler in enumerate(SCHEDULERS)]
    orders += [order(base, "a dog", seed=9), order(base, key="free", negative=None, seed=10, steps=3), order(base, key="strong", cfg=12.0)]
    found = drawn(model(base), *orders, rows=8)
    assert found.keys() == {each.key for each in orders}
    for each in orders:
        latents, picture = theirs(pipeline(base), base, each)
        assert (found[each.key].latents - latents).abs().max() <= 1e-5 * latents.abs().max(), each.key
        assert abs(decode(model(base), [found[each.key].latents])[0].pixels - picture).max() <= 1e-5, each.key


def test_sdxl_is_told_the_size_that_an_order_says(pipeline: Any, model: Any, order: Any) -> None:
    plain, told = order("sdxl", key=1), order("sdxl", key=2, seen_width=96, seen_height=128)
    found = drawn(model("sdxl"), plain, told)
    latents, _ = theirs(pipeline("sdxl"), "sdxl", told, original_size=(128, 96), target_size=(128, 96))
    assert (found[2].latents - latents).abs().max() <= 1e-5 * latents.abs().max()
    assert not torch.allclose(found[1].latents, found[2].latents, atol=1e-3)


def crowds(order: Any, words: Any) -> dict[str, list[Order]]:
    """Neighbours of all kinds."""
    broken = Conditioning(torch.full_like(words("sd1", "").embeds, float("nan")))
    return {
        "alone": [],
        "behind others": [order(prompt="a dog", key=place, seed=place, steps=3) for place in range(3)],
        "in the middle": [order(prompt="a dog", key=0, negative=None), order(key=2, sampler="euler_a"), order(key=3, cfg=1.0)],
        "beside a broken one": [order(key=0, positive=broken)],
        "as the last of many": [order(prompt="the sea", key=place, seed=place, sampler="dpmpp_2m_sde", steps=2 + place % 4) for place in range(9)],
    }


@pytest.mark.parametrize("sampler", SCHEDULERS)
def test_what_an_order_becomes_hangs_on_no_neighbour_and_no_place(sampler: str, model: Any, order: Any, words: Any) -> None:
    mine = order(key="mine", seed=7, sampler=sampler)
    alone = drawn(model("sd1"), mine, rows=8)["mine"].latents
    for name, others in crowds(order, words).items():
        places = {0, len(others) // 2, len(others)}
        for place in places:
            found = drawn(model("sd1"), *others[:place], mine, *others[place:], rows=8)
            assert len(found) == len(others) + 1
            assert torch.equal(found["mine"].latents, alone), (name, place)


def test_the_same_seed_draws_the_same_and_another_draws_another(model: Any, order: Any) -> None:
    found = drawn(model("sd1"), *(order(key=key, seed=seed, sampler="euler_a") for key, seed in enumerate((1, 2, 1))))
    assert torch.equal(found[0].latents, found[2].latents)
    assert not torch.allclose(found[0].latents, found[1].latents, atol=0.1)


def test_orders_are_read_only_as_far_as_there_is_room_and_come_as_they_end(model: Any, order: Any) -> None:
    read: list[int] = []

    def lazily() -> Iterator[Order]:
        for key in range(12):
            read.append(key)
            yield order(key=key, steps=6 if key == 0 else 2)

    found = denoise(model("sd1"), lazily(), rows=4)
    assert next(found).key == 1  # the short one is out before the long one
    assert len(read) == 3        # two are drawn, a third waits
    assert [each.key for each in found] == [2, 0, *range(3, 12)]


def test_every_call_of_the_unet_has_the_same_shape(own: Any, order: Any) -> None:
    mine, shapes = own(), set()
    mine.unet.register_forward_pre_hook(lambda module, args: shapes.add(tuple(args[0].shape)))
    drawn(mine, *(order(key=key, steps=2 + key % 3, negative=None if key % 4 == 0 else order().negative) for key in range(7)), rows=6)
    assert shapes == {(6, 4, 8, 8)}


def test_the_places_of_those_that_end_are_taken_at_once(own: Any, order: Any) -> None:
    mine, calls = own(), []
    mine.unet.register_forward_pre_hook(lambda module, args: calls.append(args[0].shape[0]))
    drawn(mine, *(order(key=key, steps=steps) for key, steps in enumerate((6, 2, 2, 2))), rows=4)
    assert len(calls) == 6  # 6 beside 2 + 2 + 2


def test_sizes_and_lengths_of_prompts_may_be_mixed(model: Any, order: Any, words: Any) -> None:
    long = [Conditioning(torch.cat([words("sd1", text).embeds] * 2)) for text in ("a photo of a cat", "")]
    orders = [order(key="small"), order(key="wide", width=128), order(key="long", positive=long[0], negative=long[1]), order(key="again")]
    found = drawn(model("sd1"), *orders)
    assert {key: tuple(each.latents.shape) for key, each in found.items()} == {
        "small": (4, 8, 8), "wide": (4, 8, 16), "long": (4, 8, 8), "again": (4, 8, 8)}  # fmt: skip
    for each in orders:
        assert torch.equal(drawn(model("sd1"), each)[each.key].latents, found[each.key].latents)


def test_no_orders_are_no_pictures(model: Any) -> None:
    assert list(denoise(model("sd1"), [])) == []


def test_a_loop_that_is_given_up_leaves_nothing_behind(model: Any, order: Any) -> None:
    orders = [order(key=key, seed=key) for key in range(4)]
    whole = drawn(model("sd1"), *orders, rows=4)
    given_up = denoise(model("sd1"), orders, rows=4)
    next(given_up)
    given_up.close()
    assert all(torch.equal(each.latents, whole[key].latents) for key, each in drawn(model("sd1"), *orders, rows=4).items())
    assert not torch.is_inference_mode_enabled()


# numbers that are none


def test_an_embedding_that_breaks_the_picture_breaks_no_other(model: Any, order: Any, words: Any) -> None:
    broken = Conditioning(torch.full_like(words("sd1", "").embeds, float("inf")))
    found = drawn(model("sd1"), order(key=1), order(key="broken", positive=broken), order(key=2))
    assert [found[key].finite for key in (1, "broken", 2)] == [True, False, True]
    assert not found["broken"].retried  # it was float32 already


def overflowing(unet: Any) -> Any:
    """It overflows in float16, at the first convolution; the GroupNorm after it makes that harmless in float32."""
    with torch.no_grad():
        unet.conv_in.weight.copy_(unet.conv_in.weight.float() * (60_000 / float(unet.conv_in.weight.abs().max())))
    return unet


def test_a_unet_that_overflows_is_repeated_in_float32_before_anything_is_blamed(own: Any, order: Any, words: Any) -> None:
    mine = own(dtype=torch.float16)
    overflowing(mine.unet)
    before = copy.deepcopy(mine.unet.state_dict())
    broken = Conditioning(torch.full_like(words("sd1", "").embeds, float("nan")))
    orders = [order(key="good"), order(key="broken", positive=broken), order(key="other", seed=2)]
    found = drawn(mine, *orders)
    assert {key: (each.finite, each.retried) for key, each in found.items()} == {"good": (True, True), "broken": (False, True), "other": (True, True)}
    reference = replace(mine, unet=copy.deepcopy(mine.unet).float())
    for key in ("good", "other"):
        expected = drawn(reference, next(each for each in orders if each.key == key), rows=2)[key]
        assert torch.equal(found[key].latents, expected.latents)
    assert mine.unet.dtype == torch.float16
    assert all(torch.equal(before[name], each) for name, each in mine.unet.state_dict().items())


def test_a_shorter_precision_draws_nearly_the_same(own: Any, model: Any, order: Any) -> None:
    found, exact = drawn(own(dtype=torch.bfloat16), order())["a photo of a cat"], drawn(model("sd1"), order())["a photo of a cat"]
    assert (found.finite, found.retried, found.latents.dtype) == (True, False, torch.float32)
    assert (found.latents - exact.latents).abs().max() <= 0.05 * exact.latents.abs().max()


# memory and devices


@contextmanager
def failing(module: Any, fails: Callable[[int, int], Exception | None]) -> Iterator[list[int]]:
    """A module that fails as `fails(number of the call, rows)` says; the rows of calls that were answered."""
    answered: list[int] = []
    calls = iter(range(10**6))

    def before(_: Any, args: Any) -> None:
        if exc := fails(next(calls), args[0].shape[0]):
            raise exc
        answered.append(args[0].shape[0])

    handle = module.register_forward_pre_hook(before)
    try:
        yield answered
    finally:
        handle.remove()


def test_memory_that_runs_out_halves_the_rows_and_what_runs_goes_on(own: Any, model: Any, order: Any) -> None:
    mine = own()
    orders = [order(key=key, seed=key, sampler="dpmpp_2m_karras" if key % 2 else "euler_a") for key in range(6)]
    expected = drawn(model("sd1"), *orders, rows=8)

    def fails(call: int, rows: int) -> Exception | None:
        return torch.OutOfMemoryError("CUDA out of memory.") if call >= 2 and rows > 3 else None

    with failing(mine.unet, fails) as answered:
        found = drawn(mine, *orders, rows=8)
    for key, each in found.items():
        assert (each.latents - expected[key].latents).abs().max() <= 1e-5 * expected[key].latents.abs().max()
    assert len(found) == 6
    # two whole steps of 4 orders, their other 3 in fours of two rows, and the last two orders alone
    assert answered == [8, 8] + [2] * (4 * 3) + [2] * (2 * STEPS)


def test_memory_for_no_row_is_an_error_with_the_size(own: Any, order: Any) -> None:
    mine = own()
    with failing(mine.unet, lambda call, rows: RuntimeError("CUDA out of memory.")), pytest.raises(DeviceFull, match="64 x 64"):
        drawn(mine, order())


def short_of_memory(monkeypatch: pytest.MonkeyPatch, part: str, fails: Callable[[int, Room], bool]) -> None:
    """A part of the loop beside the UNet that does its work and runs out of memory at the end, as `fails(number of the call, room)` says."""
    real, calls = getattr(loop, part), iter(range(10**6))

    def full(model: Any, crowds: Any, batch: Any, room: Room) -> Any:
        made = real(model, crowds, batch, room)
        if fails(next(calls), room):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return made

    monkeypatch.setattr(loop, part, full)


@pytest.mark.parametrize("call", [0, 2, STEPS])
def test_memory_that_runs_out_beside_the_unet_halves_the_rows_too(
    call: int, own: Any, model: Any, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = [order(key=key, seed=key, sampler="euler_a" if key % 2 else "dpmpp_2m_karras", steps=STEPS - key % 3) for key in range(6)]
    expected = drawn(model("sd1"), *orders, rows=4)
    short_of_memory(monkeypatch, "advance", lambda number, room: number >= call and room.rows > 4)
    mine = own()
    found = list(denoise(mine, orders, rows=8))
    assert sorted(each.key for each in found) == list(range(6))
    begun_again = [each for each in found if torch.equal(each.latents, expected[each.key].latents)]
    assert len(begun_again) >= 4  # all but those that had ended before
    assert all((each.latents - expected[each.key].latents).abs().max() <= 1e-5 * each.latents.abs().max() for each in found)
    assert engine.LEARNED[mine.unet] == {(64, 64): 4}


def test_memory_that_never_suffices_beside_the_unet_is_an_error_with_the_size(own: Any, order: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    short_of_memory(monkeypatch, "advance", lambda number, room: True)
    with pytest.raises(DeviceFull, match="64 x 64"):
        drawn(own(), *(order(key=key) for key in range(3)))


def test_a_device_that_fails_ends_the_loop(own: Any, order: Any) -> None:
    mine = own()
    broken = RuntimeError("CUDA error: an illegal memory access was encountered")
    with failing(mine.unet, lambda call, rows: broken if call == 3 else None), pytest.raises(DeviceFailed, match="illegal memory access"):
        drawn(mine, order())


def test_one_row_is_enough_for_a_picture(model: Any, order: Any) -> None:
    found, expected = drawn(model("sd1"), order(), rows=1), drawn(model("sd1"), order())
    assert torch.allclose(found["a photo of a cat"].latents, expected["a photo of a cat"].latents, atol=1e-4)


# compiled


def compiling(monkeypatch: pytest.MonkeyPatch, unet: Any, backend: Any) -> None:
    """A UNet whose compiler is this one."""
    monkeypatch.setattr(engine, "COMPILED", engine.WeakSet())
    monkeypatch.setattr(unet, "compile", lambda **options: torch.nn.Module.compile(unet, backend=backend, **options))


def test_a_unet_is_compiled_once_for_all_that_it_draws(own: Any, model: Any, order: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.testing import CompileCounter

    mine, counter = own(), CompileCounter()
    compiling(monkeypatch, mine.unet, counter)
    orders = [order(key=key, seed=key, sampler=sampler, steps=2 + key % 2) for key, sampler in enumerate(SCHEDULERS)]
    for _ in range(2):
        found = drawn(mine, *orders, order(key="free", negative=None), rows=4, compiled=True)
    assert counter.frame_count == 1
    assert all(torch.equal(found[each.key].latents, drawn(model("sd1"), each, rows=4)[each.key].latents) for each in orders[:2])


def test_a_unet_that_cannot_be_compiled_draws_all_the_same(
    own: Any, model: Any, order: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no C++ compiler was found")

    mine = own()
    compiling(monkeypatch, mine.unet, broken)
    try:
        with caplog.at_level(logging.WARNING):
            found = drawn(mine, order(), compiled=True)
    finally:
        torch.compiler.set_stance("default")
    assert "no C++ compiler" in caplog.text
    assert torch.equal(found["a photo of a cat"].latents, drawn(model("sd1"), order())["a photo of a cat"].latents)


def test_an_error_of_the_unet_itself_is_no_matter_of_the_compiler(own: Any, order: Any, words: Any) -> None:
    narrow = Conditioning(words("sd1", "").embeds[:, :700])
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        drawn(own(), order(positive=narrow, negative=narrow))


# one call


@pytest.mark.parametrize("base", BASES)
def test_a_call_is_the_unets_own_whatever_the_number_of_rows(base: str, model: Any, words: Any) -> None:
    latents = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    times = torch.tensor([800, 600, 400, 200, 0])
    said = [words(base, prompt) for prompt in ("a cat", "a dog", "", "the sea", "a photo")]
    found = forward(model(base), latents, times, said, seen=(96, 128), rows=4)
    for place in range(5):
        ids = torch.tensor([[128.0, 96, 0, 0, 128, 96]])
        more = {"added_cond_kwargs": {"text_embeds": said[place].pooled[None], "time_ids": ids}} if base == "sdxl" else {}
        with torch.no_grad():
            expected = model(base).unet(latents[place][None], times[place], said[place].embeds[None], **more).sample[0]
        assert (found[place] - expected).abs().max() <= 1e-5
    assert torch.equal(found[3:], forward(model(base), latents[3:], times[3:], said[3:], seen=(96, 128), rows=4))

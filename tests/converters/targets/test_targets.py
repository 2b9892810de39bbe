"""The programs as data: complete, unlike each other, and true to what they read."""

from __future__ import annotations

import pytest

from embconv.converters.encoders import BASES, ENCODERS
from embconv.converters.errors import CannotHold, EmbconvError
from embconv.converters.targets import (
    PLANS,
    TARGETS,
    Form,
    Plan,
    Target,
    UnknownTarget,
    default_plans,
    hint,
    loads_in,
    plan_for,
    planned,
    readers,
    refusal,
    suits,
    target,
    written_dtype,
)

TEN = {"a1111", "forge", "comfyui", "diffusers", "invokeai", "sdnext", "kohya", "onetrainer", "sdcpp", "sdkit"}
SD1 = {"clip_l": (2, 768)}
SD2 = {"clip_h": (2, 1024)}
XL = {"clip_l": (2, 768), "clip_g": (2, 1280)}
UNEQUAL = {"clip_l": (2, 768), "clip_g": (3, 1280)}
SD3 = {**XL, "t5xxl": (2, 4096)}
each = pytest.mark.parametrize("program", TARGETS, ids=lambda t: t.name)


def vectors_of(base: str) -> dict[str, tuple[int, int]]:
    return {encoder: (2, ENCODERS[encoder].width) for encoder in BASES[base].encoders}


def test_there_are_exactly_ten_and_each_has_its_own_name() -> None:
    assert len(TARGETS) == len(TEN)
    assert {t.name for t in TARGETS} == TEN
    assert len({t.title for t in TARGETS}) == len(TARGETS)


@each
def test_a_target_says_everything(program: Target) -> None:
    assert all([program.title, program.version, program.source, program.where, program.bases, program.writes])
    assert program.trigger.endswith(".")
    assert "NAME" in program.prompt or program.prompt == "<embedding>"
    assert set(program.bases) <= BASES.keys()


@each
def test_it_reads_every_form_it_wants_written(program: Target) -> None:
    for plan in program.writes:
        tried = [vectors_of(base) for base in program.bases if suits(plan, vectors_of(base))]
        assert any(not program.reads(planned(plan, vectors)) for vectors in tried), plan


@each
@pytest.mark.parametrize("vectors", [SD1, SD2], ids=["sd1", "sd2"])
@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16", "F8_E4M3"])
def test_its_first_plan_loads_whatever_the_numbers(program: Target, vectors: dict[str, tuple[int, int]], dtype: str) -> None:
    plan = program.writes[0]
    assert plan_for(program, vectors) is plan
    assert program.reads(planned(plan, vectors, dtype=dtype)) == ""


@each
def test_its_plan_for_sdxl_loads_or_is_refused(program: Target) -> None:
    plan = plan_for(program, XL)
    assert (plan is None) == (program.name == "sdcpp") == bool(refusal(program, XL, "word")[0])
    assert plan is None or plan.layout == "per_encoder"


@pytest.mark.parametrize(
    ("name", "layout", "suffix", "key", "dtype"),
    [
        ("a1111", "a1111", ".pt", "*", "keep"),
        ("forge", "a1111", ".pt", "*", "keep"),
        ("comfyui", "emb_params", ".safetensors", "emb_params", "keep"),
        ("diffusers", "diffusers", ".safetensors", "TOKEN", "keep"),
        ("invokeai", "emb_params", ".safetensors", "emb_params", "keep"),
        ("kohya", "emb_params", ".safetensors", "emb_params", "keep"),
        ("sdnext", "emb_params", ".safetensors", "emb_params", "keep"),
        ("onetrainer", "emp_params", ".safetensors", "emp_params", "keep"),
        ("sdkit", "emb_params", ".safetensors", "emb_params", "keep"),
        ("sdcpp", "emb_params", ".safetensors", "emb_params", "F32"),
    ],
)
def test_what_to_write_for_each(name: str, layout: str, suffix: str, key: str, dtype: str) -> None:
    first = target(name).writes[0]
    assert (first.layout, first.suffix, first.key, first.dtype) == (layout, suffix, key, dtype)


def test_diffusers_sdxl_is_one_file_and_says_how_to_load_it() -> None:
    plan = plan_for(target("diffusers"), XL)
    assert plan is not None
    assert "two calls" in plan.note


def test_a_plan_is_found_by_the_suffix_that_was_asked_for() -> None:
    png = plan_for(target("a1111"), SD1, ".PNG")
    assert png is not None
    assert png.container == "png"
    assert plan_for(target("comfyui"), SD1, ".png") is None


def test_onetrainer_writes_its_own_spelling_of_t5() -> None:
    plan = plan_for(target("onetrainer"), SD3)
    assert plan is not None
    assert planned(plan, SD3).keys == ("clip_l", "clip_g", "t5")


def test_numbers_no_program_was_seen_to_read_become_f32() -> None:
    plan = target("a1111").writes[0]
    assert [written_dtype(plan, d) for d in ("F16", "BF16", "F8_E5M2")] == ["F16", "BF16", "F32"]
    assert written_dtype(target("sdcpp").writes[0], "F16") == "F32"


# lookups


def test_a_target_is_found_in_any_case() -> None:
    assert target("ComfyUI").name == "comfyui"


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(UnknownTarget, match="Did you mean comfyui") as caught:
        target("comfyu")
    assert isinstance(caught.value, EmbconvError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.code == "unknown_target"
    assert "comfyui" in caught.value.near


def test_an_unknown_target_like_none_lists_all() -> None:
    with pytest.raises(UnknownTarget) as caught:
        target("\x1b[31mzzz")
    assert "\x1b" not in str(caught.value)
    assert all(name in caught.value.hint for name in TEN)


# loads_in, hint, refusal


def test_loads_in_says_true_or_the_reason_and_the_command() -> None:
    a1111_pt = planned(PLANS[0], SD1)
    assert loads_in(a1111_pt) == {**dict.fromkeys(TEN, True), "onetrainer": "reads only emp_params: embconv IN OUT --for onetrainer"}


def test_loads_in_names_the_others_where_no_form_helps() -> None:
    xl = loads_in(planned(next(p for p in PLANS if p.layout == "per_encoder"), XL))
    assert str(xl["sdcpp"]).startswith("loads, but with wrong vectors")
    assert "It loads in a1111, forge, comfyui" in str(xl["sdcpp"])
    assert "--for" not in str(xl["sdcpp"])


def test_the_hint_picks_one_of_several_and_a_name_that_works() -> None:
    form = planned(target("comfyui").writes[0], SD1, stem="my bad word; rm -rf")
    assert hint(target("comfyui"), form) == "embconv IN 'my_bad_word;_rm_-rf.safetensors' --for comfyui"
    several = Form(container="safetensors", layout="safelora", suffix=".safetensors", vectors=SD1, embeddings=2)
    assert hint(target("a1111"), several) == "embconv IN OUT --for a1111 --pick NAME"


@each
@pytest.mark.parametrize("vectors", [SD1, SD2], ids=["sd1", "sd2"])
def test_every_target_holds_sd1_and_sd2(program: Target, vectors: dict[str, tuple[int, int]]) -> None:
    assert refusal(program, vectors, "word") == ("", "")


@pytest.mark.parametrize(
    ("name", "vectors", "says"),
    [
        pytest.param("sdcpp", XL, "bigG", id="SDXL in sd.cpp"),
        pytest.param("a1111", UNEQUAL, "equally many", id="n differs in a1111"),
        pytest.param("forge", UNEQUAL, "equally many", id="n differs in forge"),
        pytest.param("kohya", UNEQUAL, "equally many", id="n differs in kohya"),
        pytest.param("sdnext", UNEQUAL, "equally many", id="n differs in sdnext"),
        pytest.param("a1111", SD3, "t5xxl 4096", id="T5 in a1111"),
        pytest.param("diffusers", SD3, "t5xxl 4096", id="SD3 in diffusers"),
        pytest.param("comfyui", {"unknown_999": (1, 999)}, "unknown_999", id="a width of no encoder"),
        pytest.param("comfyui", {"clip_g": (1, 1280)}, "clip_g 1280", id="clip_g alone"),
        pytest.param("forge", {"clip_l": (1, 768), "t5xxl": (1, 4096)}, "nothing beside", id="flux in forge"),
    ],
)
def test_what_a_program_can_never_hold(name: str, vectors: dict[str, tuple[int, int]], says: str) -> None:
    why, what = refusal(target(name), vectors, "word")
    assert says in why
    assert why.startswith(target(name).title)
    assert what.startswith(("It loads in", "No program"))
    assert name not in what


@pytest.mark.parametrize("name", ["comfyui", "diffusers", "invokeai", "onetrainer", "sdkit"])
def test_unequal_counts_are_held_by_the_others(name: str) -> None:
    assert refusal(target(name), UNEQUAL, "word") == ("", "")


def test_a_base_without_its_encoders_is_refused_with_those_that_have_them() -> None:
    why, what = refusal(target("invokeai"), SD3, "word", "sd3")
    assert "SD 3.x" in why
    assert what == "It loads in comfyui, sdnext, onetrainer."
    assert refusal(target("comfyui"), SD3, "word", "sd3") == ("", "")


@pytest.mark.parametrize(
    ("name", "stem", "better"),
    [
        ("comfyui", "my word", "my_word.safetensors"),
        ("comfyui", "a\u3000\tb", "a_b.safetensors"),
        ("invokeai", "wörd:1", "w_rd_1.safetensors"),
    ],
)
def test_a_name_that_the_prompt_cannot_hold_is_answered_with_one_it_can(name: str, stem: str, better: str) -> None:
    why, what = refusal(target(name), SD1, stem)
    assert why.startswith(target(name).title)
    assert what == f'Name it "{better}".'
    assert refusal(target(name), SD1, better.removesuffix(".safetensors")) == ("", "")


# without --for


@pytest.mark.parametrize(
    ("vectors", "suffix", "layout", "count"),
    [
        (SD1, ".safetensors", "emb_params", 9),
        (SD1, ".pt", "a1111", 9),
        (SD1, ".bin", "a1111", 7),
        (SD1, ".png", "a1111", 2),
        (SD2, ".SafeTensors", "emb_params", 9),
        (XL, ".safetensors", "per_encoder", 9),
        (XL, ".pt", "per_encoder", 8),
        (UNEQUAL, ".safetensors", "per_encoder", 5),
        (SD3, ".safetensors", "per_encoder", 2),
        ({"clip_g": (1, 1280)}, ".safetensors", "per_encoder", 0),
    ],
)
def test_the_default_loads_in_the_most_programs(vectors: dict[str, tuple[int, int]], suffix: str, layout: str, count: int) -> None:
    plan = default_plans(vectors, suffix)
    assert plan.layout == layout
    rivals = [p for p in all_plans() if p.suffix == suffix.lower() and suits(p, vectors)]
    assert readers(plan, vectors) == count == max(readers(p, vectors) for p in rivals)


def all_plans() -> list[Plan]:
    return [*PLANS, *(plan for program in TARGETS for plan in program.writes)]


def test_every_suffix_a_target_wants_has_a_default() -> None:
    assert {plan.suffix for plan in all_plans()} == {plan.suffix for plan in PLANS}


@pytest.mark.parametrize(("vectors", "suffix"), [(SD1, ".txt"), (SD1, ""), (XL, ".png")])
def test_no_default_where_nothing_can_be_written(vectors: dict[str, tuple[int, int]], suffix: str) -> None:
    with pytest.raises(CannotHold) as caught:
        default_plans(vectors, suffix)
    assert ".safetensors" in caught.value.hint


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
@pytest.mark.parametrize("vectors", [XL, {"clip_l": (2, 768), "t5xxl": (2, 4096)}], ids=["sdxl", "flux1"])
def test_diffusers_loads_a_pair_from_each_kind_of_file_by_two_calls(vectors: dict[str, tuple[int, int]], suffix: str) -> None:
    plan = plan_for(target("diffusers"), vectors, suffix)
    assert plan is not None
    assert "clip_l with text_encoder and tokenizer, the other key with text_encoder_2 and tokenizer_2" in plan.note


@pytest.mark.parametrize("encoder", ["clip_g", "gemma2_2b"])
def test_invokeai_says_that_it_has_no_place_for_an_encoder(encoder: str) -> None:
    why, _ = refusal(target("invokeai"), {encoder: (2, ENCODERS[encoder].width)}, "word")
    assert f"has no place for {encoder}" in why
    assert "emb_params" not in why

"""The forms that are worth writing, each named once, and what a file written so would look like."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from .target import Form, Plan, Target, Vectors

TOKEN, ENCODER, STAR = "TOKEN", "ENCODER", "*"
KEPT = ("F64", "F32", "F16", "BF16")  # all others become F32: no program here was seen to read them
A1111_KEYS = ("string_to_token", "string_to_param", "name", "step", "sd_checkpoint", "sd_checkpoint_name")
TWO_CALLS = (
    "This is one file, not learned_embeds and learned_embeds_2. Load it with two calls of "
    "load_textual_inversion(state[key], token=TOKEN, text_encoder=..., tokenizer=...): "
    "clip_l with text_encoder and tokenizer, the other key with text_encoder_2 and tokenizer_2."
)

A1111_PT = Plan(container="torch_zip", layout="a1111", suffix=".pt", key=STAR)
A1111_BIN = replace(A1111_PT, suffix=".bin")
A1111_CKPT = replace(A1111_PT, suffix=".ckpt")
A1111_PNG = Plan(container="png", layout="a1111", suffix=".png", key=STAR)
EMB_PARAMS = Plan(container="safetensors", layout="emb_params", suffix=".safetensors", key="emb_params")
EMB_PARAMS_F32 = replace(EMB_PARAMS, dtype="F32", note="sd.cpp reads past its buffer where the numbers are not F32.")
EMB_PARAMS_PT = replace(EMB_PARAMS, container="torch_zip", suffix=".pt")
EMB_PARAMS_PT_F32 = replace(EMB_PARAMS_PT, dtype="F32", note=EMB_PARAMS_F32.note)
EMB_PARAMS_BIN = replace(EMB_PARAMS_PT, suffix=".bin")
EMB_PARAMS_CKPT_F32 = replace(EMB_PARAMS_PT_F32, suffix=".ckpt")
EMP_PARAMS = replace(EMB_PARAMS, layout="emp_params", key="emp_params")
EMP_PARAMS_PT = replace(EMP_PARAMS, container="torch_zip", suffix=".pt")
DIFFUSERS = Plan(container="safetensors", layout="diffusers", suffix=".safetensors", key=TOKEN)
DIFFUSERS_BIN = replace(DIFFUSERS, container="torch_zip", suffix=".bin")
PER_ENCODER = Plan(container="safetensors", layout="per_encoder", suffix=".safetensors", key=ENCODER, encoders="several")
PER_ENCODER_PT = replace(PER_ENCODER, container="torch_zip", suffix=".pt")
PER_ENCODER_BIN = replace(PER_ENCODER_PT, suffix=".bin")
PER_ENCODER_CKPT = replace(PER_ENCODER_PT, suffix=".ckpt")
PER_ENCODER_TWO_CALLS = replace(PER_ENCODER, note=TWO_CALLS)
PER_ENCODER_PT_TWO_CALLS = replace(PER_ENCODER_PT, note=TWO_CALLS)
PER_ENCODER_BIN_TWO_CALLS = replace(PER_ENCODER_BIN, note=TWO_CALLS)
PER_ENCODER_T5 = replace(  # OneTrainer's spelling
    PER_ENCODER, renames={"t5xxl": "t5", "gemma2_2b": "gemma", "t5xxl_out": "t5_out", "gemma2_2b_out": "gemma_out"}
)
PER_ENCODER_T5_PT = replace(PER_ENCODER_T5, container="torch_zip", suffix=".pt")

# What `default_plans` chooses from; of equals the first is taken, so the A1111 dict, which keeps the most, goes first.
PLANS: tuple[Plan, ...] = (
    A1111_PT, A1111_BIN, A1111_CKPT, A1111_PNG,
    EMB_PARAMS, EMB_PARAMS_PT, EMB_PARAMS_BIN, EMB_PARAMS_CKPT_F32,
    EMP_PARAMS, EMP_PARAMS_PT, DIFFUSERS, DIFFUSERS_BIN,
    PER_ENCODER, PER_ENCODER_PT, PER_ENCODER_BIN, PER_ENCODER_CKPT, PER_ENCODER_T5, PER_ENCODER_T5_PT,
)  # fmt: skip


def suits(plan: Plan, vectors: Vectors) -> bool:
    """Whether the plan is for that many encoders."""
    one = len(vectors) == 1 and not vectors.keys().isdisjoint({"clip_l", "clip_h"})
    return (plan.encoders == "one") == one


def planned(plan: Plan, vectors: Vectors, *, outputs: Collection[str] = (), stem: str = "word", dtype: str = "F32") -> Form:
    """The form of a file written by `plan`, with output vectors for `outputs`; embconv's torch zips are always minimal."""
    beside = [f"{plan.key}_out"] if plan.key == "emp_params" else [plan.renames.get(f"{key}_out", f"{key}_out") for key in outputs]
    return Form(
        container=plan.container,
        layout=plan.layout,
        suffix=plan.suffix,
        vectors=vectors,
        keys=(*_keys(plan, vectors, stem), *(beside if outputs else ())),
        dtype=(written_dtype(plan, dtype),),
        stem=stem,
        output_vectors=bool(outputs),
    )


def plan_for(target: Target, vectors: Vectors, suffix: str = "") -> Plan | None:
    """The best form the program reads, of `suffix` if that is given; None where there is none."""
    for plan in target.writes:
        if suits(plan, vectors) and suffix.lower() in ("", plan.suffix) and not target.reads(planned(plan, vectors)):
            return plan
    return None


def plans_with_outputs(vectors: Vectors, outputs: Collection[str], suffix: str, target: Target | None = None) -> list[Plan]:
    """The forms of that suffix which keep OneTrainer's output vectors, its own emp_params first; for a program its own spelling."""
    one = suits(EMP_PARAMS, vectors) and set(outputs) == vectors.keys()
    known = (EMP_PARAMS, EMP_PARAMS_PT, *(target.writes if target else ()), PER_ENCODER, PER_ENCODER_PT, PER_ENCODER_BIN)
    return [p for p in known if p.suffix == suffix and (p.layout == "per_encoder" or (one and p.layout == "emp_params"))]


def written_dtype(plan: Plan, dtype: str) -> str:
    """The kind of number the plan writes for vectors of `dtype`."""
    if plan.dtype != "keep":
        return plan.dtype
    return dtype if dtype in KEPT else "F32"


def _keys(plan: Plan, vectors: Vectors, stem: str) -> tuple[str, ...]:
    if plan.key == STAR:
        return A1111_KEYS
    if plan.key == ENCODER:
        return tuple(plan.renames.get(encoder, encoder) for encoder in vectors)
    return (stem,) if plan.key == TOKEN else (plan.key,)

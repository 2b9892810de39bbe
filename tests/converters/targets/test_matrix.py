"""What each program loads, as it was seen with that program's real code.

In the cells: E, the vectors in use equal the file's (diffusers needs a call for each encoder where E* stands); W, something is
loaded, but other numbers; a dot, nothing is loaded.
"""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from embconv.converters.targets import TARGETS, Form, loads_in, target

ORDER = ("a1111", "forge", "comfyui", "diffusers", "invokeai", "kohya", "sdnext", "onetrainer", "sdkit", "sdcpp")
A1111_KEYS = ("string_to_token", "string_to_param", "name", "step", "sd_checkpoint", "sd_checkpoint_name")

L1 = Form(container="torch_zip", layout="a1111", suffix=".pt", vectors={"clip_l": (2, 768)}, keys=A1111_KEYS)
L2 = replace(L1, layout="ldm", keys=("string_to_token", "string_to_param"), has_name=False)
L4 = replace(L1, layout="diffusers", keys=("<word>",), has_name=False, has_token_map=False)
L4_SAFE = replace(L4, container="safetensors", suffix=".safetensors")
EMB = replace(L4_SAFE, layout="emb_params", keys=("emb_params",))
EMP = replace(L4_SAFE, layout="emp_params", keys=("emp_params",))
OUT = replace(EMP, keys=("emp_params", "emp_params_out"), output_vectors=True)
CLIP_L = replace(L4_SAFE, layout="per_encoder", keys=("clip_l",))
BUNDLE = replace(L4_SAFE, layout="bundle_emb", keys=("bundle_emb.word.string_to_param.*",))
XL = replace(CLIP_L, vectors={"clip_l": (2, 768), "clip_g": (2, 1280)}, keys=("clip_l", "clip_g"))
UNEQUAL = replace(XL, vectors={"clip_l": (2, 768), "clip_g": (3, 1280)})
COG = replace(XL, layout="pti", keys=("text_encoders_0", "text_encoders_1"))
IMAGE = replace(L1, container="png", suffix=".png")


def in_pt(form: Form) -> Form:
    """The same dictionary by torch.save, minimal."""
    return replace(form, container="torch_zip", suffix=".pt")


def in_bin(form: Form) -> Form:
    return replace(form, container="torch_zip", suffix=".bin")


#                                          a1111 forge comfy diff invoke kohya sdnext onetr sdkit sdcpp
MATRIX: list[tuple[str, Form, str]] = [
    ("L1 .pt torch.save 2.13", replace(L1, minimal_zip=False),             ". E E E E E E . E E"),
    ("L1 .pt minimal", L1,                                                 "E E E E E E E . E E"),
    ("L1 .pt legacy", replace(L1, container="torch_legacy"),               "E E E E E E E . E E"),
    ("L1 .pt F16", replace(L1, dtype=("F16",)),                            "E E E E E E E . E ."),
    ("L1 minimal in .bin", in_bin(L1),                                     "E E E E E E . . E ."),
    ("L1 without string_to_token", replace(L1, has_token_map=False),       "E E E E . E E . E E"),
    ("L2 ParameterDict", L2,                                               "E E E . . . . . . ."),
    ("L3 numpy in pickle", replace(L2, numpy_carried=True),                ". E . . . . . . . ."),
    ("L4 .bin 1-D", replace(in_bin(L4), ndim=1),                           "E E E E E W . . . ."),
    ("L4 .bin (n,d)", in_bin(L4),                                          "E E E E . E . . . ."),
    ("L4 .pt (n,d)", L4,                                                   "E E E E . E . . . E"),
    ("L4 .safetensors 1-D", replace(L4_SAFE, ndim=1),                      "E E E E E W W . . E"),
    ("L4 .safetensors (n,d)", L4_SAFE,                                     "E E E E . E E . . E"),
    ("emb_params .safetensors F32", EMB,                                   "E E E E E E E . E E"),
    ("emb_params .safetensors F16", replace(EMB, dtype=("F16",)),          "E E E E E E E . E ."),
    ("emb_params .safetensors BF16", replace(EMB, dtype=("BF16",)),        "E E E E E E E . E ."),
    ("emb_params .pt", in_pt(EMB),                                         "E E E E E E . . E E"),
    ("emp_params .safetensors", EMP,                                       "E E E E . E E E . E"),
    ("emp_params .pt", in_pt(EMP),                                         "E E E E . E . E . E"),
    ("emp_params + emp_params_out", OUT,                                   ". . E . . E . W . W"),
    ("clip_l alone (SD1)", CLIP_L,                                         "E E E E . E E . . E"),
    ("bundle_emb in embeddings folder", BUNDLE,                            ". . E . . E . . . E"),
    ("list of dicts .pt", replace(L4, layout="list_of_dicts"),             ". . E . . . . . . ."),
    ("SDXL l+g .safetensors F32", XL,                                      "E E E E* E E E E E W"),
    ("SDXL l+g .safetensors F16", replace(XL, dtype=("F16",)),             "E E E E* E E E E E ."),
    ("SDXL l+g .pt minimal", in_pt(XL),                                    "E E E E* E E . E E W"),
    ("SDXL n differs (2 and 3)", UNEQUAL,                                  "W W E E* E W W E E W"),
    ("SDXL text_encoders_0/1", COG,                                        ". . . . . . E . . W"),
    ("image, chunk or pixels only", IMAGE,                                 "E E . . . . . . . ."),
]  # fmt: skip
NOWHERE: list[tuple[str, Form]] = [
    ("bare tensor", replace(L4, layout="bare_tensor", keys=())),
    (".pti", replace(COG, suffix=".pti")),
    ("clip_g alone", replace(CLIP_L, vectors={"clip_g": (2, 1280)}, keys=("clip_g",))),
    ("emb+emb2", replace(L4, layout="emb_emb2", ndim=1, vectors={"clip_l": (1, 768), "clip_g": (1, 1280)}, keys=("emb", "emb2"))),
    ("safelora", replace(L4_SAFE, layout="safelora", ndim=1, embeddings=2, keys=("<s1>", "<s2>", "unet:0:up"))),
    ("xti", replace(L4_SAFE, layout="xti", keys=tuple(f"IN{i:02}" for i in range(16)))),
    ("npy", replace(L4, container="npy", suffix=".npy")),
    ("another suffix", replace(EMB, suffix=".txt")),
]
CELLS = [
    pytest.param(form, name, letter, id=f"{row}-{name}")
    for row, form, line in MATRIX
    for name, letter in zip(ORDER, line.split(), strict=True)
]
RIGHT = re.compile(
    r"(emb_params|emp_params|a1111|clip_l|one embedding|F32|plain tensors|data\.pkl|safetensors|torch_zip|input vectors"
    r"|a file with one|equally many|\(1, \d+\)|\(n, width\)|name|only for)|\.pt\b|SD 1\.x"
)


def as_sd2(form: Form) -> Form:
    return replace(form, vectors={"clip_h": (2, 1024)})


def sentence(reason: str) -> bool:
    """It names what would be right, on one line, ready to stand after the program's name."""
    return bool(RIGHT.search(reason)) and reason[0].islower() and reason.isprintable() and not reason.endswith(".")


@pytest.mark.parametrize(("form", "name", "letter"), CELLS)
def test_a_cell_of_the_matrix(form: Form, name: str, letter: str) -> None:
    reason = target(name).reads(form)
    assert (reason == "") == letter.startswith("E"), reason
    assert reason.startswith("loads, but") == (letter == "W"), reason
    assert not reason or sentence(reason), reason


@pytest.mark.parametrize(
    ("form", "line"),
    [pytest.param(as_sd2(form), line, id=row) for row, form, line in MATRIX if row.startswith(("L1", "L4", "emb_params", "emp_params"))],
)
def test_sd2_is_as_sd1(form: Form, line: str) -> None:
    letters = "".join("E" if not (why := target(name).reads(form)) else "W" if why.startswith("loads") else "." for name in ORDER)
    assert letters == line.replace(" ", "")


@pytest.mark.parametrize("form", [pytest.param(form, id=row) for row, form in NOWHERE])
@pytest.mark.parametrize("name", ORDER)
def test_what_loads_nowhere(form: Form, name: str) -> None:
    assert sentence(target(name).reads(form)), target(name).reads(form)


def test_the_order_is_that_of_the_table() -> None:
    assert tuple(t.name for t in TARGETS) == ORDER


def readers(form: Form) -> set[str]:
    return {t.name for t in TARGETS if not t.reads(form)}


def test_both_emb_params_and_emp_params_are_no_universal_file() -> None:
    both = replace(EMB, keys=("emb_params", "emp_params"))
    assert readers(both) == set(ORDER) - {"a1111", "forge", "diffusers", "sdnext"}


def test_learned_embeds_in_two_files_is_for_diffusers_only() -> None:
    assert readers(replace(L4_SAFE, vectors=XL.vectors)) == {"diffusers"}


def test_numpy_vectors_load_in_a1111_only_with_mps() -> None:
    assert "MPS" in target("a1111").reads(replace(L1, numpy_carried=True))


def test_an_old_torch_file_with_a_module_is_for_forge_only() -> None:
    assert readers(replace(L2, container="torch_legacy")) == {"forge"}


@pytest.mark.parametrize(
    ("form", "says"),
    [
        pytest.param(replace(L2, vectors={"clip_l": (4, 768)}, dtype=("F16",)), "F32", id="half"),
        pytest.param(replace(L2, vectors={"clip_h": (3, 1024)}), "768", id="3x1024"),
        pytest.param(replace(L2, vectors={"clip_h": (2, 1024)}), "", id="2x1024"),
    ],
)
def test_comfyui_guesses_at_a_parameter_dict(form: Form, says: str) -> None:
    reason = target("comfyui").reads(form)
    assert reason.startswith("loads, but with wrong vectors") == bool(says)
    assert says in reason


@pytest.mark.parametrize("name", ORDER)
def test_several_embeddings_never_load_as_they_are(name: str) -> None:
    for form in (replace(L4_SAFE, embeddings=2, keys=("a", "b")), replace(EMP, embeddings=2), replace(L1, embeddings=2)):
        assert sentence(target(name).reads(form))


@pytest.mark.parametrize("name", ORDER)
@pytest.mark.parametrize("form", [L1, L4_SAFE, EMB, EMP, XL], ids=["L1", "L4", "emb_params", "emp_params", "SDXL"])
def test_three_dimensions_load_nowhere(form: Form, name: str) -> None:
    assert sentence(target(name).reads(replace(form, ndim=3)))


@pytest.mark.parametrize(("stem", "comfyui", "invokeai"), [("my word", False, True), ("wörd", True, False), ("a.b-c_d,1", True, True)])
def test_names_that_a_prompt_cannot_hold(stem: str, comfyui: bool, invokeai: bool) -> None:
    found = readers(replace(EMB, stem=stem))
    assert ("comfyui" in found, "invokeai" in found) == (comfyui, invokeai)


def test_t5_lies_under_another_key_in_comfyui_and_onetrainer() -> None:
    flux = replace(XL, vectors={"clip_l": (2, 768), "t5xxl": (2, 4096)})
    assert readers(replace(flux, keys=("clip_l", "t5xxl"))) == {"comfyui", "diffusers", "sdnext"}
    assert readers(replace(flux, keys=("clip_l", "t5"))) == {"onetrainer", "diffusers", "sdnext"}


def test_a1111_reads_suffixes_in_any_case_and_comfyui_does_not() -> None:
    found = readers(replace(L1, suffix=".PT"))
    assert {"a1111", "forge"} <= found
    assert "comfyui" not in found


# what `inspect` names has to work: convert refuses output vectors where a program cannot take them
def test_output_vectors_are_offered_no_command_that_would_be_refused() -> None:
    says = loads_in(OUT)
    assert {name for name, answer in says.items() if answer is True} == {"comfyui", "kohya"}
    assert [answer for answer in says.values() if answer is not True and ("embconv" in answer or "output vectors" not in answer)] == []

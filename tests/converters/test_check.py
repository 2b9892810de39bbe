"""Every rule of `check` by an embedding that breaks it and one that does not."""

from __future__ import annotations

import pytest
import torch
from msgspec.structs import replace

from embconv.converters.check import RULES, check
from embconv.converters.encoders import ENCODERS
from embconv.converters.inspect import inspect
from embconv.converters.model import SIZES, Embedding, Finding, Hint, Names, Tensor, Training
from embconv.converters.numbers import norms
from embconv.converters.read import load
from embconv.converters.targets import target
from embconv.converters.words import ORDINARY
from examples import a1111_dict, made, safetensors, torch_file


def tensor_of(values: torch.Tensor, dtype: str = "F32") -> Tensor:
    return Tensor(dtype, tuple(values.shape), values.contiguous().view(torch.uint8).numpy().tobytes())


def made_for(**vectors: torch.Tensor) -> Embedding:
    return Embedding(names=Names(file_stem="wispy"), vectors={key: tensor_of(values) for key, values in vectors.items()}, layout="a1111")


GOOD = made_for(clip_l=made(3, 768))
XL = made_for(clip_l=made(2, 768), clip_g=made(2, 1280))


def called(**names: str) -> Embedding:
    return replace(GOOD, names=Names(**names))


def with_row(values: torch.Tensor, row: int, value: float) -> torch.Tensor:
    changed = values.clone()
    changed[row] = value
    return changed


def with_number(value: float) -> torch.Tensor:
    changed = made(3, 768).clone()
    changed[1, 5] = value
    return changed


# the rule that speaks, how grave, where, and words that its sentence must have; each of these embeddings has that one fault only
FAULTS: list[tuple[str, Embedding, str, str, str, list[str]]] = [
    ("a width that no encoder has", made_for(unknown_700=made(1, 700)), "width", "error", "unknown_700", ["700 wide", "768"]),
    ("a width that is another encoder's", made_for(clip_g=made(1, 768)), "width", "error", "clip_g", ["768 wide", "bigG", "1280"]),
    ("only output vectors", replace(GOOD, vectors={}), "empty", "error", "vectors", ["OneTrainer"]),
    ("CLIP-L under clip_g", replace(GOOD, keys={"clip_l": "clip_g"}), "mislabelled_key", "error",
     "clip_g", ["clip_g", "768-wide", "clip_l"]),
    ("a header that says another base", replace(GOOD, hints=(Hint(source="modelspec", base="sdxl", base_text="SDXL 1.0"),)),
     "claimed_base", "warning", "modelspec", ["SDXL 1.0", "clip_l 768 and clip_g 1280", "SD 1.x"]),
    ("NaN", made_for(clip_l=with_number(float("nan"))), "not_finite", "error", "clip_l", ["vector 2"]),
    ("infinity", made_for(clip_l=with_number(float("inf"))), "not_finite", "error", "clip_l", ["vector 2"]),
    ("minus infinity in half", replace(GOOD, vectors={"clip_l": tensor_of(with_number(-float("inf")).half(), "F16")}),
     "not_finite", "error", "clip_l", ["vector 2"]),
    ("a row of zeros", made_for(clip_l=with_row(made(3, 768), 1, 0.0)), "zero_rows", "warning", "clip_l", ["vector 2"]),
    ("a row of negative zeros", made_for(clip_l=with_row(made(3, 768), 2, -0.0)), "zero_rows", "warning", "clip_l", ["vector 3"]),
    ("an SD 1.5 file dressed as SDXL", made_for(clip_l=made(2, 768), clip_g=torch.zeros(2, 1280)),
     "zeroed_clip_g", "warning", "clip_g", ["SD 1.x", "dressed as SDXL"]),
    ("a row twice", made_for(clip_l=torch.cat([made(2, 768), made(1, 768)])), "duplicate_rows", "warning", "clip_l", ["vector 3"]),
    ("unequal numbers of vectors", made_for(clip_l=made(2, 768), clip_g=made(3, 1280)),
     "unequal_vectors", "warning", "vectors", ["clip_l 2", "clip_g 3", "A1111", "Forge", "kohya", "SD.Next"]),
    ("76 vectors", made_for(clip_l=made(76, 768)), "too_many_vectors", "warning", "clip_l", ["76 vectors", "75"]),
    ("511 vectors for T5", made_for(t5xxl=made(511, 4096)), "too_many_vectors", "warning", "t5xxl", ["511 vectors", "510"]),
    ("vectors that are far too long", made_for(clip_l=made(3, 768) * 100), "norm", "note", "clip_l", ["vectors 1, 2, 3", "0.3 to 0.4"]),
    ("vectors that are far too short", made_for(clip_l=made(3, 768) / 100), "norm", "note", "clip_l", ["vectors 1, 2, 3"]),
    ("output vectors", replace(GOOD, output_vectors={"clip_l": tensor_of(made(3, 768))}), "output_vectors",
     "warning", "clip_l_out", ["output"]),
    ("a file of step 0", replace(GOOD, training=Training(step=0, sd_checkpoint="72f558e947")), "untrained", "note", "training", ["step 0"]),
    ("another name inside", called(file_stem="badhandv4", inner_name="badhandv3"), "name_mismatch",
     "warning", "names", ["badhandv4", "badhandv3"]),
    ("another name at the archive's root", called(file_stem="wispy", archive_root="wispier"),
     "name_mismatch", "warning", "names", ["wispier"]),
    ("another word in a sidecar", called(file_stem="wispy", sidecar="wsp1"), "name_mismatch", "warning", "names", ["a sidecar", "wsp1"]),
    ("another name of the file", called(file_stem="wispy", key="<wsp>"), "name_mismatch", "warning",
     "names", ["the file", "wispy", "<wsp>"]),
    ("a space in the name", called(file_stem="my wisp"), "untypable_name", "warning", "names", ["ComfyUI", "my wisp"]),
    ("an ordinary word", called(file_stem="style"), "ordinary_word", "warning", "names", ["style"]),
    ("an ordinary word in brackets", called(file_stem="learned_embeds", key="<Cat>"), "ordinary_word", "warning", "names", ["<Cat>"]),
]  # fmt: skip


@pytest.mark.parametrize(("faulty", "rule", "severity", "where", "words"), [pytest.param(*rest, id=title) for title, *rest in FAULTS])
def test_a_fault_is_found(faulty: Embedding, rule: str, severity: str, where: str, words: list[str]) -> None:
    found = check(faulty)
    assert [finding.rule for finding in found] == [rule]
    assert (found[0].severity, found[0].where) == (severity, where)
    assert [word for word in words if word not in found[0].says] == []


SOUND = [GOOD, XL, made_for(clip_h=made(75, 1024)), made_for(t5xxl=made(510, 4096))]


@pytest.mark.parametrize("embedding", SOUND, ids=["sd1", "xl", "sd2", "t5"])
def test_nothing_is_said_of_a_good_one(embedding: Embedding) -> None:
    assert check(embedding) == []


# one of each rule: a rule without a fault here would never be seen to speak
def test_every_rule_has_a_fault() -> None:
    spoken = {finding.rule for _, embedding, *_ in FAULTS for finding in check(embedding)}
    spoken |= {finding.rule for finding in check(GOOD, base="sdxl", target=target("onetrainer"))}
    spoken |= {finding.rule for finding in check(made_for(clip_l=made(2, 768), clip_g=made(3, 1280)), target=target("a1111"))}
    assert len(spoken) == len(RULES) + 1  # zero_rows says two things
    assert {"base_mismatch", "target", "zeroed_clip_g"} <= spoken


def test_all_are_found_at_once() -> None:
    values = torch.cat([with_number(float("nan")), torch.zeros(1, 768), made(1, 768) * 100, made(1, 768) * 100, made(71, 768, seed=1)])
    faulty = replace(made_for(clip_l=values, clip_g=made(2, 1280)), names=Names(file_stem="my style", inner_name="style"))
    assert [finding.rule for finding in check(faulty, base="sd1", target=target("a1111"))] == [
        "base_mismatch", "target", "not_finite", "zero_rows", "duplicate_rows", "unequal_vectors", "too_many_vectors", "name_mismatch",
        "untypable_name",
    ]  # fmt: skip


def test_a_finding_is_data() -> None:
    (finding,) = check(called(file_stem="cat"))
    assert finding == Finding("ordinary_word", "warning", "names", finding.says)
    assert finding.says.endswith(".")


# ---- what it is wanted for ----


def test_the_base_with_widths_given_and_wanted() -> None:
    (finding,) = check(made_for(clip_h=made(4, 1024)), base="sdxl")
    assert (finding.rule, finding.severity) == ("base_mismatch", "error")
    assert finding.says == (
        "It is for SD 2.x (clip_h, 1024 wide, 4 vectors); sdxl needs clip_l 768 and clip_g 1280. It cannot be carried over."
    )


@pytest.mark.parametrize(("embedding", "base"), [(GOOD, "sd1"), (XL, "sdxl"), (XL, "sd3"), (GOOD, "flux1"), (SOUND[2], "sd2")])
def test_the_right_base_is_not_complained_about(embedding: Embedding, base: str) -> None:
    assert check(embedding, base=base) == []


@pytest.mark.parametrize(
    ("embedding", "name", "words"),
    [
        (XL, "sdcpp", ["stable-diffusion.cpp", "SD 1.x or 2.x"]),
        (made_for(clip_l=made(2, 768), clip_g=made(3, 1280)), "sdnext", ["SD.Next", "equally many", "It loads in"]),
        (made_for(t5xxl=made(1, 4096)), "a1111", ["AUTOMATIC1111", "t5xxl 4096"]),
        (called(file_stem="my wisp"), "comfyui", ["my wisp", "my_wisp.safetensors"]),
    ],
    ids=["SDXL in sd.cpp", "unequal in SD.Next", "T5 in A1111", "a space in ComfyUI"],
)
def test_a_program_that_cannot_hold_it(embedding: Embedding, name: str, words: list[str]) -> None:
    (finding,) = [finding for finding in check(embedding, target=target(name)) if finding.rule == "target"]
    assert (finding.severity, finding.where) == ("error", name)
    assert [word for word in words if word not in finding.says] == []


def test_a_program_that_can() -> None:
    assert check(GOOD, target=target("sdcpp")) == check(XL, target=target("a1111")) == []


# ---- the base with confidence and evidence ----


def test_the_base_is_certain_where_the_program_trained_no_other() -> None:
    report = inspect(torch_file(a1111_dict(made(1, 768))))
    (claim, *others) = report.embeddings[0].bases
    assert (report.embeddings[0].base, claim.base, claim.confidence) == ("sd1", "sd1", "certain")
    assert "clip_l 768 alone" in claim.because
    assert {other.confidence for other in others} <= {"possible"}


def test_the_base_is_certain_by_two_encoders() -> None:
    (embedding,) = inspect(safetensors({"clip_l": made(1, 768), "clip_g": made(1, 1280)})).embeddings
    assert (embedding.base, embedding.bases[0].confidence) == ("sdxl", "certain")
    assert "clip_g 1280 and clip_l 768 together; only SDXL has exactly these" in embedding.bases[0].because


def test_a_width_that_several_share_is_no_certainty() -> None:
    (embedding,) = inspect(safetensors({"t5": made(1, 4096)})).embeddings
    assert embedding.base is None
    assert {"chroma", "pixart"} <= {claim.base for claim in embedding.bases}
    assert {claim.confidence for claim in embedding.bases} == {"possible"}
    assert all(claim.because for claim in embedding.bases)


def test_a_header_is_evidence() -> None:
    header = {"modelspec.architecture": "Flux.1"}
    (embedding,) = inspect(safetensors({"clip_l": made(1, 768)}, header)).embeddings
    assert (embedding.bases[0].base, embedding.bases[0].confidence) == ("flux1", "certain")
    assert "modelspec says Flux.1" in embedding.bases[0].because


# ---- small print ----


def test_the_wrong_key_is_found_in_a_file() -> None:
    embedding = load(safetensors({"clip_l": made(1, 768), "clip_g": made(1, 768, seed=1)}))
    assert "mislabelled_key" in {finding.rule for finding in check(embedding)}


def test_many_bad_rows_are_listed_shortly() -> None:
    (finding,) = [finding for finding in check(made_for(clip_l=torch.full((20, 768), float("nan")))) if finding.rule == "not_finite"]
    assert finding.says == "NaN or infinity in vectors 1, 2, 3, 4, 5, 6, 7, 8 and 12 more."


def test_output_vectors_are_looked_at_too() -> None:
    embedding = replace(GOOD, output_vectors={"clip_l": tensor_of(with_number(float("nan")))})
    assert ("not_finite", "clip_l_out") in {(finding.rule, finding.where) for finding in check(embedding)}


def test_zeros_in_the_only_encoder_are_no_dressing_up() -> None:
    assert [finding.rule for finding in check(made_for(clip_g=torch.zeros(2, 1280)))] == ["zero_rows"]


@pytest.mark.parametrize("stem", ["learned_embeds", "learned_embeds-steps-500", "embedding"])
def test_names_that_programs_give_to_all_are_no_claim(stem: str) -> None:
    assert check(called(file_stem=stem, key="<wispy>", archive_root="archive")) == []


def test_every_dtype_is_looked_at() -> None:
    for dtype in ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"):
        embedding = replace(GOOD, vectors={"clip_l": Tensor(dtype, (1, 768), bytes(768 * SIZES[dtype]))})
        assert [finding.rule for finding in check(embedding)] == ["zero_rows"], dtype


def test_ordinary_words_are_lower_case_and_no_encoder_lacks_a_room() -> None:
    assert [word for word in ORDINARY if word != word.lower() or not word.isalpha()] == []
    assert all(encoder.slots > 2 for encoder in ENCODERS.values())


def test_the_lengths_of_vectors_are_measured_once() -> None:
    measured: list[tuple[int, ...]] = []

    def lengths(tensor: Tensor) -> list[float]:
        measured.append(tensor.shape)
        return list(norms(tensor))

    assert check(XL, lengths=lengths) == check(XL)
    assert sorted(measured) == [(2, 768), (2, 1280)]

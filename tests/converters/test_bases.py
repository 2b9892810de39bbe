"""For which model family: an answer with a confidence and its evidence."""

import pytest

from embconv.converters.bases import CONFIDENCE, base_of_embedding, bases_of, counted, described
from embconv.converters.encoders import BASES, ENCODERS
from embconv.converters.model import Embedding, Hint, Names, Tensor, Training
from embconv.converters.read import load, read
from examples import BY_ID, EXAMPLES, Example


def _for(*encoders: str, layout: str = "per_encoder", **facts: object) -> Embedding:
    sizes = {key: ENCODERS[key].width if key in ENCODERS else 999 for key in encoders}
    vectors = {key: Tensor("F32", (2, width), bytes(8 * width)) for key, width in sizes.items()}
    return Embedding(names=Names(), vectors=vectors, layout=layout, **facts)  # type: ignore[arg-type]


def _sure(embedding: Embedding) -> dict[str, str]:
    return {claim.base: claim.confidence for claim in bases_of(embedding)}


@pytest.mark.parametrize("layout", ["a1111", "ldm", "emb_params", "emp_params"])
@pytest.mark.parametrize(("encoder", "base"), [("clip_l", "sd1"), ("clip_h", "sd2")])
def test_programs_that_know_only_sd_make_its_encoder_certain(layout: str, encoder: str, base: str) -> None:
    assert _sure(_for(encoder, layout=layout))[base] == "certain"


@pytest.mark.parametrize("layout", ["diffusers", "per_encoder", "bare_tensor", "safelora"])
@pytest.mark.parametrize(("encoder", "base"), [("clip_l", "sd1"), ("clip_h", "sd2")])
def test_an_encoder_alone_elsewhere_is_likely(layout: str, encoder: str, base: str) -> None:
    assert _sure(_for(encoder, layout=layout))[base] == "likely"


@pytest.mark.parametrize(
    ("encoders", "sure"),
    [
        (("clip_l", "clip_g"), {"sdxl": "certain", "sd3": "possible", "hidream": "possible"}),
        (("clip_l", "t5xxl"), {"flux1": "certain"}),
        (("clip_l", "clip_g", "t5xxl"), {"sd3": "certain", "hidream": "possible"}),
        (("clip_l", "clip_g", "t5xxl", "llama"), {"hidream": "certain"}),
        (("llama", "clip_l"), {"hunyuan_video": "certain"}),
        (("clip_l",), {"sd1": "likely", "flux1": "possible"}),
        (("clip_g",), {"sdxl_refiner": "possible", "cascade": "possible"}),
        (("gemma2_2b",), {"sana": "possible", "lumina2": "possible"}),
        (("qwen3_4b",), {"z_image": "possible", "flux2_klein": "possible"}),
        (("mistral3_24b",), {"flux2": "likely"}),
        (("ldm_bert",), {"ldm": "likely"}),
        (("unknown_999",), {}),
        ((), {}),
    ],
    ids=str,
)
def test_the_widths_leave_these_bases(encoders: tuple[str, ...], sure: dict[str, str]) -> None:
    assert _sure(_for(*encoders)) == sure


def test_a_claim_of_a_header_or_a_sidecar_makes_a_fitting_base_certain() -> None:
    hints = (Hint(source="x.civitai.info", base="flux1", base_text="Flux.1 D"),)
    claims = bases_of(_for("clip_l", hints=hints))
    assert (claims[0].base, claims[0].confidence) == ("flux1", "certain")
    assert claims[0].because == "clip_l 768 alone; x.civitai.info says Flux.1 D"


def test_a_claim_that_contradicts_the_widths_is_no_evidence() -> None:
    hints = (Hint(source="x.json", base="sdxl", base_text="SDXL"),)
    assert _sure(_for("clip_l", hints=hints)) == _sure(_for("clip_l"))


def test_of_two_claims_for_one_base_the_first_is_shown() -> None:
    hints = (Hint(source="one", base="sd1", base_text="SD1"), Hint(source="two", base="sd1", base_text="SD 1.5"))
    assert bases_of(_for("clip_l", hints=hints))[0].because.endswith("one says SD1")


def test_the_checkpoint_it_was_trained_on_is_shown_and_cannot_write_on_a_terminal() -> None:
    training = Training(sd_checkpoint_name="blossom\x1b[2J")
    because = bases_of(_for("clip_l", layout="a1111", training=training))[0].because
    assert r'on checkpoint "blossom\x1b[2J"' in because


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_checkpoint_is_not_shown(empty: str | None) -> None:
    because = bases_of(_for("clip_l", layout="a1111", training=Training(sd_checkpoint_name=empty)))[0].because
    assert "checkpoint" not in because


@pytest.mark.parametrize("example", EXAMPLES, ids=repr)
def test_every_claim_is_the_best_first_and_says_why(example: Example) -> None:
    for embedding in read(example.data):
        claims = bases_of(embedding)
        ranks = [CONFIDENCE.index(claim.confidence) for claim in claims]
        assert ranks == sorted(ranks)
        assert len({claim.base for claim in claims}) == len(claims)
        assert all(claim.because.isprintable() and claim.because for claim in claims)


@pytest.mark.parametrize(
    ("name", "base", "says"),
    [
        ("a1111-trained", "sd1", "SD 1.x (clip_l, 768 wide, 2 vectors)"),
        ("a1111-intermediate-save", "sd1", "SD 1.x (clip_l, 768 wide, 1 vector)"),
        ("a1111-sd2", "sd2", "SD 2.x (clip_h, 1024 wide, 2 vectors)"),
        ("ldm-bert", "ldm", "LDM text-to-image (ldm_bert, 1280 wide, 1 vector)"),
        ("per-encoder-sdxl", "sdxl", "SDXL (clip_g, 1280 wide, 2 vectors; clip_l, 768 wide, 2 vectors)"),
        ("per-encoder-flux-mislabelled", "flux1", "Flux.1 (clip_l, 768 wide, 1 vector; t5xxl, 4096 wide, 1 vector)"),
        ("bare-tensor-t5", None, "an unknown base (t5xxl, 4096 wide, 1 vector)"),
        ("emb-params-kohya", "sd2", "SD 2.x (clip_h, 1024 wide, 2 vectors)"),
        ("emp-params-output-alone", None, "an unknown base (no input vectors)"),
    ],
)
def test_an_embedding_is_described_in_a_phrase(name: str, base: str | None, says: str) -> None:
    embedding = load(BY_ID[name].data)
    assert base_of_embedding(embedding) == base
    assert described(embedding) == says


@pytest.mark.parametrize("base", BASES)
def test_all_the_encoders_of_a_base_are_evidence_for_it(base: str) -> None:
    assert base in _sure(_for(*BASES[base].encoders))


@pytest.mark.parametrize(("number", "says"), [(0, "0 vectors"), (1, "1 vector"), (2, "2 vectors"), (12345, "12,345 vectors")])
def test_a_number_of_things_is_counted(number: int, says: str) -> None:
    assert counted(number, "vector") == says


@pytest.mark.parametrize(
    ("encoders", "layout", "base", "usual"),
    [(("clip_l", "clip_g"), "per_encoder", "sd3", "sdxl"), (("clip_l",), "emb_params", "flux1", "sd1")],
)
def test_a_claim_comes_before_what_the_widths_or_the_layout_make_usual(
    encoders: tuple[str, ...], layout: str, base: str, usual: str
) -> None:
    embedding = _for(*encoders, layout=layout, hints=(Hint(source="x.civitai.info", base=base, base_text="told"),))
    assert base_of_embedding(embedding) == base
    assert (_sure(embedding)[base], _sure(embedding)[usual]) == ("certain", "likely")


def test_one_other_base_has_and_several_have_the_same_encoders() -> None:
    assert bases_of(_for("clip_g"))[0].because == "clip_g 1280 alone; Stable Cascade has the same encoders"
    assert bases_of(_for("clip_l", "clip_g"))[0].because.endswith("only SDXL has exactly these")

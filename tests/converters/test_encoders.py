"""The text encoders and the bases that carry them."""

import pytest

from embconv.converters.encoders import BASES, BY_KEY, BY_WIDTH, ENCODERS, base_of, encoder_of, fits, needs

every_base = pytest.mark.parametrize("base", BASES)
every_encoder = pytest.mark.parametrize("encoder", ENCODERS)


# the table of encoders in the census of layouts, section 6
@pytest.mark.parametrize(
    ("encoder", "width"),
    [
        ("clip_l", 768), ("clip_h", 1024), ("clip_g", 1280), ("t5xxl", 4096), ("umt5xxl", 4096), ("llama", 4096),
        ("chatglm3", 4096), ("t5_11b", 1024),
        ("hydit_clip", 1024), ("xlm_roberta", 1024), ("pile_t5xl", 2048), ("mt5xl", 2048), ("gemma2_2b", 2304),
        ("qwen3_4b", 2560), ("qwen25_7b", 3584),
        ("mistral3_24b", 5120), ("ldm_bert", 1280),
    ],
)  # fmt: skip
def test_an_encoder_is_as_wide_as_its_model(encoder: str, width: int) -> None:
    assert ENCODERS[encoder].width == width
    assert encoder in BY_WIDTH[width]


@pytest.mark.parametrize(
    ("key", "width", "encoder", "agrees"),
    [
        ("clip_l", 768, "clip_l", True), ("clip_l", 1024, "clip_h", True), ("clip_g", 1280, "clip_g", True),
        ("clip_g", 768, "clip_l", False),
        ("clip_l", 1280, "clip_g", False), ("t5", 4096, "t5xxl", True), ("t5xxl", 4096, "t5xxl", True), ("t5xxl", 1024, "t5_11b", True),
        ("t5", 768, "clip_l", False), ("llama", 4096, "llama", True), ("gemma", 2304, "gemma2_2b", True),
        ("gemma2_2b", 2304, "gemma2_2b", True),
        ("umt5xxl", 4096, "umt5xxl", True), ("text_encoders_0", 768, "clip_l", True), ("text_encoders_1", 1280, "clip_g", True),
        ("emb", 768, "clip_l", True), ("emb2", 1280, "clip_g", True), ("emb2", 768, "clip_l", False),
        ("*", 768, "clip_l", True), ("emb_params", 1024, "clip_h", True), ("<cat>", 1280, "clip_g", True), ("x", 4096, "t5xxl", True),
        ("clip_l", 999, "unknown_999", False), ("*", 999, "unknown_999", True),
    ],
)  # fmt: skip
def test_the_width_decides_and_the_key_only_between_equals(key: str, width: int, encoder: str, agrees: bool) -> None:
    """OneTrainer wrote CLIP-L of Flux under clip_g for half a year (OneTrainer#514)."""
    assert encoder_of(key, width) == (encoder, agrees)


@every_encoder
def test_an_encoder_is_found_by_its_own_key(encoder: str) -> None:
    assert encoder_of(encoder, ENCODERS[encoder].width) == (encoder, True)
    assert encoder in BY_KEY[encoder]


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("SD 1.4", "sd1"), ("SD 1.5", "sd1"), ("SD 1.5 LCM", "sd1"), ("SD 2.0 768", "sd2"), ("SD 2.1", "sd2"),
        ("SD 2.1 Unclip", "sd2"), ("SDXL 0.9", "sdxl"),
        ("SDXL 1.0", "sdxl"), ("SDXL Turbo", "sdxl"), ("Pony", "sdxl"), ("Illustrious", "sdxl"), ("NoobAI", "sdxl"),
        ("Pony V7", "auraflow"), ("SD 3", "sd3"),
        ("SD 3.5 Large", "sd3"), ("Flux.1 D", "flux1"), ("Flux.1 S", "flux1"), ("Flux.1 Kontext", "flux1"),
        ("Flux.2 D", "flux2"), ("Chroma", "chroma"),
        ("AuraFlow", "auraflow"), ("Stable Cascade", "cascade"), ("PixArt a", "pixart"), ("PixArt E", "pixart"),
        ("Hunyuan 1", "hunyuan_dit"),
        ("Hunyuan Video", "hunyuan_video"), ("Lumina", "lumina2"), ("Kolors", "kolors"), ("Mochi", "mochi"), ("LTXV", "ltx"),
        ("CogVideoX", "cogvideox"),
        ("Wan Video 14B t2v", "wan"), ("HiDream", "hidream"), ("Qwen", "qwen_image"), ("ZImageTurbo", "z_image"), ("Playground v2", "sdxl"),
        ("SD1", "sd1"), ("SD2", "sd2"), ("SDXL", "sdxl"),
        ("stable-diffusion-v1/textual-inversion", "sd1"), ("stable-diffusion-v2-512/textual-inversion", "sd2"),
        ("stable-diffusion-v2-768-v/textual-inversion", "sd2"), ("stable-diffusion-xl-v1-base/textual-inversion", "sdxl"),
        ("stable-diffusion-xl-v1-refiner/textual-inversion", "sdxl_refiner"), ("flux-1-dev/textual-inversion", "flux1"),
        ("stable-diffusion-3-medium", "sd3"),
        ("stable_diffusion_v1", "sd1"), (" sdxl ", "sdxl"), ("SVD", None), ("Other", None), ("", None), ("OpenAI", None), ("SD", None),
    ],
)  # fmt: skip
def test_what_sites_and_headers_call_a_base(text: str, base: str | None) -> None:
    assert base_of(text) == base


@every_base
def test_a_base_is_known_by_its_own_key_and_its_architecture(base: str) -> None:
    assert base_of(base) == base
    assert base_of(base.upper()) == base
    if BASES[base].architecture:
        assert base_of(f"{BASES[base].architecture}/textual-inversion") == base


@every_base
def test_a_base_has_encoders_and_leaves_out_only_some_of_them(base: str) -> None:
    known = BASES[base]
    assert set(known.encoders) <= set(ENCODERS)
    assert set(known.optional) < set(known.encoders)
    assert all(prefix == prefix.lower() for prefix in (*known.prefixes, *known.names))


@every_base
def test_a_base_takes_all_its_encoders_or_those_it_needs(base: str) -> None:
    known = BASES[base]
    assert fits(base, set(known.encoders))
    assert fits(base, set(known.encoders) - set(known.optional))
    assert not fits(base, set())
    assert not fits(base, {*known.encoders, "unknown_5"})


@pytest.mark.parametrize(
    ("base", "says"),
    [("sd1", "clip_l 768"), ("sdxl", "clip_l 768 and clip_g 1280"), ("hidream", "clip_l 768, clip_g 1280, t5xxl 4096 and llama 4096")],
)
def test_what_a_base_needs_is_a_phrase(base: str, says: str) -> None:
    assert needs(base) == says


@every_encoder
def test_every_encoder_serves_some_base_and_says_what_it_is(encoder: str) -> None:
    assert any(encoder in base.encoders for base in BASES.values())
    assert ENCODERS[encoder].title
    assert 77 <= ENCODERS[encoder].slots <= 1024
    assert ENCODERS[encoder].vocabulary > 20_000

"""The text encoders an embedding can be made for, and the bases which carry them.

Widths are facts of the published models; where two encoders share a width the key in the file, then the base, decides.
Sources: ComfyUI comfy/text_encoders/*, OneTrainer modules/modelSaver/*, the models' own config.json.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from functools import lru_cache

from msgspec import Struct


class Encoder(Struct, frozen=True, kw_only=True):
    """One text encoder: `width` of its token vectors, `slots` per chunk with begin and end, `keys` in the wild.

    `norm` is where its vocabulary's row norms mostly lie, None where nobody has measured it here.
    """

    title: str
    width: int
    vocabulary: int
    slots: int
    keys: tuple[str, ...] = ()
    norm: tuple[float, float] | None = None


class Base(Struct, frozen=True, kw_only=True):
    """A model family. `encoders` are all that it has, `optional` those an embedding for it may leave out.

    `names` and `prefixes` are how headers and sites write it, in lower case.
    """

    title: str
    encoders: tuple[str, ...]
    optional: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    architecture: str = ""  # ModelSpec's word, where it has one


ENCODERS: dict[str, Encoder] = {
    "clip_l": Encoder(
        title="CLIP ViT-L/14", width=768, vocabulary=49408, slots=77,
        keys=("clip_l", "text_encoders_0", "emb"), norm=(0.3, 0.4),
    ),
    "clip_h": Encoder(title="OpenCLIP ViT-H/14", width=1024, vocabulary=49408, slots=77, keys=("clip_h", "clip_l")),
    "clip_g": Encoder(title="OpenCLIP ViT-bigG/14", width=1280, vocabulary=49408, slots=77, keys=("clip_g", "text_encoders_1", "emb2")),
    "t5xxl": Encoder(title="T5-XXL v1.1", width=4096, vocabulary=32128, slots=512, keys=("t5xxl", "t5")),
    "umt5xxl": Encoder(title="umT5-XXL", width=4096, vocabulary=256384, slots=512, keys=("umt5xxl",)),
    "llama": Encoder(title="Llama 3 8B", width=4096, vocabulary=128256, slots=256, keys=("llama", "llama3_8b")),
    "chatglm3": Encoder(title="ChatGLM3 6B", width=4096, vocabulary=65024, slots=256, keys=("chatglm3",)),
    "t5_11b": Encoder(title="T5 11B", width=1024, vocabulary=32128, slots=512, keys=("t5_11b", "t5xxl")),
    "hydit_clip": Encoder(title="Chinese CLIP of Hunyuan-DiT", width=1024, vocabulary=47020, slots=77, keys=("hydit_clip",)),
    "xlm_roberta": Encoder(title="XLM-RoBERTa large of AltDiffusion", width=1024, vocabulary=250002, slots=77, keys=("xlm_roberta",)),
    "pile_t5xl": Encoder(title="Pile-T5-XL", width=2048, vocabulary=32128, slots=256, keys=("pile_t5xl",)),
    "mt5xl": Encoder(title="mT5-XL", width=2048, vocabulary=250112, slots=256, keys=("mt5xl",)),
    "gemma2_2b": Encoder(title="Gemma 2 2B", width=2304, vocabulary=256000, slots=300, keys=("gemma2_2b", "gemma")),
    "qwen3_4b": Encoder(title="Qwen3 4B", width=2560, vocabulary=151936, slots=512, keys=("qwen3_4b",)),
    "qwen25_7b": Encoder(title="Qwen2.5-VL 7B", width=3584, vocabulary=152064, slots=1024, keys=("qwen25_7b",)),
    "mistral3_24b": Encoder(title="Mistral Small 3 24B", width=5120, vocabulary=131072, slots=512, keys=("mistral3_24b",)),
    "ldm_bert": Encoder(title="BERT of LDM text-to-image", width=1280, vocabulary=30522, slots=77, keys=("ldm_bert",)),
}

BASES: dict[str, Base] = {
    "sd1": Base(
        architecture="stable-diffusion-v1", title="SD 1.x", encoders=("clip_l",),
        prefixes=("sd 1", "sd1", "sd v1", "stable-diffusion-v1", "stable diffusion 1"),
    ),
    "sd2": Base(
        architecture="stable-diffusion-v2", title="SD 2.x", encoders=("clip_h",),
        prefixes=("sd 2", "sd2", "sd v2", "stable-diffusion-v2", "stable diffusion 2"),
    ),
    "sdxl": Base(
        architecture="stable-diffusion-xl-v1-base", title="SDXL", encoders=("clip_l", "clip_g"),
        names=("xl", "ssd-1b", "playground v2", "playground v2.5"),
        prefixes=("sdxl", "stable-diffusion-xl-v1-base", "stable-diffusion-xl-v1", "stable diffusion xl", "pony",
            "illustrious", "noobai", "animagine"),
    ),
    "sdxl_refiner": Base(title="SDXL refiner", encoders=("clip_g",), prefixes=("stable-diffusion-xl-v1-refiner", "sdxl refiner")),
    "sd3": Base(
        architecture="stable-diffusion-3", title="SD 3.x", encoders=("clip_l", "clip_g", "t5xxl"), optional=("t5xxl",),
        prefixes=("sd 3", "sd3", "stable-diffusion-3", "stable diffusion 3"),
    ),
    "flux1": Base(
        architecture="flux-1", title="Flux.1", encoders=("clip_l", "t5xxl"), optional=("t5xxl",),
        prefixes=("flux.1", "flux1", "flux-1", "flux 1"),
    ),
    "chroma": Base(title="Chroma", encoders=("t5xxl",), prefixes=("chroma",)),
    "pixart": Base(title="PixArt", encoders=("t5xxl",), prefixes=("pixart",)),
    "deepfloyd_if": Base(title="DeepFloyd IF", encoders=("t5xxl",), prefixes=("deepfloyd",)),
    "ltx": Base(title="LTX Video", encoders=("t5xxl",), prefixes=("ltx",)),
    "mochi": Base(title="Mochi", encoders=("t5xxl",), prefixes=("mochi",)),
    "cogvideox": Base(title="CogVideoX", encoders=("t5xxl",), prefixes=("cogvideo",)),
    "cascade": Base(title="Stable Cascade", encoders=("clip_g",), prefixes=("stable cascade", "stable-cascade", "wuerstchen", "würstchen")),
    "auraflow": Base(title="AuraFlow", encoders=("pile_t5xl",), prefixes=("auraflow", "pony v7")),
    "kolors": Base(title="Kolors", encoders=("chatglm3",), prefixes=("kolors",)),
    "hunyuan_dit": Base(
        title="Hunyuan-DiT", encoders=("hydit_clip", "mt5xl"), optional=("mt5xl",),
        prefixes=("hunyuan 1", "hunyuan-dit", "hunyuandit"),
    ),
    "hunyuan_video": Base(
        title="HunyuanVideo", encoders=("llama", "clip_l"), optional=("clip_l",),
        prefixes=("hunyuan video", "hunyuan-video", "hunyuanvideo"),
    ),
    "hidream": Base(title="HiDream", encoders=("clip_l", "clip_g", "t5xxl", "llama"), optional=("t5xxl", "llama"), prefixes=("hidream",)),
    "sana": Base(title="Sana", encoders=("gemma2_2b",), prefixes=("sana",)),
    "lumina2": Base(title="Lumina 2", encoders=("gemma2_2b",), prefixes=("lumina",)),
    "wan": Base(title="Wan", encoders=("umt5xxl",), prefixes=("wan",)),
    "cosmos": Base(title="Cosmos 1", encoders=("t5_11b",), prefixes=("cosmos",)),
    "qwen_image": Base(title="Qwen-Image", encoders=("qwen25_7b",), prefixes=("qwen",)),
    "z_image": Base(title="Z-Image", encoders=("qwen3_4b",), prefixes=("zimage", "z-image", "z image")),
    "flux2_klein": Base(title="Flux.2 klein 4B", encoders=("qwen3_4b",), prefixes=("flux.2 klein", "flux2-klein")),
    "flux2": Base(title="Flux.2 dev", encoders=("mistral3_24b",), prefixes=("flux.2 d", "flux2")),
    "ldm": Base(title="LDM text-to-image", encoders=("ldm_bert",), prefixes=("ldm",)),
    "altdiffusion": Base(title="AltDiffusion", encoders=("xlm_roberta",), prefixes=("altdiffusion",)),
    "kandinsky": Base(title="Kandinsky 2", encoders=("xlm_roberta", "clip_g"), prefixes=("kandinsky",)),
}

# The encoder a bare width most often means, first; the others are named as evidence.
BY_WIDTH: dict[int, tuple[str, ...]] = {}
for _key, _encoder in ENCODERS.items():
    BY_WIDTH[_encoder.width] = (*BY_WIDTH.get(_encoder.width, ()), _key)

# Every key that per-encoder files use, and the encoders it may mean.
BY_KEY: dict[str, tuple[str, ...]] = {}
for _key, _encoder in ENCODERS.items():
    for _name in _encoder.keys:
        BY_KEY[_name] = (*BY_KEY.get(_name, ()), _key)


@lru_cache(maxsize=256)  # a folder holds few kinds of embedding
def encoder_of(key: str, width: int) -> tuple[str, bool]:
    """The encoder that vectors of `width` under `key` are for, and whether the key agrees. The width decides."""
    named = BY_KEY.get(key, ())
    for encoder in named:
        if ENCODERS[encoder].width == width:
            return encoder, True
    fits = BY_WIDTH.get(width, ())
    return (fits[0] if fits else f"unknown_{width}"), not named


@lru_cache(1_024)
def base_of(text: str) -> str | None:
    """The base that a header or a site calls `text`, such as "SD 1.5", "Pony" or "stable-diffusion-xl-v1-base/lora"."""
    wanted = text.strip().lower().replace("_", "-") if "_" in text else text.strip().lower()
    best: tuple[int, str | None] = (0, None)
    for key, base in BASES.items():
        if key == text.strip().lower() or wanted in base.names:
            return key
        for prefix in base.prefixes:
            if wanted.startswith(prefix) and len(prefix) > best[0]:
                best = (len(prefix), key)
    return best[1]


def fits(base: str, encoders: AbstractSet[str]) -> bool:
    """Do vectors for exactly these encoders serve `base`?"""
    wanted = BASES[base]
    return encoders <= set(wanted.encoders) and encoders >= set(wanted.encoders) - set(wanted.optional)


def needs(base: str) -> str:
    """What a base's encoders want, as a phrase: "clip_l 768 and clip_g 1280"."""
    parts = [f"{key} {ENCODERS[key].width}" for key in BASES[base].encoders]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"

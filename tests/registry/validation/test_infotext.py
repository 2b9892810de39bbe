"""Infotexts: what A1111 reads out of them, and that a picture carries them."""

import io
import json
import re

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from embconv.registry.validation.infotext import in_webp, infotext, signed
from embconv.registry.validation.parts import Subject
from embconv.registry.verdicts import SAMPLERS, Cell, Checkpoint, protocol_for

CHECKPOINT = Checkpoint(name="tiny, of tests", base="sd1", path="", kind="single_file", fingerprint="abcdef0123456789" * 4, size=512)
SUBJECT = Subject("emb:" + "7" * 64, "moonpaper", "moonpaper", {}, shorthash="1bc24191d3ad")
CELL = Cell(kind="test", prompt="a photo of moonpaper", negative_prompt="worst quality", seed=7, sampler="dpmpp_2m_karras", steps=20, cfg=7.5,
            width=512, height=768, weight=1.0)  # fmt: skip
PROTOCOL = protocol_for("sd1", 512)

# As A1111 documents its own: `key: value` with commas between them, values with a comma, a colon or a line in JSON's quotes.
PARAMETER = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def parsed(text: str) -> dict[str, str]:
    """What A1111 makes of an infotext: the last line is of parameters if there are three of them; before it the negative prompt begins."""
    *lines, last = text.strip().split("\n")
    assert len(PARAMETER.findall(last)) >= 3
    found = {key: json.loads(value) if value.startswith('"') else value for key, value in PARAMETER.findall(last)}
    place = next((place for place, line in enumerate(lines) if line.startswith("Negative prompt:")), len(lines))
    found["Prompt"] = "\n".join(lines[:place])
    found["Negative prompt"] = "\n".join(lines[place:]).removeprefix("Negative prompt:").strip()
    return found


def test_a1111_reads_what_was_drawn() -> None:
    assert parsed(infotext(CELL, SUBJECT, CHECKPOINT, PROTOCOL)) == {
        "Prompt": "a photo of moonpaper", "Negative prompt": "worst quality", "Steps": "20", "Sampler": "DPM++ 2M", "Schedule type": "Karras",
        "CFG scale": "7.5", "Seed": "7", "Size": "512x768", "Model hash": "abcdef0123", "Model": "tiny, of tests",
        "TI hashes": "moonpaper: 1bc24191d3ad", "Emphasis": "Original", "RNG": "CPU", "Version": "embconv 0.1.0",
    }  # fmt: skip


def test_its_order_is_that_of_a1111() -> None:
    last = infotext(CELL, SUBJECT, CHECKPOINT, PROTOCOL).split("\n")[-1]
    assert last.startswith("Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 7, Size: 512x768, Model hash: abcdef0123,")


@pytest.mark.parametrize(
    ("key", "title", "schedule"),
    [("euler_a", "Euler a", None), ("euler", "Euler", None), ("dpmpp_2m_karras", "DPM++ 2M", "Karras"), ("dpmpp_2m_sde", "DPM++ 2M SDE", None),
     ("unipc", "UniPC", None), ("ddim", "DDIM", None)],
)  # fmt: skip
def test_samplers_have_a1111s_names(key: str, title: str, schedule: str | None) -> None:
    found = parsed(infotext(replace(CELL, sampler=key), SUBJECT, CHECKPOINT, PROTOCOL))
    assert (found["Sampler"], found.get("Schedule type")) == (title, schedule)


def test_every_sampler_was_looked_at() -> None:
    assert len(SAMPLERS) == 6


@pytest.mark.parametrize(("emphasis", "says"), [("a1111", "Original"), ("no_norm", "No norm"), ("comfyui", "ComfyUI")])
def test_the_emphasis_is_said(emphasis: str, says: str) -> None:
    assert parsed(infotext(CELL, SUBJECT, CHECKPOINT, replace(PROTOCOL, emphasis=emphasis)))["Emphasis"] == says


def test_clip_skip_counts_as_a1111_does() -> None:
    assert "Clip skip" not in parsed(infotext(CELL, SUBJECT, CHECKPOINT, PROTOCOL))
    assert parsed(infotext(CELL, SUBJECT, CHECKPOINT, replace(PROTOCOL, clip_skip=1)))["Clip skip"] == "2"


def test_without_the_embedding_no_hash_of_it_is_said() -> None:
    found = parsed(infotext(replace(CELL, weight=None, negative_prompt=""), SUBJECT, CHECKPOINT, PROTOCOL))
    assert "TI hashes" not in found
    assert found["Negative prompt"] == ""


@pytest.mark.parametrize("trigger", ["日本", 'with "quotes", commas: and colons', "back\\slash"])
def test_strange_names_are_read_as_they_are(trigger: str) -> None:
    subject = Subject("", trigger, trigger, {}, shorthash="1bc24191d3ad")
    assert parsed(infotext(CELL, subject, CHECKPOINT, PROTOCOL))["TI hashes"] == f"{trigger}: 1bc24191d3ad"


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("text", ["a photo\nSteps: 20", "日本, é"])
def test_a_webp_carries_it_and_keeps_its_pixels(lossless: bool, text: str) -> None:
    packed = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (37, 21, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(packed, "WEBP", lossless=lossless)
    plain = packed.getvalue()
    for webp in (in_webp(plain, text), in_webp(in_webp(plain, "before"), text)):
        with Image.open(io.BytesIO(webp)) as image, Image.open(io.BytesIO(plain)) as before:
            comment = image.getexif().get_ifd(0x8769)[0x9286]
            assert comment.removeprefix(b"UNICODE\0").decode("utf-16-be") == text  # as piexif, which A1111 uses, reads it
            assert np.array_equal(np.asarray(image), np.asarray(before))


def test_a_signed_cell_is_the_same_with_its_infotext() -> None:
    made = signed(CELL, SUBJECT, CHECKPOINT, PROTOCOL)
    assert made.infotext == infotext(CELL, SUBJECT, CHECKPOINT, PROTOCOL)
    assert replace(made, infotext="") == CELL

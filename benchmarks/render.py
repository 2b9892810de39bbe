"""Test renders against a plain loop of diffusers, with the same random weights, in one run: `python benchmarks/render.py`.

The loop is what a person writes: load an embedding, draw a picture without it and one with it, unload it. Ours draws one picture for
each embedding; the picture without, which is the same for all, is drawn before. The rows on the CPU have a tiny pipeline and take a
minute. Those on a GPU have models as large as the published ones and take about eight; where there is no GPU they are not run, and say
so. The tables go to benchmarks/RESULTS.md, one for each device. --rehearse goes through the GPU's rows with a tiny pipeline on the CPU,
to see that they run, and writes nothing.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# before the imports below, which read it
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DIFFUSERS_VERBOSITY": "critical", "TRANSFORMERS_VERBOSITY": "critical"}

import numpy as np
import torch
from _measure import table, workplace
from _pipelines import ENCODERS, SIZES, large, ours, tiny

from embconv.registry.validation.decode import decode
from embconv.registry.validation.engine import device_name, versions
from embconv.registry.validation.loop import denoise
from embconv.registry.validation.parts import Conditioning, Model, Order
from embconv.registry.validation.text import Ask, encode, level

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
CPU = torch.device("cpu")
STEPS, CFG, VECTORS = 20, 7.0, 4
WITHOUT, WITH = "a photo of", "a photo of {T}"
MINUTES = 9  # after so many nothing more is begun

Row = tuple[str, str, str, str, bool | None]  # None: not run
Embedding = dict[str, Any]                    # encoder -> (n, width) float32


@dataclass(frozen=True)
class Scale:
    """How much is drawn: on a GPU, and where it is only rehearsed."""

    device: torch.device
    make: Callable[[str], Any]
    sizes: dict[str, int]
    many: int     # embeddings that we draw; a multiple of the pictures that share a call
    few: int      # that the plain loop draws, for each takes as long as the next
    probed: int


def embeddings(base: str, count: int, *, first: int = 0) -> list[Embedding]:
    """As large as a word's vectors are."""
    dice = np.random.default_rng(first)
    return [{key: dice.standard_normal((VECTORS, width), np.float32) * 0.02 for key, width in ENCODERS[base].items()} for _ in range(count)]


def wait(device: torch.device) -> float:
    """The time when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


# the plain loop


def loaded(pipe: Any, name: str, embedding: Embedding) -> list[dict[str, Any]]:
    """An embedding is loaded; where it has to be unloaded again."""
    places: list[dict[str, Any]] = [{"tokenizer": pipe.tokenizer, "text_encoder": pipe.text_encoder}]
    places += [{"tokenizer": pipe.tokenizer_2, "text_encoder": pipe.text_encoder_2}] if len(embedding) > 1 else []
    for place, vectors in zip(places, embedding.values(), strict=True):
        pipe.load_textual_inversion(torch.from_numpy(vectors), token=name, **place)
    return places


def plain(pipe: Any, several: Sequence[Embedding], size: int, device: torch.device) -> tuple[float, list[Any]]:
    """Embeddings a second, and their pictures. The first is drawn before, to warm up."""
    pictures: list[Any] = []
    start = 0.0
    for number, embedding in enumerate([several[0], *several]):
        if number == 1:
            start = wait(device)
        places = loaded(pipe, f"<e{number}>", embedding)
        for prompt in (WITHOUT, WITH.format(T=f"<e{number}>")):
            drawn = pipe(prompt, negative_prompt="", num_inference_steps=STEPS, guidance_scale=CFG, width=size, height=size,
                         generator=torch.Generator().manual_seed(1), output_type="np").images[0]  # fmt: skip
        pictures += [drawn] if number else []
        for place in places:
            pipe.unload_textual_inversion(**place)
    return len(several) / (wait(device) - start), pictures


# ours


def words(model: Model, several: Sequence[Embedding]) -> tuple[list[Conditioning], Conditioning]:
    """The prompts with the embeddings, and the empty one."""
    *asked, nothing = level(model, encode(model, [*(Ask(WITH, each) for each in several), Ask("")], emphasis="no_norm"))
    return asked, nothing


def batched(
    model: Model, several: Sequence[Embedding], size: int, *, steps: int = STEPS, compiled: bool = False
) -> tuple[float, list[Any]]:
    """Embeddings a second, and their pictures: prompts, latents and pixels."""
    start = wait(model.device)
    asked, nothing = words(model, several)
    seen = SIZES[model.base] if model.base == "sdxl" and size < SIZES["sdxl"] and size > 64 else size
    orders = [Order(number, each, nothing, 1, "euler", steps, CFG, size, size, seen, seen) for number, each in enumerate(asked)]
    pictures: dict[Any, Any] = {}
    for some in chunks(denoise(model, orders, compiled=compiled), 8):
        for drawn, picture in zip(some, decode(model, [each.latents for each in some]), strict=True):
            assert drawn.finite, "random weights do not overflow"
            assert picture.finite
            pictures[drawn.key] = picture.pixels
    return len(several) / (wait(model.device) - start), [pictures[number] for number in range(len(several))]


def chunks(results: Iterator[Any], count: int) -> Iterator[list[Any]]:
    """So many at a time."""
    some: list[Any] = []
    for each in results:
        some.append(each)
        if len(some) == count:
            yield some
            some = []
    if some:
        yield some


# rows on the CPU


def equal(pipe: Any, model: Model) -> Iterator[Row]:
    """Sixteen embeddings in one batch against the plain loop."""
    several = embeddings("sd1", 16, first=7)
    asked, _ = words(model, several)
    most = 0.0
    for number, embedding in enumerate(several):
        places = loaded(pipe, f"<e{number}>", embedding)
        with torch.no_grad():
            prompt = WITH.format(T=f"<e{number}>")
            theirs, _ = pipe.encode_prompt(prompt, device=CPU, num_images_per_prompt=1, do_classifier_free_guidance=False)
        most = max(most, float((theirs[0] - asked[number].embeds).abs().max()))
        for place in places:
            pipe.unload_textual_inversion(**place)
    against = "diffusers, one after the other"
    yield ("prompt embeddings of 16 embeddings in one batch, tiny SD 1.x, float32", f"{most:.1e} at most", against, "0.0", most == 0)
    _, singly = plain(pipe, several[:4], 64, CPU)
    _, found = batched(model, several, 64)
    far = max(float(abs(one - other).max()) for one, other in zip(singly, found, strict=False))
    yield ("their pictures, 0 to 1, 20 steps", f"{far:.1e} at most", against, "1e-5", far <= 1e-5)


def on_the_cpu(folder: Path) -> Iterator[Row]:
    """All rows with a tiny pipeline, on one thread: more of them gain nothing there, and wait for each other."""
    torch.set_num_threads(1)
    pipe = tiny("sd1")
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder / "tiny", safe_serialization=True)
    model = ours(copy.deepcopy(pipe), "sd1", CPU, 64)
    yield from equal(pipe, model)
    several = embeddings("sd1", 64)
    batched(model, several[:1], 64)
    rounds = [(plain(pipe, several, 64, CPU)[0], batched(model, several, 64)[0]) for _ in range(3)]
    theirs, mine = sorted(rounds, key=lambda pair: pair[1] / pair[0])[1]
    yield ("64 embeddings, tiny SD 1.x, 64 px, 20 steps, CFG", f"{mine / theirs:.1f} times ({mine:.0f}/s)",
           f"a plain diffusers loop over the same ({theirs:.1f}/s)", "5 times", mine >= 5 * theirs)  # fmt: skip
    torch.set_num_threads(os.cpu_count() or 1)
    yield first_verdict(folder, folder / "tiny", "cpu", 10, times=3)


def first_verdict(folder: Path, checkpoint: Path, device: str, bar: float, *, times: int = 1) -> Row:
    """From the command to the verdict on one embedding, nothing known before; the median."""
    from safetensors.numpy import save_file

    path = folder / "one.safetensors"
    save_file({"emb_params": embeddings("sd1", 1, first=3)[0]["clip_l"]}, path)
    command = [sys.executable, "-m", "embconv.cli", "validate", path, "--checkpoint", f"sd1={checkpoint}", "--device", device, "--json",
               "--home", folder / "no-registry"]  # fmt: skip
    each = []
    for _ in range(times):
        start = time.perf_counter()
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        each.append(time.perf_counter() - start)
    taken = statistics.median(each)
    try:
        state = json.loads(done.stdout)["state"]
    except (ValueError, KeyError, TypeError):
        print(done.stderr or done.stdout, file=sys.stderr)
        state = "failed"
    what = f"`embconv validate FILE` to the first verdict ({state}), {'tiny ' if device == 'cpu' else ''}SD 1.x, not compiled"
    return (what, f"{taken:.1f} s", "", f"{bar:g} s", taken <= bar and state != "failed")


# rows on a GPU

LIMIT = {"sd1": 22.8, "sdxl": 2.81}  # pictures a second that 790 TFLOP/s of bfloat16 allow: FLOPs of text, UNet and VAE counted
NAMES = {"sd1": "SD 1.5, 512 px, 20 steps, CFG", "sdxl": "SDXL, 1024 px, 20 steps, CFG"}
QUICK = "SDXL, 768 px, 12 steps (quick)"
TIMES = {"sd1": 10, "sdxl": 4}
PROBE = "probe only, SD 1.5"
FIRST = "`embconv validate FILE` to the first verdict, SD 1.5, not compiled"
PLACES = "the same order at three places of a batch, SD 1.5, bfloat16"
SHARES = {base: f"{name}, of the matmul limit" for base, name in NAMES.items()}
ON_A_GPU = (NAMES["sd1"], SHARES["sd1"], PLACES, PROBE, FIRST, NAMES["sdxl"], SHARES["sdxl"], QUICK)


def both(scale: Scale, base: str) -> tuple[Any, Model]:
    """The pipeline in float16, as people run it, and our Model, with one set of weights."""
    pipe = scale.make(base)
    mine = copy.copy(pipe)
    for name in ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"):
        if hasattr(pipe, name):
            setattr(mine, name, copy.deepcopy(getattr(pipe, name)))
    half = torch.float16 if scale.device.type == "cuda" else torch.float32
    pipe.to(scale.device, half)
    pipe.set_progress_bar_config(disable=True)
    return pipe, ours(mine, base, scale.device, scale.sizes[base])


def rates(scale: Scale, base: str, pipe: Any, model: Model) -> tuple[float, float, str]:
    """Embeddings a second of the plain loop and of ours, whichever way is the faster, and how it was reached."""
    size = scale.sizes[base]
    theirs, _ = plain(pipe, embeddings(base, scale.few), size, scale.device)
    some = embeddings(base, scale.many)
    batched(model, some[:1], size)
    eager, _ = batched(model, some, size)
    start = time.perf_counter()
    batched(model, some[:1], size, compiled=True)
    cold = time.perf_counter() - start
    fast, _ = batched(model, some, size, compiled=True)
    return theirs, max(eager, fast), f"compiled {fast:.2f}/s, after {cold:.0f} s; not compiled {eager:.2f}/s"


def compared(base: str, theirs: float, mine: float, how: str) -> Iterator[Row]:
    """The two rows of a base."""
    against = f"a plain diffusers loop, float16 ({theirs:.3f}/s)"
    yield (NAMES[base], f"{mine / theirs:.1f} times ({how})", against, f"{TIMES[base]} times", mine >= TIMES[base] * theirs)
    share = mine / LIMIT[base]
    yield (SHARES[base], f"{share:.0%} ({mine:.2f}/s)", f"{LIMIT[base]}/s at 790 TFLOP/s", "55 %", share >= 0.55)


def sd1(scale: Scale, folder: Path) -> Iterator[Row]:
    """The rows of SD 1.5."""
    pipe, model = both(scale, "sd1")
    pipe.save_pretrained(folder / "sd1", safe_serialization=True)  # now: after the loop its configuration counts words that are gone
    yield from compared("sd1", *rates(scale, "sd1", pipe, model))
    yield placed(scale, model)
    yield probing(scale, model)
    del pipe, model
    free()
    yield (FIRST, *first_verdict(folder, folder / "sd1", scale.device.type, 20)[1:])


def placed(scale: Scale, model: Model) -> Row:
    """Do a picture's bits hang on its place, or on its neighbours?"""
    asked, nothing = words(model, embeddings("sd1", 16))
    size = scale.sizes["sd1"]

    def order(key: int, words_of: Conditioning, seed: int) -> Order:
        return Order(key, words_of, nothing, seed, "euler_a", 4, CFG, size, size)

    found = []
    for place in (0, 7, 15):
        several = [order(number, each, number) for number, each in enumerate(asked)]
        several[place] = order(-1, asked[0], 1)
        found += [drawn.latents for drawn in denoise(model, several) if drawn.key == -1]
    far = max(float((each - found[0]).abs().max()) for each in found)
    return (PLACES, "the same bits" if far == 0 else f"latents differ by {far:.1e}", "", "the same bits", far == 0)


def probing(scale: Scale, model: Model) -> Row:
    """Embeddings an hour through the probe: their prompts, and four timesteps against one control."""
    from embconv.registry.validation.probe import probe
    from embconv.registry.verdicts import protocol_for

    protocol = protocol_for("sd1", scale.sizes["sd1"], name="probe")
    some = embeddings("sd1", scale.probed)
    (control,), nothing = words(model, embeddings("sd1", 1, first=9))
    for several in (some[:8], some):
        start = wait(scale.device)
        asked, _ = words(model, several)
        probe(model, [(each, control, nothing) for each in asked], protocol)
        hourly = len(several) / (wait(scale.device) - start) * 3600
    return (PROBE, f"{hourly:,.0f} an hour", "", "200,000", hourly >= 200_000)


def sdxl(scale: Scale, folder: Path) -> Iterator[Row]:
    """The rows of SDXL."""
    pipe, model = both(scale, "sdxl")
    theirs, mine, how = rates(scale, "sdxl", pipe, model)
    yield from compared("sdxl", theirs, mine, how)
    size, some = scale.sizes["sdxl"] * 3 // 4, embeddings("sdxl", scale.many)
    batched(model, some[:1], size, steps=12, compiled=True)
    quick, _ = batched(model, some, size, steps=12, compiled=True)
    got, against = f"{quick / theirs:.1f} times ({quick:.2f}/s)", f"the loop at 1024 px, 20 steps ({theirs:.3f}/s)"
    yield (QUICK, got, against, "11 times", quick >= 11 * theirs)


def free() -> None:
    """Give memory back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def on_a_gpu(scale: Scale, folder: Path, until: float) -> Iterator[Row]:
    """All rows with large models. One that fails says so, and the others are run."""
    done: list[str] = []
    for rows in (sd1, sdxl):
        try:
            for row in rows(scale, folder) if time.perf_counter() < until else ():
                done.append(row[0])
                yield row
        except Exception as exc:  # noqa: BLE001  # whatever a GPU's libraries raise, the other rows are wanted
            traceback.print_exc()
            missing = next(name for name in ON_A_GPU if name not in done)
            done.append(missing)
            yield (missing, f"failed: {type(exc).__name__}", "", "", False)
        free()
    yield from (not_run(name) for name in ON_A_GPU if name not in done)


def not_run(name: str) -> Row:
    """A row without a number."""
    return (name, "not run", "", "", None)


# the tables


def written(rows: Sequence[Row], device: str) -> str:
    """The section of a device."""
    with_versions = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines = [f"## {device}", "", f"{time.strftime('%Y-%m-%d')}, {with_versions}, Python {sys.version.split()[0]}.", "",
             table((*row[:4], bool(row[4])) for row in rows)]  # fmt: skip
    text = "\n".join(lines)
    return "\n".join(line.replace("| **missed** |", "| |") if "| not run |" in line else line for line in text.split("\n"))


def keep(section: str) -> None:
    """Put it into RESULTS.md, in the place of the same device's."""
    head = "# Results of render.py\n\nA row that says \"not run\" needs a GPU; nothing here is estimated.\n"
    before = RESULTS.read_text("utf-8").split("\n## ")[1:] if RESULTS.exists() else []
    title = section.splitlines()[0]
    others = [f"## {each.strip()}" for each in before if f"## {each.splitlines()[0]}" != title]
    RESULTS.write_text("\n".join([head, *(f"{each}\n" for each in sorted([*others, section]))]), "utf-8")


def main() -> None:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rehearse", action="store_true", help="the GPU's rows with a tiny pipeline on the CPU")
    options = parser.parse_args()
    until = time.perf_counter() + 60 * MINUTES
    device = torch.device("cuda" if torch.cuda.is_available() and not options.rehearse else "cpu")
    with workplace() as folder:
        if options.rehearse:
            rows = list(on_a_gpu(Scale(CPU, tiny, {"sd1": 64, "sdxl": 64}, 4, 2, 8), folder, until))
        else:
            rows = list(on_the_cpu(folder))
            big = Scale(device, lambda base: large(base, device), SIZES, 128, 6, 2048)
            rows += on_a_gpu(big, folder, until) if device.type == "cuda" else [not_run(name) for name in ON_A_GPU]
    section = written(rows, f"{device_name(device)}, {os.cpu_count()} cores")
    print(section)
    if not options.rehearse:
        keep(section)
    sys.exit(0 if all(row[4] is not False for row in rows) else 1)


if __name__ == "__main__":
    main()

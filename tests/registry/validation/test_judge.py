from __future__ import annotations

import io
import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from embconv.registry.model import VERDICTS
from embconv.registry.render_errors import BadCheckpoint, DeviceFailed, DeviceFull
from embconv.registry.validation import judge as module
from embconv.registry.validation.calibrate import calibrate, vectors_of
from embconv.registry.validation.controls import mean_of
from embconv.registry.validation.judge import judge
from embconv.registry.validation.measure import NUMBERS
from embconv.registry.validation.parts import Subject
from embconv.registry.verdicts import Judged, Protocol, protocol_for, protocol_id

from .conftest import vectors

OTHER = {"sd1": "sd2", "sd2": "sd1", "sd2v": "sdxl", "sdxl": "sd1"}


def protocol(base: str = "sd1", **changes: Any) -> Protocol:
    """Few steps and timesteps: the verdicts are those of the real ones."""
    few = {"steps": 3, "timesteps": (700, 300), "weights": (0.5, 1.0, 1.5)}
    return protocol_for("sd2" if base == "sd2v" else base, 64, **{**few, **changes})


def named(name: str, like: str = "sd1", **given: Any) -> Subject:
    return Subject(**{"digest": name, "name": name, "trigger": name, "vectors": vectors(like), "base": "sd2" if like == "sd2v" else like, **given})


def times(factor: float, base: str) -> dict[str, Any]:
    return {key: each * np.float32(factor) for key, each in vectors(base).items()}


def nothing(model: Any, further: float = 0.0, seed: int = 0) -> dict[str, Any]:
    """The mean of the vocabulary, which is what the place is held by, and a step away from it."""
    return {encoder.key: mean_of(encoder) + further * vectors(model_base(model), seed=seed)[encoder.key] for encoder in model.encoders}


def model_base(model: Any) -> str:
    return "sd2v" if model.checkpoint.variant == "v" else model.base


def of_every_kind(model: Any) -> list[Subject]:
    """The embeddings whose verdicts everybody can foresee."""
    base = model_base(model)
    infinite = vectors(base, 3)
    next(iter(infinite.values()))[1, 5] = np.inf
    return [
        named("good", base, vectors=vectors(base, 3, seed=1)),
        named("good positive", base, role="positive", vectors=vectors(base, 1, seed=2)),
        named("good negative", base, role="negative", vectors=vectors(base, 2, seed=3)),
        named("75 vectors", base, role="positive", vectors=vectors(base, 75)),
        named("copy", base, vectors=vectors_of(model, "cat</w>")),
        named("copy of two", base, vectors={key: np.concatenate([each, vectors_of(model, "dog</w>")[key]]) for key, each in vectors_of(model, "cat</w>").items()}),
        named("zero", base, vectors=times(0.0, base)),
        named("NaN", base, vectors=times(np.nan, base)),
        named("infinite", base, vectors=infinite),
        named("huge", base, vectors=times(1e30, base)),
        named("beyond half precision", base, vectors=times(1e8, base)),
        named("wrong base", base, base=OTHER[base], vectors=vectors(OTHER[base])),
        named("80 vectors", base, vectors=vectors(base, 80)),
        named("nothing", base, vectors=nothing(model)),
        named("tiny perturbation", base, vectors=nothing(model, 1e-3)),
        named("small perturbation", base, role="positive", vectors=nothing(model, 0.1)),
    ]


EXPECTED = {
    "good": {"pass"}, "good positive": {"pass"}, "good negative": {"pass"}, "75 vectors": {"pass"}, "copy": {"no_effect"},
    "copy of two": {"no_effect"}, "zero": {"no_effect"}, "NaN": {"broken"}, "infinite": {"broken"}, "huge": {"broken"},
    "beyond half precision": {"broken"}, "wrong base": {"incompatible"}, "80 vectors": {"incompatible"}, "nothing": {"no_effect"},
    "tiny perturbation": {"no_effect"}, "small perturbation": {"weak", "no_effect"},
}  # fmt: skip
SOME = ("good", "good negative", "copy", "NaN", "wrong base", "tiny perturbation")  # enough of the larger ones


@pytest.fixture(scope="module")
def verdicts(model: Callable[[str], Any]) -> Callable[[str], dict[str, Judged]]:
    found: dict[str, dict[str, Judged]] = {}

    def of(base: str) -> dict[str, Judged]:
        if base not in found:
            several = of_every_kind(model(base)) if base == "sd1" else [each for each in of_every_kind(model(base)) if each.name in SOME]
            found[base] = {each.digest: each for each in judge(model(base), several, protocol(base))}
        return found[base]

    return of


@pytest.mark.parametrize(("base", "kind"), [("sd1", kind) for kind in EXPECTED] + [(base, kind) for base in ("sdxl", "sd2v") for kind in SOME])
def test_each_kind_has_its_verdict(base: str, kind: str, verdicts: Callable[[str], dict[str, Judged]]) -> None:
    judged = verdicts(base)[kind]
    assert judged.verdict.state in EXPECTED[kind], judged.verdict.because
    assert judged.verdict.state in VERDICTS
    assert judged.verdict.because.endswith(".")
    assert not judged.retry


def test_each_is_judged_once(verdicts: Callable[[str], dict[str, Judged]]) -> None:
    assert len(verdicts("sd1")) == len(EXPECTED)


@pytest.mark.parametrize(
    ("kind", "says"),
    [("copy", '"cat"'), ("NaN", "NaN"), ("wrong base", "1024"), ("80 vectors", "80"), ("huge", "half precision"), ("zero", "learned"),
     ("good", "ordinary words do by"), ("nothing", "which is nothing")],
)  # fmt: skip
def test_the_reason_names_what_it_is_about(kind: str, says: str, verdicts: Callable[[str], dict[str, Judged]]) -> None:
    assert says in verdicts("sd1")[kind].verdict.because


def test_what_the_cheap_layers_settle_is_not_drawn(verdicts: Callable[[str], dict[str, Judged]]) -> None:
    drawn = {kind for kind, judged in verdicts("sd1").items() if judged.pictures}
    assert drawn == {"good", "good positive", "good negative", "75 vectors"} | (drawn & {"small perturbation"})


def test_every_number_is_explained_and_json_can_hold_it(verdicts: Callable[[str], dict[str, Judged]]) -> None:
    for base in ("sd1", "sdxl"):
        for judged in verdicts(base).values():
            numbers = msgspec.json.decode(msgspec.json.encode(judged.verdict.numbers))
            sides = [numbers.get(side, {}) for side in ("positive", "negative")]
            assert {*numbers, *itertools.chain(*sides)} <= set(NUMBERS), judged.digest


def test_both_encoders_of_sdxl_are_heard(verdicts: Callable[[str], dict[str, Judged]]) -> None:
    parts = verdicts("sdxl")["good"].verdict.numbers["positive"]["encoder_parts"]
    assert set(parts) == {"clip_l", "clip_g"}
    assert min(parts.values()) > 0.01


def test_an_unknown_role_is_looked_for_on_both_sides(verdicts: Callable[[str], dict[str, Judged]]) -> None:
    unknown, positive, negative = (verdicts("sd1")[kind] for kind in ("good", "good positive", "good negative"))
    assert [{"positive", "negative"} & set(each.verdict.numbers) for each in (unknown, positive, negative)] == [
        {"positive", "negative"}, {"positive"}, {"negative"}]  # fmt: skip
    assert [[finding.rule for finding in each.verdict.findings].count("role") for each in (unknown, positive, negative)] == [1, 0, 0]
    assert "leaning" in unknown.verdict.numbers["positive"]
    assert (positive.verdict.role, negative.verdict.role) == ("positive", "negative")


def test_a_negative_one_stands_in_the_negative_prompt(verdicts: Callable[[str], dict[str, Judged]]) -> None:
    cells = [picture.cell for picture in verdicts("sd1")["good negative"].pictures]
    assert {cell.prompt for cell in cells} == {"a photo of a woman"}
    assert {(cell.kind, cell.negative_prompt) for cell in cells} == {
        ("baseline", ""), ("null", ""), ("test", "good negative"), ("attention", "good negative")}  # fmt: skip


def test_the_pictures_are_those_of_each_seed_with_their_text(verdicts: Callable[[str], dict[str, Judged]]) -> None:
    judged = verdicts("sd1")["good positive"]
    assert [(each.cell.kind, each.cell.seed, each.cell.weight) for each in judged.pictures] == [
        *((kind, seed, 1.0 if kind == "test" else None) for seed in (1, 2) for kind in ("baseline", "null", "test")), ("attention", 1, 1.0)]  # fmt: skip
    shown = {}
    for picture in judged.pictures:
        with Image.open(io.BytesIO(picture.webp)) as image:
            assert (image.format, image.size) == ("WEBP", (64, 64))
            shown[picture.cell.kind, picture.cell.seed] = np.asarray(image.convert("RGB"), np.float32) / 255
        assert (f"Seed: {picture.cell.seed}" in picture.cell.infotext) is (picture.cell.kind != "attention")
    for seed in (1, 2):
        changed = np.abs(shown["test", seed] - shown["null", seed]).mean()
        assert changed == pytest.approx(judged.verdict.numbers["positive"]["pixels"], abs=0.01)
        assert changed > 0.002
    assert judged.pictures[2].cell.prompt == "a photo of good positive"


def test_a_verdict_says_for_what_it_holds(verdicts: Callable[[str], dict[str, Judged]]) -> None:
    verdict = verdicts("sd2v")["good"].verdict
    assert (verdict.checkpoint["base"], verdict.checkpoint["variant"], verdict.protocol["id"]) == ("sd2", "v", protocol_id(protocol("sd2v")))
    assert {"torch", "diffusers", "transformers", "device", "dtype"} <= set(verdict.made_with)


# together and alone


@pytest.mark.parametrize(("base", "count", "alone"), [("sd1", 16, range(16)), ("sdxl", 4, (3,))])
def test_together_or_alone_makes_no_difference(base: str, count: int, alone: Sequence[int], model: Callable[[str], Any]) -> None:
    told = protocol(base, steps=2, weights=(1.0,))
    roles = ("unknown", "positive", "negative")
    several = [named(str(place), base, vectors=vectors(base, 1 + place % 5, seed=place), role=roles[place % 3]) for place in range(count)]
    known = calibrate(model(base), told, words=4) if base == "sdxl" else None  # the small one of its own has to be the same too
    together = {each.digest: each for each in judge(replace(model(base)), several, told, calibration=known)}
    other = replace(model(base))
    assert [next(judge(other, [several[place]], told, calibration=known)) for place in alone] == [together[str(place)] for place in alone]
    assert next(judge(replace(model(base)), several[-1:], told, calibration=known)) == together[str(count - 1)]  # the controls are new too


def test_other_rows_do_not_change_a_verdict_by_much(model: Callable[[str], Any]) -> None:
    several = [named(str(seed), vectors=vectors("sd1", 2, seed=seed), role="positive") for seed in range(3)]
    many, few = ([each.verdict for each in judge(replace(model("sd1")), several, protocol(), rows=rows)] for rows in (16, 4))
    assert [each.state for each in many] == [each.state for each in few]
    for a, b in zip(many, few, strict=True):
        assert a.numbers["positive"]["latents"] == pytest.approx(b.numbers["positive"]["latents"], rel=1e-3)


def test_controls_are_drawn_once(model: Callable[[str], Any], calibration: Any) -> None:
    heard: list[tuple[int, int]] = []
    several = [named(str(seed), vectors=vectors("sd1", 2, seed=seed), role="positive") for seed in range(3)]
    fresh = replace(model("sd1"))
    list(judge(fresh, several, protocol(), calibration=calibration, heard=lambda drawn, asked: heard.append((drawn, asked))))
    assert heard[-1] == (2 + 2 + 3 * 2, 2 + 2 + 3 * 2)
    list(judge(fresh, several, protocol(), calibration=calibration, heard=lambda drawn, asked: heard.append((drawn, asked))))
    assert heard[-1] == (3 * 2, 3 * 2)


def test_a_queue_without_end_is_read_as_it_is_judged(model: Callable[[str], Any], calibration: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOWS", (2, 3))
    read = []

    def endless() -> Iterator[Subject]:
        for seed in itertools.count():
            read.append(seed)
            yield named(str(seed), vectors=vectors("sd1", 1, seed=seed), role="positive")

    verdicts = judge(model("sd1"), endless(), protocol(steps=2), calibration=calibration)
    for judged, expected in ((2, 2), (1, 5), (2, 5), (1, 8)):
        assert {each.verdict.state for each in itertools.islice(verdicts, judged)} <= {"pass", "weak"}
        assert len(read) == expected


# calibrations


@pytest.fixture(scope="module")
def calibration(model: Callable[[str], Any]) -> Any:
    return calibrate(model("sd1"), protocol(), words=24)


def test_without_a_calibration_it_is_said_and_with_one_it_is_not(
    model: Callable[[str], Any], calibration: Any, verdicts: Callable[[str], dict[str, Judged]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "uncalibrated" in [finding.rule for finding in verdicts("sd1")["good"].verdict.findings]
    monkeypatch.setattr("embconv.registry.validation.rulings.quick", None)
    found = {each.digest: each.verdict for each in judge(model("sd1"), of_every_kind(model("sd1")), protocol(), calibration=calibration)}
    assert {digest: verdict.state in EXPECTED[digest] for digest, verdict in found.items()} == dict.fromkeys(EXPECTED, True)
    assert not any(finding.rule == "uncalibrated" for verdict in found.values() for finding in verdict.findings)
    assert found["good"].numbers["words"]["positive.pixels"].items() < calibration.percentiles["positive.pixels"].items()


@pytest.mark.parametrize("change", [{"fingerprint": "1" * 64}, {"protocol": "0" * 16}])
def test_a_calibration_of_something_else_is_none(change: dict[str, str], model: Callable[[str], Any], calibration: Any) -> None:
    foreign = msgspec.structs.replace(calibration, **change)
    judged = next(judge(model("sd1"), [named("good", role="positive")], protocol(), calibration=foreign))
    assert "uncalibrated" in [finding.rule for finding in judged.verdict.findings]


# profiles and sheets


def test_the_probe_draws_nothing(model: Callable[[str], Any]) -> None:
    found = {each.digest: each for each in judge(model("sd1"), of_every_kind(model("sd1")), protocol(name="probe"))}
    assert {digest: each.verdict.state in EXPECTED[digest] for digest, each in found.items()} == dict.fromkeys(EXPECTED, True)
    assert not any(each.pictures for each in found.values())
    assert {"probe", "attention"} <= set(found["good"].verdict.numbers["positive"])


def test_a_sheet_can_be_had_without_a_render(model: Callable[[str], Any]) -> None:
    judged = next(judge(model("sd1"), [named("good", role="positive")], protocol(name="probe", steps=2, seeds=(), sheets=("strength",))))
    assert judged.verdict.state == "pass"
    assert {picture.cell.kind for picture in judged.pictures} == {"strength"}
    assert "pixels" not in judged.verdict.numbers["positive"]


def test_a_sheet_is_drawn_whatever_the_verdict(model: Callable[[str], Any]) -> None:
    told = protocol(steps=2, sheets=("strength", "samplers"))
    several = [named("good", role="positive"), named("copy", vectors=vectors_of(model("sd1"), "cat</w>"), role="positive"), named("NaN", vectors=times(np.nan, "sd1"))]
    found = {each.digest: each for each in judge(model("sd1"), several, told)}
    kinds = {digest: [picture.cell.kind for picture in each.pictures] for digest, each in found.items()}
    assert {digest: (each.count("strength"), each.count("samplers")) for digest, each in kinds.items()} == {
        "good": (8, 12), "copy": (8, 12), "NaN": (0, 0)}  # fmt: skip
    assert found["copy"].verdict.state == "no_effect"
    pictures = {(each.cell.kind, each.cell.seed, each.cell.label): each.webp for each in found["good"].pictures}
    assert len({pictures["strength", 1, weight] for weight in ("off", "0.5", "1.0", "1.5")}) == 4
    assert len({webp for (kind, _, _), webp in pictures.items() if kind == "samplers"}) >= 6


# what is not the embedding's fault


def half_that_overflows(vae: Any) -> Any:
    """In half precision its first layer passes 65504, in float32 it does not, and the norms after it bring it back."""
    made = deepcopy(vae).half()
    with torch.no_grad():
        made.decoder.conv_in.weight.mul_(2e4)
    return made


def test_a_vae_that_overflows_in_half_precision_is_not_its_fault(model: Callable[[str], Any]) -> None:
    half = replace(model("sd1"), vae=half_that_overflows(model("sd1").vae))
    judged = next(judge(half, [named("good", role="positive", vectors=vectors("sd1", 2, seed=1))], protocol()))
    assert judged.verdict.state == "pass", judged.verdict.because
    assert judged.verdict.numbers["positive"]["retried"] == 2
    assert [(finding.severity, finding.where) for finding in judged.verdict.findings if finding.rule == "retried"] == [("note", "positive")]


@pytest.mark.parametrize("fill", [float("nan"), 0.0])
@pytest.mark.parametrize("known", [True, False], ids=["calibrated", "uncalibrated"])
def test_a_checkpoint_that_draws_nothing_is_an_error_of_its_own(fill: float, known: bool, model: Callable[[str], Any], calibration: Any) -> None:
    vae = deepcopy(model("sd1").vae)
    torch.nn.init.constant_(vae.decoder.conv_out.weight, fill)
    several = [named("good", role="positive"), named("zero", vectors=times(0.0, "sd1"))]
    found = {each.digest: each for each in judge(replace(model("sd1"), vae=vae), several, protocol(steps=2), calibration=calibration if known else None)}
    assert found["zero"].verdict.state == "no_effect"
    assert found["good"].verdict.state == "error"
    assert "checkpoint" in found["good"].verdict.because
    assert [finding.rule for finding in found["good"].verdict.findings if finding.severity == "error"] == ["unsound_checkpoint"]


def with_nan(model: Any, part: str) -> Any:
    """The same model, one number of which is none."""
    if part == "unet":
        unet = deepcopy(model.unet)
        torch.nn.init.constant_(unet.conv_out.bias, float("nan"))
        return replace(model, unet=unet)
    (encoder,) = model.encoders
    module = deepcopy(encoder.module)
    for name, weight in module.named_parameters():
        if name.endswith("final_layer_norm.bias"):
            torch.nn.init.constant_(weight, float("nan"))
    return replace(model, encoders=(replace(encoder, module=module),))


@pytest.mark.parametrize("known", [True, False], ids=["calibrated", "uncalibrated"])
@pytest.mark.parametrize("profile", ["standard", "probe"])
@pytest.mark.parametrize("part", ["unet", "encoder"])
def test_a_checkpoint_that_says_nan_is_not_its_fault(part: str, profile: str, known: bool, model: Callable[[str], Any]) -> None:
    told = protocol(steps=2, name=profile) if profile == "standard" else protocol(name=profile, seeds=())
    bars = calibrate(model("sd1"), told, words=4) if known else None
    several = [named("good", role="positive"), named("other", role="positive", vectors=vectors("sd1", 2, seed=1))]
    found = list(judge(with_nan(model("sd1"), part), several, told, calibration=bars))
    assert [each.verdict.state for each in found] == ["error", "error"]
    assert all(each.verdict.findings[-1].rule == "unsound_checkpoint" for each in found)


# what breaks


def poisoned(real: Callable[..., Any], poison: str) -> Callable[..., Any]:
    def layer(bench: Any, trials: Any, *rest: Any) -> Any:
        if any(trial.subject.name == poison for trial in trials):
            raise ZeroDivisionError("poison")
        return real(bench, trials, *rest)

    return layer


@pytest.mark.parametrize("layer", ["read", "predict", "draw"])
def test_what_breaks_is_one_verdict_and_the_others_have_theirs(layer: str, model: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    several = [named(str(place), vectors=vectors("sd1", 1, seed=place), role="positive") for place in range(6)]
    clean = {each.digest: each for each in judge(model("sd1"), several, protocol(steps=2))}
    bad = poisoned(getattr(module, layer), "3")
    monkeypatch.setattr(module, layer, bad)
    monkeypatch.setattr(module, "LAYERS", tuple(bad if each.__name__ == layer else each for each in module.LAYERS))
    found = {each.digest: each for each in judge(model("sd1"), several, protocol(steps=2))}
    assert found.keys() == clean.keys()
    assert [digest for digest in found if found[digest] != clean[digest]] == ["3"]
    assert (found["3"].verdict.state, found["3"].retry) == ("error", True)
    assert "ZeroDivisionError: poison" in found["3"].verdict.because


class Held:
    """What lies in the device's memory."""


FULL = {"raised": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), "found": lambda: DeviceFull("cpu", 64, 64)}


def short_of_memory(real: Callable[..., Any], fits: Callable[[Any], bool], full: Callable[[], Exception]) -> Callable[..., Any]:
    """A layer that holds memory as it runs out of it; where what another try held is not given back, nothing fits."""
    held: list[weakref.ref[Held]] = []

    def layer(bench: Any, trials: Any, *rest: Any) -> Any:
        mine = Held()
        if any(each() for each in held) or not fits(trials):
            held.append(weakref.ref(mine))
            raise full()
        return real(bench, trials, *rest)

    return layer


@pytest.mark.parametrize("full", FULL)
@pytest.mark.parametrize("layer", ["read", "predict", "draw"])
def test_memory_that_runs_out_halves_what_is_judged_together_down_to_the_one_that_does_not_fit(
    layer: str, full: str, model: Callable[[str], Any], calibration: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = [named(str(place), vectors=vectors("sd1", 1, seed=place), role="positive") for place in range(6)]
    clean = {each.digest: each for each in judge(model("sd1"), several, protocol(), calibration=calibration)}
    fits = lambda trials: len(trials) <= 2 and "3" not in [trial.subject.name for trial in trials]  # noqa: E731
    short = short_of_memory(getattr(module, layer), fits, FULL[full])
    monkeypatch.setattr(module, layer, short)
    monkeypatch.setattr(module, "LAYERS", tuple(short if each.__name__ == layer else each for each in module.LAYERS))
    found = {each.digest: each for each in judge(model("sd1"), several, protocol(), calibration=calibration)}
    assert found.keys() == clean.keys()
    assert [digest for digest in sorted(found) if found[digest] != clean[digest]] == ["3"]
    assert (found["3"].verdict.state, found["3"].retry) == ("error", True)
    assert found["3"].verdict.because.startswith("It could not be judged: One picture of 64 x 64 does not fit into the memory of cpu")


def test_memory_for_not_even_an_ordinary_word_is_no_embeddings_fault(model: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from embconv.registry.validation import calibrate as bars

    monkeypatch.setattr(bars, "read", short_of_memory(bars.read, lambda trials: False, FULL["raised"]))
    with pytest.raises(DeviceFull, match="64 x 64"):
        list(judge(replace(model("sd1")), [named("good", role="positive")], protocol()))


def test_a_layer_that_the_text_encoders_have_not_is_an_error_with_those_that_they_have(model: Callable[[str], Any]) -> None:
    subjects = [named("good", role="positive")]
    assert [each.verdict.state for each in judge(model("sd1"), subjects, protocol(clip_skip=2, seeds=()))] != ["error"]
    with pytest.raises(BadCheckpoint, match="--clip-skip 4") as caught:
        next(judge(model("sd1"), subjects, protocol(clip_skip=3)))
    assert caught.value.hint == "Choose 1 to 3."


def test_a_device_that_fails_ends_it(model: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(module, "LAYERS", (fail,))
    with pytest.raises(DeviceFailed, match="illegal memory access"):
        list(judge(model("sd1"), [named("good", role="positive")], protocol(steps=2)))

"""Verdicts put together: what was decided, on which numbers, with which pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embconv.converters import Finding
from embconv.converters.display import printable, quoted

from ..errors import RegistryError
from ..render_errors import UnsoundCheckpoint
from ..verdicts import Calibration, Cell, Judged, Picture, Verdict, protocol_summary, summary_of
from .calibrate import quick
from .controls import prompts_of
from .decide import Case, Decision, copy_of, decide
from .decode import webp
from .infotext import in_webp, signed
from .measure import rounded
from .probe import SCENE_SEED, SCENE_STEPS
from .prompts import filled, without
from .subjects import declared, hinted
from .trials import Bench, Trial, of_cell, wanted

if TYPE_CHECKING:
    from .controls import Prompt
    from .measure import Shot
    from .parts import Floats

TOLD = ("p1", "p50", "p99")  # of what words measure
SCENE_SAMPLER = "euler"
LABELS = {"baseline": "without it", "null": "nothing in its place", "test": "with it"}


@dataclass(frozen=True)
class Court:
    """Where it is judged, and by what; `given` is a calibration for this checkpoint and this measure."""

    bench: Bench
    given: Calibration | None
    made_with: dict[str, str]

    def calibration(self, sides: Sequence[str]) -> Calibration:
        """The given one; else a small one of its own."""
        return self.given or quick(self.bench, sides)


def case(trial: Trial) -> Case:
    """What there is to decide on."""
    most = max((len(rows) for rows in trial.subject.vectors.values()), default=1)
    return Case(sides=trial.numbers, vectors=most, role=trial.subject.role, hinted=hinted(trial.subject))


def concluded(court: Court, trial: Trial, pictures: Sequence[Picture] = ()) -> Judged:
    """The verdict of everything that was measured."""
    calibration = court.calibration(trial.sides)
    decision = decide(case(trial), calibration)
    if trial.copy and decision.state != "broken":
        decision = copy_of(trial.copy, declared(trial.subject))
    words = {name: {each: found[each] for each in TOLD} for name, found in calibration.percentiles.items()}
    for name, found in (("words", words), ("noise", calibration.noise)):
        trial.known[name] = {of: value for of, value in found.items() if of.partition(".")[0] in trial.sides}
    if court.given is None:
        name = court.bench.model.checkpoint.name
        says = f"Nobody has calibrated {quoted(name)} for this protocol: {calibration.words} words were measured beside."
        trial.findings.append(Finding("uncalibrated", "note", "checkpoint", f"{says} Better: embconv checkpoints calibrate {name}"))
    return verdict(court, trial, decision, pictures)


def failure(court: Court, trial: Trial, exc: Exception) -> Judged:
    """The verdict on what could not be judged; another time it may be."""
    if isinstance(exc, UnsoundCheckpoint):
        return unfit(court, trial, exc)
    says = exc.says if isinstance(exc, RegistryError) else f"{type(exc).__name__}: {printable(str(exc))}"
    because = f"It could not be judged: {says}"
    return verdict(court, trial, Decision(state="error", because=because, role=declared(trial.subject)), retry=True)


def unfit(court: Court, trial: Trial, exc: UnsoundCheckpoint) -> Judged:
    """The verdict where the checkpoint is at fault."""
    trial.findings.append(Finding(exc.code, "error", "checkpoint", exc.hint))
    return verdict(court, trial, Decision(state="error", because=exc.says, role=declared(trial.subject)))


def verdict(court: Court, trial: Trial, decision: Decision, pictures: Sequence[Picture] = (), *, retry: bool = False) -> Judged:
    """All of it together."""
    bench = court.bench
    made = Verdict(
        state=decision.state, because=decision.because, numbers=rounded(trial.known | trial.numbers), role=decision.role,
        suggested_weight=decision.suggested_weight, checkpoint=summary_of(bench.model.checkpoint),
        protocol=protocol_summary(bench.protocol), findings=(*trial.findings, *decision.findings), made_with=court.made_with,
    )  # fmt: skip
    return Judged(digest=trial.subject.digest, verdict=made, pictures=tuple(pictures), retry=retry)


# pictures


def exhibits(bench: Bench, trial: Trial) -> list[Picture]:
    """The pictures of a trial, each with the text that A1111 reads; those of its sheets too."""
    shown = [Picture(cell=cell, webp=webp(pixels)) for cell, pixels in maps(bench, trial)]
    made = [*own(bench, trial), *((plan.cell, trial.shots[of_cell(trial, plan)]) for plan in trial.planned)]
    cells = [(signed(cell, trial.subject, bench.model.checkpoint, bench.protocol), shot) for cell, shot in made]
    return [*(Picture(cell=cell, webp=in_webp(shot.webp, cell.infotext)) for cell, shot in cells), *shown]


def own(bench: Bench, trial: Trial) -> Iterator[tuple[Cell, Shot]]:
    """Without it, with nothing in its place, with it: on each side, at each seed."""
    told = bench.protocol
    for side in trial.sides:
        for seed in trial.seeds:
            for kind, label in LABELS.items():
                want = wanted(bench, trial, side, kind, seed)
                positive, negative = (typed(prompt, trial) for prompt in (want.positive, want.negative))
                yield Cell(
                    kind=kind, prompt=positive, negative_prompt=negative, seed=seed, sampler=told.sampler, steps=told.steps, cfg=told.cfg,
                    width=told.width, height=told.height, weight=1.0 if kind == "test" else None, label=label,
                ), trial.shots[want]  # fmt: skip


def maps(bench: Bench, trial: Trial) -> Iterator[tuple[Cell, Floats]]:
    """Where in the probe's scene the UNet attends to it; no program makes such a picture, so that there is no infotext."""
    told = bench.protocol
    for side, pixels in trial.maps.items():
        positive, negative = (typed(prompt, trial) for prompt in prompts_of(told, side, trial.number))
        yield Cell(
            kind="attention", prompt=positive, negative_prompt=negative, seed=SCENE_SEED, sampler=SCENE_SAMPLER, steps=SCENE_STEPS, cfg=1.0,
            width=told.width, height=told.height, weight=1.0, label="where it is attended to",
        ), pixels  # fmt: skip


def typed(prompt: Prompt, trial: Trial) -> str:
    """A prompt as a person would type it, who has no word for nothing."""
    return filled(prompt.template, trial.subject.trigger, prompt.weight) if isinstance(prompt.held, int) else without(prompt.template)

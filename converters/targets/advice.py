"""Which programs load a form, what to do where one does not, and what to write when none is named."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from ..display import quoted
from ..encoders import BASES
from ..errors import CannotHold
from . import rules
from .plans import EMB_PARAMS, PER_ENCODER, PLANS, plan_for, planned, plans_with_outputs, suits
from .table import TARGETS

if TYPE_CHECKING:
    from collections.abc import Collection

    from .target import Form, Plan, Target, Vectors


def loads_in(form: Form) -> dict[str, bool | str]:
    """For each program True, or why not and what would make it load."""
    return {target.name: _why_not(target, form) or True for target in TARGETS}


def hint(target: Target, form: Form) -> str:
    """The command whose output the program loads; "" where no form of the embedding would do."""
    if _never(target, form.vectors, None) or (form.output_vectors and not _takes_outputs(target, form)):
        return ""
    import shlex  # for reports only

    stem = _stem(target, form.stem)
    plan = plan_for(target, form.vectors)
    out = "OUT" if stem == form.stem or plan is None else shlex.quote(stem + plan.suffix)
    return f"embconv IN {out} --for {target.name}{' --pick NAME' if form.embeddings > 1 else ''}"


def refusal(target: Target, vectors: Vectors, stem: str, base: str | None = None) -> tuple[str, str]:
    """Why the program can never load this embedding, in whatever form, and what would work instead; "" twice if it can."""
    never = _never(target, vectors, base)
    if never:
        return f"{target.title} cannot hold this embedding in any form: it {never}.", _elsewhere(vectors, base)
    if _stem(target, stem) != stem:
        plan = plan_for(target, vectors)
        better = _stem(target, stem) + (plan.suffix if plan else "")
        return f"{target.title} cannot load a file named {quoted(stem)}.", f"Name it {quoted(better)}."
    return "", ""


def default_plans(vectors: Vectors, suffix: str) -> Plan:
    """The form of that suffix which loads in the most programs."""
    return _best(tuple(vectors.items()), suffix.lower())


@lru_cache(maxsize=256)  # a folder holds few kinds of embedding, and ten programs are asked about each plan
def _best(sizes: tuple[tuple[str, tuple[int, int]], ...], suffix: str) -> Plan:
    vectors = dict(sizes)
    fitting = [plan for plan in PLANS if plan.suffix == suffix]
    if not fitting:
        known = ", ".join(dict.fromkeys(plan.suffix for plan in PLANS))
        raise CannotHold(f"Nothing is written to a {quoted(suffix)} file.", f"Use one of {known}.")
    fitting = [plan for plan in fitting if suits(plan, vectors)]
    if not fitting:
        raise CannotHold(f"A {suffix} file cannot hold {' and '.join(vectors)}.", "Use .safetensors.")
    return max(fitting, key=lambda plan: readers(plan, vectors))


def readers(plan: Plan, vectors: Vectors) -> int:
    """How many programs load what the plan writes."""
    return sum(not target.reads(planned(plan, vectors)) for target in TARGETS)


def keeping(plan: Plan, vectors: Vectors, outputs: Collection[str]) -> str:
    """What keeps the output vectors: no program named, with those that load such a file."""
    titles = [target.title for target in TARGETS if not target.reads(planned(plan, vectors, outputs=outputs))]
    loads = f"; {rules.and_list(titles)} {'loads' if len(titles) == 1 else 'load'} such a file" if titles else ""
    return f"Without --for they are kept{loads}."


def _why_not(target: Target, form: Form) -> str:
    says = target.reads(form)
    if not says:
        return ""
    command = hint(target, form)
    if command or form.output_vectors:
        return f"{says}: {command}" if command else f"{says}, so it cannot take the output vectors in any form"
    return f"{says}. {_elsewhere(form.vectors, None)}"


def _takes_outputs(target: Target, form: Form) -> bool:
    """Whether some form that keeps the output vectors loads there."""
    outputs = tuple(form.vectors)
    plans = (plan for suffix in (".safetensors", ".pt", ".bin") for plan in plans_with_outputs(form.vectors, outputs, suffix, target))
    return any(not target.reads(planned(plan, form.vectors, outputs=outputs)) for plan in plans)


def _never(target: Target, vectors: Vectors, base: str | None) -> str:
    """What stands against every form; the reason is that of the best, or of the one most programs read."""
    if base is not None and base not in target.bases:
        has = [BASES[key].title for key in target.bases]
        return f"has no text encoders of {BASES[base].title if base in BASES else quoted(base)}, only of {', '.join(has)}"
    if plan_for(target, vectors) is not None:
        return ""
    usual = next((plan for plan in (*target.writes, EMB_PARAMS, PER_ENCODER) if suits(plan, vectors)), PER_ENCODER)
    return target.reads(planned(usual, vectors))


def _elsewhere(vectors: Vectors, base: str | None) -> str:
    can = [target.name for target in TARGETS if not _never(target, vectors, base)]
    return f"It loads in {', '.join(can)}." if can else "No program known here loads it."


def _stem(target: Target, stem: str) -> str:
    """The stem with what the program does not allow in it made `_`."""
    return re.sub(target.stem, "_", stem) if target.stem else stem

"""What each loading program reads, as data; its trigger rule, and what to write for it."""

from .advice import default_plans, hint, keeping, loads_in, readers, refusal
from .plans import PLANS, plan_for, planned, plans_with_outputs, suits, written_dtype
from .table import TARGETS, UnknownTarget, target
from .target import Form, Plan, Target, Vectors

__all__ = [
    "PLANS",
    "TARGETS",
    "Form",
    "Plan",
    "Target",
    "UnknownTarget",
    "Vectors",
    "default_plans",
    "hint",
    "keeping",
    "loads_in",
    "plan_for",
    "planned",
    "plans_with_outputs",
    "readers",
    "refusal",
    "suits",
    "target",
    "written_dtype",
]

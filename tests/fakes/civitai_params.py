"""What may stand in the address of GET /models, and the zod-style answer to what may not: contract 1.1."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fakes.civitai_faults import Reply

MODEL_TYPES = ("Checkpoint", "TextualInversion", "Hypernetwork", "AestheticGradient", "LORA", "LoCon", "DoRA", "Controlnet", "Upscaler",
               "MotionModule", "VAE", "TextEncoder", "UNet", "CLIPVision", "Poses", "Wildcards", "Workflows", "ComfyWorkflows", "Detection",
               "VisionLanguage", "CLIP", "LLM", "Other")  # fmt: skip
FILE_TYPES = ("Model", "Text Encoder", "Vision Encoder", "Pruned Model", "Negative", "Training Data", "VAE", "Config", "Archive", "UNet",
              "Diffusion Model", "CLIPVision", "ControlNet", "Workflow", "Upscaler", "Enhancement LoRA", "Other")  # fmt: skip
FORMATS = ("SafeTensor", "PickleTensor", "GGUF", "Diffusers", "Core ML", "ONNX", "Other")
SORTS = ("Highest Rated", "Most Downloaded", "Most Liked", "Most Discussed", "Most Collected", "Most Images", "Newest", "Oldest")
PERIODS = ("AllTime", "Year", "Month", "Week", "Day")
COMMERCIAL = ("None", "Image", "RentCivit", "Rent", "Sell")
STATUSES = ("Draft", "Training", "Published", "Scheduled", "Unpublished", "UnpublishedViolation", "GatherInterest", "Deleted")
AVAILABILITIES = ("Public", "Unsearchable", "Private", "EarlyAccess")
TRUE, FALSE = {"true", "1", "yes", "on", "y", "enabled"}, {"false", "0", "no", "off", "n", "disabled"}


class Bad(Exception):
    """A parameter that zod refuses."""

    def __init__(self, message: str, code: str, *, at: tuple[Any, ...] = (), **facts: Any) -> None:
        super().__init__(message)
        self.issue = {"code": code, **facts, "path": at, "message": message}


def zod_error(issues: list[dict[str, Any]]) -> Reply:
    """zod 4: the issues stand in the message as a string, and nowhere else."""
    return Reply(400, {"error": {"name": "ZodError", "message": json.dumps(issues, indent=2, ensure_ascii=False)}})


def prettified(message: str, at: str) -> Reply:
    """The 400 of the routes by id."""
    return Reply(400, {"error": f"✖ {message}\n  → at {at}"})


def scalar(values: list[str]) -> str:
    if len(values) > 1:
        raise Bad("Invalid input: expected string, received array", "invalid_type", expected="string")
    return values[0]


def to_number(text: str, *at: Any) -> float:
    """As JavaScript's Number()."""
    try:
        return float(text.strip() or 0)
    except ValueError:
        raise Bad("Invalid input: expected number, received NaN", "invalid_type", at=at, expected="number", received="NaN") from None


def number(least: float | None = None, most: float | None = None) -> Callable[[list[str]], float]:
    def read(values: list[str]) -> float:
        value = to_number(values[0] if len(values) == 1 else "an array")
        if least is not None and value < least:
            raise Bad(f"Too small: expected number to be >={least}", "too_small", origin="number", minimum=least, inclusive=True)
        if most is not None and value > most:
            raise Bad(f"Too big: expected number to be <={most}", "too_big", origin="number", maximum=most, inclusive=True)
        return value

    return read


def numbers(values: list[str]) -> list[int]:
    parts = [part for value in values for part in value.split(",")]
    return [int(to_number(part, index)) for index, part in enumerate(parts)]


def one_of(*words: str) -> Callable[[list[str]], str]:
    def read(values: list[str]) -> str:
        if len(values) == 1 and values[0] in words:
            return values[0]
        expected = "|".join(f'"{word}"' for word in words)
        raise Bad(f"Invalid option: expected one of {expected}", "invalid_value", values=words)

    return read


def some_of(*words: str, least: int = 1) -> Callable[[list[str]], list[str]]:
    """Repeated keys; the form with commas is one unknown word."""
    one = one_of(*words)

    def read(values: list[str]) -> list[str]:
        if len(values) < least:
            raise Bad("Invalid input: expected array, received string", "invalid_type", expected="array")
        return [one([value]) for value in values]

    return read


def string_bool(values: list[str]) -> bool:
    text = scalar(values).lower()
    if text not in TRUE | FALSE:
        raise Bad('Invalid option: expected one of "true"|"1"|"yes"|"on"|"y"|"enabled"|"false"|"0"|"no"|"off"|"n"|"disabled"', "invalid_value",
                  values=[*sorted(TRUE), *sorted(FALSE)])  # fmt: skip
    return text in TRUE


def any_text(values: list[str]) -> bool:
    """z.coerce.boolean: "false" is true."""
    return len(values) > 1 or bool(values[0])


def unusable(kind: str) -> Callable[[list[str]], Any]:
    """Not coerced, so that no text will do."""

    def read(values: list[str]) -> Any:
        raise Bad(f"Invalid input: expected {kind}, received {'array' if len(values) > 1 else 'string'}", "invalid_type", expected=kind)

    return read


RULES: dict[str, Callable[[list[str]], Any]] = {
    "limit": number(0, 100),
    "page": number(1),
    "cursor": scalar,
    "query": scalar,
    "ids": numbers,
    "modelVersionIds": numbers,
    "types": some_of(*MODEL_TYPES),
    "baseModels": list,
    "tag": scalar,
    "tagname": scalar,
    "username": scalar,
    "user": scalar,
    "sort": one_of(*SORTS),
    "period": one_of(*PERIODS),
    "periodMode": one_of("published", "stats"),
    "nsfw": string_bool,
    "primaryFileOnly": string_bool,
    "favorites": string_bool,
    "hidden": string_bool,
    "supportsGeneration": any_text,
    "earlyAccess": any_text,
    "archived": any_text,
    "fromPlatform": any_text,
    "followed": any_text,
    "needsReview": any_text,
    "checkpointType": one_of("Trained", "Merge"),
    "allowCommercialUse": some_of(*COMMERCIAL),
    "allowNoCredit": unusable("boolean"),
    "allowDerivatives": unusable("boolean"),
    "allowDifferentLicense": unusable("boolean"),
    "isFeatured": unusable("boolean"),
    "pending": unusable("boolean"),
    "browsingLevel": unusable("number"),
    "collectionId": unusable("number"),
    "fileFormats": some_of(*FORMATS, least=2),
    "availability": one_of(*AVAILABILITIES),
    "status": some_of(*STATUSES),
    "rating": number(),
}


def parse(query: dict[str, list[str]], rules: dict[str, Callable[[list[str]], Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The parameters that are known, read; and all that is wrong with them. Unknown ones are dropped in silence."""
    values, issues = {}, []
    for name, rule in rules.items():
        if name in query:
            try:
                values[name] = rule(query[name])
            except Bad as bad:
                issues.append(bad.issue | {"path": [name, *bad.issue["path"]]})
    return values, issues

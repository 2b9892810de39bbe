"""The words of Civitai's answers, as /enums lists them; civitai/civitai src/server/common/enums.ts and base-model.constants.ts, 2026."""

from __future__ import annotations

KIND = "TextualInversion"
MODEL_TYPES = (
    "Checkpoint", "TextualInversion", "Hypernetwork", "AestheticGradient", "LORA", "LoCon", "DoRA", "Controlnet", "Upscaler",
    "MotionModule", "VAE", "TextEncoder", "UNet", "CLIPVision", "Poses", "Wildcards", "Workflows", "ComfyWorkflows", "Detection",
    "VisionLanguage", "CLIP", "LLM", "Other",
)  # fmt: skip
FILE_TYPES = (
    "Model", "Text Encoder", "Vision Encoder", "Pruned Model", "Negative", "Training Data", "VAE", "Config", "Archive", "UNet",
    "Diffusion Model", "CLIPVision", "ControlNet", "Workflow", "Upscaler", "Enhancement LoRA", "Other",
)  # fmt: skip
WEIGHTS = ("Model", "Pruned Model", "Diffusion Model", "UNet")  # file types that are primary before others
FORMATS = ("SafeTensor", "PickleTensor", "GGUF", "Diffusers", "Core ML", "ONNX", "Other")
SORTS = ("Highest Rated", "Most Downloaded", "Most Liked", "Most Discussed", "Most Collected", "Most Images", "Newest", "Oldest")
PERIODS = ("AllTime", "Year", "Month", "Week", "Day")
COMMERCIAL = ("Image", "RentCivit", "Rent", "Sell")
AVAILABLE = ("Public", "EarlyAccess")
SCANNED = ("Pending", "Success", "Danger", "Error")
BASE_TYPES = ("Standard", "Inpainting", "Refiner", "Pix2Pix")
ACTIVE_BASES = (
    "Anima", "AuraFlow", "Chroma", "CogVideoX", "Ernie", "Flux.1 S", "Flux.1 D", "Flux.1 Krea", "Flux.1 Kontext", "Flux.2 D",
    "Flux.2 Klein 9B", "Flux.2 Klein 9B-base", "Flux.2 Klein 4B", "Flux.2 Klein 4B-base", "HiDream", "HiDream-O1", "Hunyuan 1",
    "Hunyuan Video", "Illustrious", "Kolors", "Krea 2", "LTXV", "LTXV2", "LTXV 2.3", "Lumina", "Mochi", "NoobAI", "Upscaler", "Other",
    "PixArt a", "PixArt E", "Pony", "Pony V7", "Qwen", "Qwen 2", "Qwen 3", "SD 1.4", "SD 1.5", "SD 1.5 LCM", "SD 1.5 Hyper", "SD 2.0",
    "SD 2.1", "SDXL 1.0", "SDXL Lightning", "SDXL Hyper", "ZImageTurbo", "ZImageBase",
)  # fmt: skip
BASES = (
    *ACTIVE_BASES, "Playground v2", "Stable Cascade", "SD 2.0 768", "SD 2.1 768", "SD 2.1 Unclip", "SD 3", "SD 3.5", "SD 3.5 Large",
    "SD 3.5 Large Turbo", "SD 3.5 Medium", "SDXL 0.9", "SDXL 1.0 LCM", "SDXL Turbo", "SDXL Distilled", "SVD", "SVD XT", "Wan Video",
)  # fmt: skip
LEVELS = {"None": 1, "Soft": 2, "Mature": 4, "X": 8}  # of pictures, until 2024
MATURE = 4 | 8 | 16           # what `nsfw: true` means
PG, EVERY = 1, 31
# The family by which an AIR names a base; of what is not here the base in lower case.
FAMILIES = {
    "SD 1.4": "sd1", "SD 1.5": "sd1", "SD 1.5 LCM": "sd1", "SD 1.5 Hyper": "sd1",
    "SD 2.0": "sd2", "SD 2.0 768": "sd2", "SD 2.1": "sd2", "SD 2.1 768": "sd2", "SD 2.1 Unclip": "sd2",
    "SDXL 0.9": "sdxl", "SDXL 1.0": "sdxl", "SDXL 1.0 LCM": "sdxl", "SDXL Lightning": "sdxl", "SDXL Hyper": "sdxl", "SDXL Turbo": "sdxl",
    "Pony": "sdxl", "Illustrious": "sdxl", "NoobAI": "sdxl", "SD 3": "sd3", "SD 3.5": "sd3", "Flux.1 S": "flux1", "Flux.1 D": "flux1",
    "Chroma": "chroma",
}  # fmt: skip
ENUMS = {
    "ModelType": MODEL_TYPES, "ModelFileType": FILE_TYPES, "ActiveBaseModel": ACTIVE_BASES, "BaseModel": BASES, "BaseModelType": BASE_TYPES,
}  # fmt: skip

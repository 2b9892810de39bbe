"""The samplers: each is one of diffusers' schedulers with the options that make it the one of that name in A1111."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

# What a checkpoint says of its noise; the rest of a scheduler's configuration is a matter of the sampler.
NOISE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type", "rescale_betas_zero_snr")
SPREAD = {"timestep_spacing": "linspace"}  # k-diffusion external.py, DiscreteSchedule.get_sigmas


@dataclass(frozen=True)
class Sampler:
    """`title` is A1111's name. `noisy`: draws noise at every step."""

    title: str
    kind: Any
    options: dict[str, Any] = field(default_factory=dict)
    noisy: bool = False


SAMPLERS: dict[str, Sampler] = {
    "euler_a": Sampler("Euler a", EulerAncestralDiscreteScheduler, SPREAD, noisy=True),
    "euler": Sampler("Euler", EulerDiscreteScheduler, SPREAD),
    "dpmpp_2m_karras": Sampler("DPM++ 2M Karras", DPMSolverMultistepScheduler, {**SPREAD, "use_karras_sigmas": True}),
    "dpmpp_2m_sde": Sampler("DPM++ 2M SDE", DPMSolverMultistepScheduler, {**SPREAD, "algorithm_type": "sde-dpmsolver++"}, noisy=True),
    "unipc": Sampler("UniPC", UniPCMultistepScheduler, SPREAD),
    # A1111 sd_samplers_timesteps.py: every n-th timestep and one more, and the last step ends at the first alpha
    "ddim": Sampler("DDIM", DDIMScheduler, {"steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False}),
}


def scheduler_for(sampler: str, config: dict[str, Any], steps: int) -> Any:
    """A scheduler that is ready for `steps` steps. `config` is the checkpoint's, whatever sampler it was made for."""
    chosen = SAMPLERS[sampler]
    noise = {name: config[name] for name in NOISE if config.get(name) is not None}
    made = chosen.kind(**noise, **chosen.options)
    made.set_timesteps(steps, device="cpu")  # a number on the GPU would be waited for at every step
    if hasattr(made, "set_begin_index"):
        made.set_begin_index(0)
    return made

"""Each sampler is the scheduler that a person would set up in diffusers for A1111's sampler of that name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from embconv.registry import verdicts
from embconv.registry.validation.samplers import SAMPLERS, scheduler_for

# scheduler_config.json of the published SD 1.5
PUBLISHED: dict[str, Any] = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
                             "steps_offset": 1, "set_alpha_to_one": False, "skip_prk_steps": True, "clip_sample": False}  # fmt: skip
# diffusers' table of A1111's names: docs/source/en/api/schedulers/overview.md
DOCUMENTED: dict[str, tuple[Any, dict[str, Any]]] = {
    "euler_a": (EulerAncestralDiscreteScheduler, {"timestep_spacing": "linspace"}),
    "euler": (EulerDiscreteScheduler, {"timestep_spacing": "linspace"}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"timestep_spacing": "linspace", "use_karras_sigmas": True}),
    "dpmpp_2m_sde": (DPMSolverMultistepScheduler, {"timestep_spacing": "linspace", "algorithm_type": "sde-dpmsolver++"}),
    "unipc": (UniPCMultistepScheduler, {"timestep_spacing": "linspace"}),
    "ddim": (DDIMScheduler, {"clip_sample": False}),
}


def documented(sampler: str, config: dict[str, Any], steps: int) -> Any:
    """The scheduler by diffusers' own way of changing one for another."""
    kind, options = DOCUMENTED[sampler]
    made = kind.from_config(config, **options)
    made.set_timesteps(steps)
    return made


def test_all_samplers_of_a_protocol_are_there() -> None:
    assert tuple(SAMPLERS) == verdicts.SAMPLERS
    assert [each.title for each in SAMPLERS.values()] == ["Euler a", "Euler", "DPM++ 2M Karras", "DPM++ 2M SDE", "UniPC", "DDIM"]


@pytest.mark.parametrize("steps", [1, 12, 20])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_its_steps_are_those_of_the_documented_scheduler(sampler: str, prediction: str, steps: int) -> None:
    config = {**PUBLISHED, "prediction_type": prediction}
    ours, theirs = scheduler_for(sampler, config, steps), documented(sampler, config, steps)
    assert ours.timesteps.tolist() == theirs.timesteps.tolist()
    assert float(ours.init_noise_sigma) == float(theirs.init_noise_sigma)
    found = expected = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(steps))
    dice, same = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    for time in ours.timesteps:
        noise = [{"generator": each} if SAMPLERS[sampler].noisy else {} for each in (dice, same)]
        said = torch.sin(3 * found)
        assert torch.equal(ours.scale_model_input(found, time), theirs.scale_model_input(expected, time))
        found = ours.step(said, time, found, **noise[0], return_dict=False)[0]
        expected = theirs.step(said, time, expected, **noise[1], return_dict=False)[0]
    assert torch.equal(found, expected)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_noisy_one_draws_from_its_generator(sampler: str) -> None:
    scheduler = scheduler_for(sampler, PUBLISHED, 4)
    dice = torch.Generator().manual_seed(1)
    before = dice.get_state()
    noise = {"generator": dice} if SAMPLERS[sampler].noisy else {}
    time, sample = scheduler.timesteps[0], torch.zeros(1, 4, 8, 8)
    scheduler.step(sample, time, scheduler.scale_model_input(sample, time), **noise)
    assert torch.equal(dice.get_state(), before) != SAMPLERS[sampler].noisy


def test_euler_goes_through_the_sigmas_of_k_diffusion() -> None:
    # k_diffusion/external.py: t = linspace(999, 0, n); sigma(t) interpolated in the logarithm there, in the sigmas here
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alphas = np.cumprod(1 - betas)
    logs = np.log(((1 - alphas) / alphas) ** 0.5)
    expected = np.exp(np.interp(np.linspace(999, 0, 20), np.arange(1000), logs))
    np.testing.assert_allclose(scheduler_for("euler", PUBLISHED, 20).sigmas[:-1].numpy(), expected, rtol=1e-4)


def test_what_a_checkpoint_says_of_its_noise_is_kept() -> None:
    config = {**PUBLISHED, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "beta_end": 0.02, "use_karras_sigmas": True}
    for sampler in SAMPLERS:
        made = scheduler_for(sampler, config, 4)
        assert (made.config.prediction_type, made.config.beta_end, made.config.rescale_betas_zero_snr) == ("v_prediction", 0.02, True)
        assert bool(made.config.get("use_karras_sigmas", False)) == (sampler == "dpmpp_2m_karras")

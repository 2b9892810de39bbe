"""The probe against a formula written down here, and the attention against diffusers' own processor."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from embconv.registry.validation.attention import Watch, halved, watched
from embconv.registry.validation.probe import levels, probe
from embconv.registry.validation.text import Ask, encode
from embconv.registry.verdicts import protocol_for

from .conftest import vectors

Models = Callable[[str], Any]
BASES = ("sd1", "sd2v", "sdxl")
PROMPT = "a photo of {T}"


def words(model: Any, base: str, *, count: int = 2, seed: int = 0) -> tuple[Any, Any, Any]:
    """Test, nothing in its place, and the empty prompt."""
    nothing = {key: np.zeros_like(rows) for key, rows in vectors(base, count).items()}
    asks = [Ask(PROMPT, vectors(base, count, seed=seed)), Ask(PROMPT, nothing), Ask("")]
    test, null, other = encode(model, asks)
    return test, null, other


def by_hand(model: Any, protocol: Any, triple: tuple[Any, Any, Any]) -> dict[int, float]:
    """The definition: one row at a time, straight from the UNet."""
    found = {}
    for time, sample in levels(model, protocol).items():
        said = []
        for each in triple:
            more = {}
            if each.pooled is not None:
                ids = torch.tensor([[protocol.seen_height, protocol.seen_width, 0, 0, protocol.seen_height, protocol.seen_width]]).float()
                more = {"added_cond_kwargs": {"text_embeds": each.pooled[None], "time_ids": ids}}
            with torch.no_grad():
                said.append(model.unet(sample[None], time, each.embeds[None], **more).sample)
        test, null, other = said
        found[time] = float((test - null).norm() / (null - other).norm())
    return found


@pytest.mark.parametrize("base", BASES)
def test_it_is_what_its_definition_says(model: Models, base: str) -> None:
    made = model(base)
    protocol, triple = protocol_for(made.base, 64), words(made, base)
    (found,) = probe(made, [triple], protocol)
    wanted = by_hand(made, protocol, triple)
    assert tuple(found.timesteps) == protocol.timesteps
    assert found.timesteps == pytest.approx(wanted, rel=1e-4)
    assert found.effect == pytest.approx(sum(wanted.values()) / len(wanted), rel=1e-4)
    assert found.attention is None


@pytest.mark.parametrize("base", BASES)
def test_watching_changes_nothing_and_leaves_nothing(model: Models, base: str) -> None:
    made = model(base)
    protocol, triple, before = protocol_for(made.base, 64), words(made, base), dict(made.unet.attn_processors)
    (plain,), (watching,) = probe(made, [triple], protocol), probe(made, [triple], protocol, attention=True)
    assert watching.timesteps == pytest.approx(plain.timesteps, rel=1e-4)
    assert made.unet.attn_processors == before


def asked(unet: Any, size: tuple[int, int], rows: int = 3) -> tuple[Any, dict[str, Any]]:
    """A call of a UNet with random words, the same each time."""
    dice = torch.Generator().manual_seed(0)
    told = (torch.randn(rows, 4, *size, generator=dice), torch.tensor([900, 500, 20][:rows]),
            torch.randn(rows, 77, unet.config.cross_attention_dim, generator=dice))  # fmt: skip
    if unet.config.addition_embed_type is None:
        return told, {}
    more = {"text_embeds": torch.randn(rows, 1280, generator=dice), "time_ids": 1000 * torch.rand(rows, 6, generator=dice)}
    return told, {"added_cond_kwargs": more}


@torch.no_grad()
def apart(unet: Any, size: tuple[int, int], watch: Watch) -> float:
    """How far the watched prediction is from the plain one, as a share of that; and the plain one comes back."""
    told, more = asked(unet, size)
    plain = unet(*told, **more).sample
    with watched(unet, watch):
        seen = unet(*told, **more).sample
    assert torch.equal(unet(*told, **more).sample, plain)
    return float((seen - plain).norm() / plain.norm())


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("base", ["sd1", "sd2", "sd2v", "sdxl"])
def test_a_watched_unet_predicts_the_same(model: Models, base: str, fused: bool) -> None:
    unet = copy.deepcopy(model(base).unet)
    if fused:
        unet.fuse_qkv_projections()
    assert apart(unet, (8, 8), Watch(torch.ones(3, 77), (8, 8))) <= 1e-5


@pytest.fixture(scope="module")
def deep() -> Any:
    """A UNet that halves latents three times, as the published ones of SD 1.x do, with attention at each size."""
    torch.manual_seed(0)
    across, back = ("CrossAttnDownBlock2D",) * 3, ("CrossAttnUpBlock2D",) * 3
    return UNet2DConditionModel(
        block_out_channels=(4, 4, 8, 8), layers_per_block=1, norm_num_groups=4, cross_attention_dim=16, attention_head_dim=2,
        down_block_types=(*across, "DownBlock2D"), up_block_types=("UpBlock2D", *back),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("size", [(64, 64), (50, 50), (52, 52), (32, 33), (41, 56), (9, 9)])
def test_pictures_of_any_size_can_be_watched(deep: Any, size: tuple[int, int]) -> None:
    watch = Watch(torch.ones(3, 77), size)
    assert apart(deep, size, watch) <= 1e-5
    assert torch.allclose(watch.heat(), torch.ones(3, *size), atol=1e-5)


def test_the_shape_of_a_layer_is_that_of_its_convolutions() -> None:
    smaller = torch.nn.Conv2d(1, 1, 3, stride=2, padding=1)  # as UNets have it
    for size in [(height, width) for height in range(8, 72, 3) for width in range(8, 130, 7)]:
        layer = torch.zeros(1, 1, *size)
        for _ in range(4):
            assert halved(size, layer.numel()) == layer.shape[2:]
            layer = smaller(layer)


def test_the_unet_is_as_it_was_after_an_error(model: Models) -> None:
    unet = model("sd1").unet
    before = dict(unet.attn_processors)
    with pytest.raises(RuntimeError), watched(unet, Watch(torch.zeros(1, 77), (8, 8))):
        unet(torch.zeros(1, 4, 8, 8), 500, torch.zeros(1, 77, 5))
    assert unet.attn_processors == before


def test_all_tokens_together_get_all_attention(model: Models) -> None:
    made = model("sd1")
    test, _, _ = words(made, "sd1")
    watch = Watch(torch.ones(2, 77), (8, 8))
    with torch.no_grad(), watched(made.unet, watch):
        made.unet(torch.randn(2, 4, 8, 8), 500, torch.stack([test.embeds] * 2))
    assert torch.allclose(watch.heat(), torch.ones(2, 8, 8), atol=1e-5)


def test_attention_is_the_softmax_of_the_layer_itself(model: Models) -> None:
    """Against a hook on the layer that computes the softmax anew from its own projections."""
    made = model("sd1")
    test, _, _ = words(made, "sd1")
    seen: list[Any] = []

    def keep(module: Any, args: Any, kwargs: Any) -> None:
        hidden, said = args[0], kwargs["encoder_hidden_states"]
        query, key = (layer(of).view(1, -1, module.heads, module.inner_dim // module.heads).transpose(1, 2)
                      for layer, of in ((module.to_q, hidden), (module.to_k, said)))  # fmt: skip
        weights = torch.softmax(query @ key.transpose(2, 3) * module.scale, dim=-1)
        seen.append(weights[..., list(test.slots["clip_l"])].sum(-1).mean())

    layers = [module for name, module in made.unet.named_modules() if name.endswith("attn2")]
    hooks = [layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in layers]
    marks = torch.zeros(1, 77)
    marks[0, list(test.slots["clip_l"])] = 1
    watch = Watch(marks, (8, 8))
    with torch.no_grad(), watched(made.unet, watch):
        made.unet(torch.randn(1, 4, 8, 8), 500, test.embeds[None])
    for hook in hooks:
        hook.remove()
    assert len(seen) == len(layers) > 1
    assert float(watch.heat().mean()) == pytest.approx(float(torch.stack(seen).mean()), rel=1e-4)


def test_nothing_has_no_effect_and_the_usual_attention(model: Models) -> None:
    made = model("sd1")
    _, null, other = words(made, "sd1")
    (found,) = probe(made, [(null, null, other)], protocol_for("sd1", 64), attention=True)
    assert (found.effect, found.attention) == (0.0, 1.0)


def test_more_of_it_is_more(model: Models) -> None:
    made = model("sd1")
    given = vectors("sd1", 2)
    nothing = {key: np.zeros_like(rows) for key, rows in given.items()}
    *tests, null, other = encode(made, [*(Ask(PROMPT, given, weight=w) for w in (0.5, 1.0, 1.5)), Ask(PROMPT, nothing), Ask("")],
                                 emphasis="no_norm")  # fmt: skip
    effects = [each.effect for each in probe(made, [(test, null, other) for test in tests], protocol_for("sd1", 64))]
    assert 0 < effects[1] < effects[2]


@pytest.mark.parametrize("attention", [False, True])
def test_sixteen_together_are_as_each_alone(model: Models, attention: bool) -> None:
    made, protocol = model("sd1"), protocol_for("sd1", 64)
    triples = [words(made, "sd1", count=1 + seed % 3, seed=seed) for seed in range(16)]
    together = probe(made, triples, protocol, attention=attention)
    alone = [probe(made, [triple], protocol, attention=attention)[0] for triple in triples]
    assert [(each.effect, each.timesteps, each.attention) for each in together] == [
        (each.effect, each.timesteps, each.attention) for each in alone
    ]


def test_the_heat_is_a_map_of_the_latents_around_one(model: Models) -> None:
    made = model("sdxl")
    protocol = msgspec.structs.replace(protocol_for("sdxl", 64), width=96, height=64)
    (found,) = probe(made, [words(made, "sdxl")], protocol, attention=True)
    assert found.heat is not None
    assert found.heat.shape == (8, 12)
    assert float(found.heat.mean()) == pytest.approx(1.0, rel=1e-5)
    assert float(found.heat.std()) > 0

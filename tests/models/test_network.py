"""Networks start as nothing: step 0 of training is the block-transform codec itself."""

from __future__ import annotations

import pytest
import torch

from lrae.models.blocks import PACKED
from lrae.models.network import OUTPUT_SCALE, LraeNetwork, NetworkConfig

SMALL = NetworkConfig(width=8, context_blocks=1, synthesis_blocks=1, intra_blocks=1, memory=4, analysis_blocks=1)
Q, STEP = torch.tensor([3, 50]), torch.tensor([40.0, 4.0])


@pytest.fixture
def network():
    torch.manual_seed(0)
    return LraeNetwork(SMALL).requires_grad_(False)


@pytest.fixture
def picture():
    torch.manual_seed(1)
    return lambda: torch.randn(2, PACKED, 6, 10) * 50


def test_at_the_start_the_context_is_the_warped_picture_and_synthesis_only_adds(network, picture):
    warped, residual, memory = picture(), picture(), torch.randn(2, SMALL.memory, 6, 10)
    ctx, features = network.context(warped, memory, Q, STEP)
    assert torch.equal(ctx, warped)
    assert features.shape == (2, SMALL.width, 6, 10)
    assert torch.equal(network.analysis(picture(), ctx, features, Q, STEP), torch.zeros_like(ctx))
    for shown, kept in (
        network.synthesis(ctx, residual, features, Q, STEP),
        network.synthesis_intra(ctx, residual, Q, STEP),
    ):
        assert torch.equal(shown, ctx + residual)
        assert torch.equal(kept, torch.zeros(2, SMALL.memory, 6, 10))


def test_every_output_is_scaled_by_the_quantiser_step(network, picture):
    for branch in (network.g_c, network.g_s, network.g_s_intra, network.g_a):
        branch.tail.bias.fill_(1.0)
    warped, memory = picture(), torch.zeros(2, SMALL.memory, 6, 10)
    ctx, features = network.context(warped, memory, Q, STEP)
    expected = (OUTPUT_SCALE * STEP)[:, None, None, None].expand(2, PACKED, 6, 10)
    torch.testing.assert_close(ctx - warped, expected, atol=1e-4, rtol=1e-4)
    shown, kept = network.synthesis(warped, torch.zeros_like(warped), features, Q, STEP)
    torch.testing.assert_close(shown - warped, expected, atol=1e-4, rtol=1e-4)
    assert kept.abs().max() < 1, "the memory is bounded"
    torch.testing.assert_close(network.analysis(picture(), ctx, features, Q, STEP), expected)


def test_the_gains_tell_rates_apart_and_pictures_of_a_batch_do_not_meet(network, picture):
    network.g_c.tail.weight.normal_()
    network.g_c.gain[50] = 0.5
    warped, memory = picture(), torch.zeros(2, SMALL.memory, 6, 10)
    both = network.context(warped, memory, Q, STEP)[0]
    for index in range(2):
        one = slice(index, index + 1)
        alone = network.context(warped[one], memory[one], Q[one], STEP[one])[0]
        torch.testing.assert_close(alone, both[one])
    other = network.context(warped, memory, torch.tensor([3, 3]), STEP)[0]
    assert torch.equal(other[0], both[0]) and not torch.allclose(other[1], both[1])


def test_in_bf16_what_is_summed_over_frames_stays_fp32(network, picture):
    network = network.to(torch.bfloat16)
    warped = picture()
    ctx, features = network.context(warped, torch.zeros(2, SMALL.memory, 6, 10), Q, STEP)
    assert ctx.dtype == torch.float32 and torch.equal(ctx, warped)
    assert features.dtype == torch.bfloat16
    assert network.synthesis(ctx, warped, features, Q, STEP)[0].dtype == torch.float32


def test_by_default_the_analysis_is_the_linear_transform_alone():
    assert LraeNetwork().g_a is None

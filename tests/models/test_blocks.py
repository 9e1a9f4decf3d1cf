"""Planes become packed tensors and block vectors and come back unchanged."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lrae.models import blocks

SIZES = ((16, 16), (48, 16), (16, 80), (112, 48))  # odd multiples of 16 too


def planes(height, width, batch=2):
    generator = torch.Generator().manual_seed(height * 1000 + width)
    shapes = (height, width), *((height // 2, width // 2),) * 2
    return [torch.randint(0, 256, (batch, 1, *shape), generator=generator).float() for shape in shapes]


@pytest.mark.parametrize("size", SIZES)
def test_unpack_is_the_inverse_of_pack(size):
    original = planes(*size)
    packed = blocks.pack(*original)
    assert packed.shape == (2, blocks.PACKED, size[0] // 8, size[1] // 8)
    for plane, back in zip(original, blocks.unpack(packed), strict=True):
        torch.testing.assert_close(back, plane, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_packing_is_the_pixel_unshuffle_of_luma_and_weighted_chroma(size):
    y, u, v = planes(*size)
    chroma = [(F.pixel_unshuffle(plane, 4) - 128) * blocks.CHROMA_GAIN for plane in (u, v)]
    torch.testing.assert_close(blocks.pack(y, u, v), torch.cat((F.pixel_unshuffle(y, 8) - 128, *chroma), 1))


@pytest.mark.parametrize("size", SIZES)
def test_from_blocks_is_the_inverse_of_to_blocks_and_a_vector_is_one_block(size):
    packed = blocks.pack(*planes(*size))
    vectors = blocks.to_blocks(packed)
    rows, columns = size[0] // blocks.BLOCK, size[1] // blocks.BLOCK
    assert vectors.shape == (2 * rows * columns, blocks.COEFFICIENTS)
    assert torch.equal(blocks.from_blocks(vectors, 2, rows, columns), packed)
    last = blocks.to_blocks(packed[1:, :, -2:, -2:])
    assert torch.equal(vectors[-1:], last)


@pytest.mark.parametrize("size", SIZES)
def test_corners_are_the_same_coefficients_in_another_order(size):
    packed = blocks.pack(*planes(*size))
    assert torch.equal(blocks.to_corners(packed), blocks.to_blocks(packed)[:, blocks.CORNERS])
    assert torch.equal(blocks.CORNERS.sort().values, torch.arange(blocks.COEFFICIENTS))


def test_clipping_allows_exactly_what_eight_bits_can_show():
    for level, shown in ((-50.0, 0.0), (0.0, 0.0), (77.0, 77.0), (255.0, 255.0), (300.0, 255.0)):
        packed = blocks.pack(*(torch.full((1, 1, side, side), level) for side in (16, 8, 8)))
        for plane in blocks.unpack(blocks.clip(packed)):
            torch.testing.assert_close(plane, torch.full_like(plane, shown), atol=1e-4, rtol=0)


def test_sizes_are_padded_to_whole_blocks():
    assert [blocks.padded(size) for size in (1, 15, 16, 17, 1080)] == [16, 16, 16, 32, 1088]

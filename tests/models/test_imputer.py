"""The imputer chooses between guesses: what arrived is untouched, and what it shows lies between the guesses."""

from __future__ import annotations

import torch

from lrae.models.imputer import Imputer


def inputs(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    pictures = [torch.randn(1, 96, 8, 12, generator=generator) * 30 for _ in range(3)]
    vectors = [torch.randn(1, 2, 8, 12, generator=generator) * 20 for _ in range(2)]
    unmoved = torch.zeros(1, 1, 8, 12)
    unmoved[..., 4:, :] = 1
    return pictures, vectors, unmoved


def random_imputer() -> Imputer:
    torch.manual_seed(1)
    imputer = Imputer(16, 8)
    torch.nn.init.normal_(imputer.tail.weight, std=0.5)
    return imputer.requires_grad_(False)


def test_what_arrived_is_untouched_and_the_rest_lies_between_the_guesses():
    imputer, (pictures, vectors, unmoved) = random_imputer(), inputs()
    shown = imputer.blend(*pictures, *vectors, unmoved, torch.randn(1, 8, 4, 6))
    assert torch.equal(shown[..., :4, :], pictures[0][..., :4, :])
    assert not torch.equal(shown[..., 4:, :], pictures[0][..., 4:, :])
    moved, before, still = pictures
    reach = (before - moved).abs() + (still - moved).abs()
    assert ((shown - moved).abs() <= reach + 1e-4).all()


def test_the_memory_stays_bounded_and_matters():
    imputer, (pictures, vectors, unmoved) = random_imputer(), inputs()
    h = c = torch.zeros(1, 8, 4, 6)
    for _ in range(200):
        h, c = imputer.remember(pictures[0], *vectors, unmoved, h, c)
    assert h.abs().max() <= 1 and torch.isfinite(c).all()
    fresh = imputer.blend(*pictures, *vectors, unmoved, torch.zeros_like(h))
    assert not torch.equal(fresh, imputer.blend(*pictures, *vectors, unmoved, h))


def test_three_equal_guesses_are_shown_as_they_are():
    (picture, _, _), vectors, unmoved = inputs()
    shown = random_imputer().blend(picture, picture, picture, *vectors, unmoved, torch.zeros(1, 8, 4, 6))
    torch.testing.assert_close(shown, picture)

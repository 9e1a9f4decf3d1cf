"""The imputer chooses between guesses: its weights add up to one, and its memory stays bounded and matters."""

from __future__ import annotations

import torch

from lrae.models.imputer import CONTEXT, GUESSES, REMEMBERED, SEEN, Imputer, describe


def random_imputer() -> Imputer:
    torch.manual_seed(1)
    imputer = Imputer(16, 8)
    torch.nn.init.normal_(imputer.tail.weight, std=0.5)
    return imputer.requires_grad_(False)


def test_weights_are_shares_and_an_untrained_imputer_trusts_all_guesses_alike():
    seen, h = torch.rand(1, SEEN, 8, 12), torch.randn(1, 8, 8, 12)
    weights = random_imputer().weights(seen, h)
    assert weights.shape == (1, GUESSES, 8, 12) and weights.min() >= 0
    torch.testing.assert_close(weights.sum(1), torch.ones(1, 8, 12))
    torch.testing.assert_close(Imputer(16, 8).weights(seen, h), torch.full((1, GUESSES, 8, 12), 1 / GUESSES))


def test_rows_cut_beyond_the_context_give_what_the_whole_picture_gives():
    imputer, seen, h = random_imputer(), torch.rand(1, SEEN, 20, 6), torch.randn(1, 8, 20, 6)
    whole = imputer.weights(seen, h)
    top, bottom = 8 - CONTEXT, 12 + CONTEXT
    part = imputer.weights(seen[:, :, top:bottom], h[:, :, top:bottom])
    torch.testing.assert_close(part[:, :, CONTEXT:-CONTEXT], whole[:, :, 8:12])


def test_the_memory_stays_bounded_and_matters():
    imputer, seen = random_imputer(), torch.rand(1, REMEMBERED, 4, 6) * 3
    h = c = torch.zeros(1, 8, 4, 6)
    for _ in range(200):
        h, c = imputer.recollect(seen, h, c)
    assert h.abs().max() <= 1 and torch.isfinite(c).all()
    features, around = torch.rand(1, SEEN, 4, 6), torch.zeros_like(h)
    assert not torch.equal(imputer.weights(features, around), imputer.weights(features, h))


def test_motion_is_described_by_its_size_its_change_and_its_roughness():
    pan = torch.full((1, 2, 12, 12), 16.0)
    still, size = torch.zeros_like(pan), 16 * 2**0.5 / 32
    torch.testing.assert_close(describe(pan, pan)[0, :, 5, 5], torch.tensor([size, 0, 0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(describe(pan, still)[0, :, 5, 5], torch.tensor([size, size, 0]), atol=1e-3, rtol=0)
    rough = pan.clone()
    rough[..., ::2] = -16
    assert describe(rough, rough)[0, 2].min() > 0.5

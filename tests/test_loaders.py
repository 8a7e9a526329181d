"""Augmentation on the batch; what `in_memory` takes is tried in `test_own`."""

import pytest
import torch

from infcop_lite import loaders


def images(n=200, size=9):
    """Images that tell where each pixel came from: all values differ."""
    return torch.arange(n * 2 * size * size, dtype=torch.float32).reshape(n, 2, size, size)


def shifts_of(before, after):
    """How one image was mirrored and shifted, read off its middle."""
    found = []
    for mirrored in (False, True):
        source = before.flip(2) if mirrored else before
        for down in range(-2, 3):
            for right in range(-2, 3):
                if torch.equal(
                    after[:, 2:-2, 2:-2],
                    source.roll((-down, -right), (1, 2))[:, 2:-2, 2:-2],
                ):
                    found.append((mirrored, down, right))
    return found


def test_every_image_is_mirrored_and_shifted_by_itself_all_ways_equally_often():
    before = images()
    after = loaders.flip_shift(before, torch.Generator().manual_seed(0))
    ways = [shifts_of(a, b) for a, b in zip(before, after, strict=True)]
    assert all(len(way) == 1 for way in ways)
    seen = {way for ((*way,),) in ways for way in [tuple(way)]}
    assert len(seen) > 45  # of 50
    assert 70 < sum(mirrored for ((mirrored, _, _),) in ways) < 130
    assert torch.equal(before, images())


def test_what_comes_in_at_the_border_is_a_reflection():
    before = images(50, 4)
    after = loaders.flip_shift(before, torch.Generator().manual_seed(0))
    for a, b in zip(before, after, strict=True):
        assert set(b.unique().tolist()) <= set(a.unique().tolist())


def test_the_generator_decides_the_augmentation():
    first, again, other = (
        loaders.flip_shift(images(), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("shape", [(4, 10), (4, 1, 2, 9), (1, 9, 9)])
def test_what_is_no_batch_of_images_is_not_augmented(shape):
    with pytest.raises(ValueError, match="augment flip-shift is for images"):
        loaders.flip_shift(torch.zeros(shape), torch.Generator())

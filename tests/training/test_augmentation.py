"""Changes of images: what they leave, what they do, and that gradients pass."""

import torch

from fedmammo.training.augmentation import BRIGHTNESS, CONTRAST, augment, mirror


def test_a_flat_image_changes_in_brightness_alone() -> None:
    torch.manual_seed(0)
    images = augment(torch.zeros(200, 1, 16, 16))
    levels = images[:, 0, 0, 0]
    assert torch.equal(images, levels[:, None, None, None].expand_as(images))
    assert BRIGHTNESS * 0.9 < levels.abs().max() <= BRIGHTNESS


def test_contrast_changes_by_its_share_at_most() -> None:
    """Half of each row is -1, half 1, so that any shift by up to 1/8 of the side leaves both values."""
    torch.manual_seed(0)
    images = augment(torch.cat([-torch.ones(100, 1, 16, 8), torch.ones(100, 1, 16, 8)], dim=3))
    spread = (images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3))) / 2
    assert 1 - CONTRAST <= spread.min() < 1 < spread.max() <= 1 + CONTRAST


def test_a_point_moves_by_an_eighth_of_the_side_at_most() -> None:
    torch.manual_seed(0)
    images = torch.zeros(300, 1, 16, 16)
    images[:, 0, 8, 8] = 1
    places = augment(images).flatten(1).argmax(dim=1)
    rows, columns = places // 16, places % 16
    assert (rows.min(), rows.max()) == (6, 10) and (columns.min(), columns.max()) == (6, 10)


def test_gradients_pass_through() -> None:
    images = torch.rand(2, 1, 16, 16, requires_grad=True)
    augment(images).sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


def test_about_half_of_all_images_are_mirrored() -> None:
    torch.manual_seed(0)
    images = torch.arange(4.0).expand(400, 1, 2, 4)
    mirrored = mirror(images)[:, 0, 0, 0] == 3
    assert 160 < mirrored.sum() < 240
    assert torch.equal(mirror(images).sort(dim=3).values, images)

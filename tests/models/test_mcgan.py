"""The GAN's networks: shapes, conditioning, what the discriminator sees, what travels."""

import pytest
import torch
from torch import Tensor

from fedmammo.models import mcgan_default, mcgan_reference
from fedmammo.models.mcgan import Mcgan, build_mcgan, sample
from fedmammo.synthesis.sources import FromGan


@pytest.fixture(params=[("default", 32, 4), ("default", 64, 4), ("default", 128, 4), ("reference", 128, 4)])
def source(request: pytest.FixtureRequest) -> FromGan:
    """Every architecture at every size, narrow."""
    mcgan, side, width = request.param
    return FromGan(source="gan", mcgan=mcgan, image_size=side, width=width)


@pytest.fixture
def gan(source: FromGan) -> Mcgan:
    return build_mcgan(source)


def test_images_are_square_and_between_minus_one_and_one(gan: Mcgan, source: FromGan) -> None:
    images = gan.generator(torch.tensor([0, 1, 1]))
    assert images.shape == (3, 1, source.image_size, source.image_size)
    assert images.abs().max() <= 1
    assert gan.discriminator(gan.bands(images), torch.tensor([0, 1, 1])).shape == (3,)


def test_a_score_depends_on_its_own_image_alone(gan: Mcgan, source: FromGan) -> None:
    """Nothing of a batch enters: neither statistics nor the order."""
    torch.manual_seed(0)
    images, malignant = torch.randn(4, 1, source.image_size, source.image_size).tanh(), torch.tensor([0, 1, 0, 1])
    together = gan.discriminator(gan.bands(images), malignant)
    alone = [gan.discriminator(gan.bands(images[i : i + 1]), malignant[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
    assert not list(gan.buffers())


def test_the_class_changes_image_and_score(gan: Mcgan, source: FromGan) -> None:
    def drawn(malignant: int) -> Tensor:
        torch.manual_seed(0)
        return gan.generator(torch.tensor([malignant]))

    assert not torch.equal(drawn(0), drawn(1))
    bands = gan.bands(drawn(0))
    assert not torch.equal(gan.discriminator(bands, torch.tensor([0])), gan.discriminator(bands, torch.tensor([1])))


def test_networks_begin_the_same_everywhere_and_leave_torchs_generator_alone(source: FromGan) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, second = build_mcgan(source).state_dict(), build_mcgan(source).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.random.get_rng_state(), before)
    other = build_mcgan(source.model_copy(update={"seed": 1})).state_dict()
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_parts_travel_by_name_and_are_copies() -> None:
    gan = build_mcgan(FromGan(source="gan", image_size=32, width=4))
    sent = gan.tensors("average", "discriminator")
    assert {name.partition(".")[0] for name in sent} == {"average", "discriminator"}
    name = next(iter(sent))
    sent[name].add_(1)
    assert not torch.equal(gan.state_dict()[name], sent[name])
    gan.load({name: sent[name]})
    assert torch.equal(gan.state_dict()[name], sent[name])


def test_a_sample_depends_on_class_and_number_alone() -> None:
    gan = build_mcgan(FromGan(source="gan", image_size=32, width=4))
    five, three = sample(gan, True, 5, 0, "sample"), sample(gan, True, 3, 0, "sample")
    assert five.shape == (5, 1, 32, 32) and five.min() >= 0 and five.max() <= 1
    assert torch.equal(five[:3], three)
    assert not torch.equal(five, sample(gan, False, 5, 0, "sample"))
    assert not torch.equal(five, sample(gan, True, 5, 1, "sample"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_samples_come_back_from_the_gpu() -> None:
    gan = build_mcgan(FromGan(source="gan", image_size=32, width=4))
    expected = sample(gan, True, 3, 0, "sample")
    found = sample(gan.to("cuda"), True, 3, 0, "sample")
    assert found.device.type == "cpu"
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0)


def test_bands_of_a_flat_image_are_its_gray_value_alone() -> None:
    """A flat image of .5 has gray value 3 x .5 = 1.5 and nothing in any band."""
    bands = mcgan_default.bands(torch.full((1, 1, 32, 32), 0.5))
    torch.testing.assert_close(bands[0, 0], torch.full((32, 32), 1.5))
    assert bands[0, 1:].abs().max() < 1e-5


def test_the_finest_band_is_what_a_mean_over_two_by_two_pixels_takes_away() -> None:
    """A checkerboard of +-.1 has mean 0 in each square of four: all of it is in the finest band, x 60 = 6."""
    board = torch.tensor([[0.1, -0.1], [-0.1, 0.1]]).repeat(16, 16)[None, None]
    bands = mcgan_default.bands(board)
    torch.testing.assert_close(bands[0, 1], 60 * board[0, 0])
    assert bands[0, 2:].abs().max() < 1e-5


def test_the_reference_is_built_layer_for_layer() -> None:
    """Its kernels at width 64, as the reference study gives them."""
    generator, discriminator = mcgan_reference.Generator(128, 64), mcgan_reference.Discriminator(128, 64)

    def kernels(network: torch.nn.Module) -> list[tuple[int, ...]]:
        return [tuple(value.shape) for name, value in network.layers.named_parameters() if value.dim() == 4]

    assert kernels(generator) == [
        (200, 1024, 4, 4), (1024, 512, 4, 4), (512, 256, 4, 4), (256, 128, 4, 4), (128, 64, 4, 4), (64, 1, 4, 4),
    ]  # fmt: skip
    assert kernels(discriminator) == [
        (64, 2, 6, 6), (128, 64, 6, 6), (256, 128, 6, 6), (512, 256, 6, 6), (1024, 512, 6, 6), (1, 1024, 6, 6),
    ]  # fmt: skip
    assert discriminator.classes[1].weight.shape == (128 * 128, 50)


def test_the_reference_has_one_size() -> None:
    with pytest.raises(ValueError, match="128 pixels, not 64"):
        FromGan(source="gan", mcgan="reference", image_size=64)

"""A cut network is the network; what is trained is what the configuration says; images are seen as intended."""

from collections.abc import Callable

import pytest
import timm  # conftest.py has imported torchvision_guard before, which makes this possible everywhere
import torch
from torch import Tensor

from fedmammo.config.sections import DiagnosisConfig
from fedmammo.errors import InputError
from fedmammo.models.classifier import Classifier, build_classifier, initial_model

SWIN = "swin_tiny_patch4_window7_224"
HEAD = {"head.weight", "head.bias"}
CUTS = ("head", "last_blocks:1", "last_blocks:2", "bias", "all")
Make = Callable[..., Classifier]


def gray(side: int, count: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(seed))


def uncut(classifier: Classifier, network: str, side: int) -> torch.nn.Module:
    """Timm's own network with the classifier's weights."""
    whole = timm.create_model(network, num_classes=0, img_size=side)
    whole.load_state_dict(classifier.chain.network.state_dict())
    return whole.eval()


def seen(images: Tensor, network: torch.nn.Module) -> Tensor:
    """What the network sees of gray images: three equal channels under its own normalisation."""
    mean, std = (torch.tensor(network.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    return (torch.cat([images, images, images], dim=1) - mean) / std


def read_through_cut(classifier: Classifier, images: Tensor) -> Tensor:
    return classifier.readout(classifier.prefix(images) if classifier.has_prefix else images)


# Cuts


@pytest.mark.parametrize(
    ("network", "side", "train"),
    [
        *((*vit, train) for vit in (("test_vit", 32), ("test_vit2", 48)) for train in CUTS),
        *((SWIN, 64, train) for train in CUTS if train != "bias"),  # which cuts nothing, as "all"
    ],
)
@torch.no_grad()
def test_prefix_and_rest_are_the_uncut_network(classifier: Make, network: str, side: int, train: str) -> None:
    """The pooled output is timm's `forward` without its head."""
    made = classifier(network=network, image_size=side, train=train)
    whole = uncut(made, network, side)
    expected = whole(seen(gray(side), whole))
    assert made.has_prefix == train.startswith(("head", "last"))
    assert torch.allclose(read_through_cut(made, gray(side)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("train", ["head", "last_blocks:1", "last_blocks:4", "last_blocks:5", "all"])
@torch.no_grad()
def test_statistics_of_blocks_are_those_of_timms_intermediates(classifier: Make, train: str) -> None:
    """Blocks 2 and 5: class token, mean and standard deviation (n - 1) of the patch tokens, block after block."""
    made = classifier(features=[2, 5], train=train)
    whole = uncut(made, "test_vit", 32)
    blocks = whole.forward_intermediates(
        seen(gray(32), whole), indices=[1, 4], return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
    )
    expected = []
    for patches, before in blocks:
        mean = patches.sum(dim=1) / patches.shape[1]
        variance = ((patches - mean[:, None]) ** 2).sum(dim=1) / (patches.shape[1] - 1)
        expected += [before[:, 0], mean, variance.sqrt()]
    assert made.depth == 5, "blocks behind the last one that is read are not run"
    assert torch.allclose(read_through_cut(made, gray(32)), torch.cat(expected, dim=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("train", ["head", "last_blocks:3"])
@torch.no_grad()
def test_statistics_of_stages_are_those_of_timms_intermediates(classifier: Make, train: str) -> None:
    """Swin-T's stages end with blocks 2, 4 and 10; no class token; the width doubles from stage to stage."""
    made = classifier(network=SWIN, image_size=64, features=[2, 4, 10], train=train)
    whole = uncut(made, SWIN, 64)
    stages = whole.forward_intermediates(seen(gray(64), whole), indices=[0, 1, 2], intermediates_only=True)
    expected = torch.cat([part for stage in stages for part in (stage.mean((2, 3)), stage.std((2, 3)))], dim=1)
    assert expected.shape[1] == 2 * (96 + 192 + 384)
    assert torch.allclose(read_through_cut(made, gray(64)), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_network_that_cannot_be_cut_serves_whole(classifier: Make) -> None:
    made = classifier(network="test_maxvit", image_size=64)
    whole = uncut(made, "test_maxvit", 64)
    assert torch.allclose(read_through_cut(made, gray(64)), whole(seen(gray(64), whole)), rtol=0, atol=1e-6)


@torch.no_grad()
def test_the_prefix_in_half_precision_is_near_and_stored_in_full(classifier: Make) -> None:
    full, half = (classifier(precision=precision) for precision in ("float32", "bfloat16"))
    difference = (half.prefix(gray(32)) - full.prefix(gray(32))).abs().max().item()
    assert half.prefix(gray(32)).dtype == torch.float32
    assert 0 < difference < 0.1
    assert half.readout(gray(32, 1).flatten(1)).dtype == torch.float32, "only the frozen part is in half precision"


# What is trained


def names(made: Classifier, *prefixes: str) -> set[str]:
    return {name for name, _ in made.named_parameters() if name.startswith(prefixes)}


def trained(made: Classifier) -> set[str]:
    flagged = {name for name, parameter in made.named_parameters() if parameter.requires_grad}
    assert made.trained().keys() == flagged
    assert all(parameter.grad is None for parameter in made.parameters())
    return flagged


def test_head(classifier: Make) -> None:
    assert trained(classifier(train="head")) == HEAD
    assert trained(classifier(train="head", features=[1, 3])) == HEAD


def test_last_blocks(classifier: Make) -> None:
    made = classifier(train="last_blocks:2")
    blocks = names(made, "chain.network.blocks.4.", "chain.network.blocks.5.")
    norm = {"chain.network.norm.weight", "chain.network.norm.bias"}
    assert len(blocks) == 2 * 12  # weight and bias of two norms, qkv, proj, fc1, fc2
    assert trained(made) == HEAD | blocks | norm


def test_last_blocks_of_those_that_are_read(classifier: Make) -> None:
    """With blocks 2 and 4 read, the last one is block 4: the final norm and what follows is not used at all."""
    made = classifier(train="last_blocks:1", features=[2, 4])
    assert trained(made) == HEAD | names(made, "chain.network.blocks.3.")


def test_patch_merging_belongs_to_the_block_that_follows(classifier: Make) -> None:
    made = classifier(network=SWIN, image_size=64, train="last_blocks:2")
    norm = {"chain.network.norm.weight", "chain.network.norm.bias"}
    assert trained(made) == HEAD | norm | names(made, "chain.network.layers.3.")
    assert "chain.network.layers.3.downsample.reduction.weight" in made.trained()


def test_bias(classifier: Make) -> None:
    made = classifier(train="bias", features=[2])
    used = ("chain.network.patch_embed.", "chain.network.blocks.0.", "chain.network.blocks.1.")
    assert trained(made) == HEAD | {name for name in names(made, *used) if name.endswith(".bias")}


def test_all(classifier: Make) -> None:
    made = classifier(train="all")
    assert trained(made) == {name for name, _ in made.named_parameters()}
    assert {"chain.network.cls_token", "chain.network.pos_embed"} <= trained(made)


def test_all_that_is_used(classifier: Make) -> None:
    made = classifier(train="all", features=[2])
    unused = [f"chain.network.blocks.{block}." for block in range(2, 6)] + ["chain.network.norm."]
    assert trained(made) == {name for name, _ in made.named_parameters()} - names(made, *unused)


# Images and features as the network sees them


def test_gray_is_three_equal_channels_under_the_models_own_normalisation(classifier: Make) -> None:
    """DeiT's ImageNet constants, gray 0.5: (0.5 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.5 - 0.406) / 0.225."""
    made = classifier(network="deit_tiny_patch16_224")
    channels = made.normalize(torch.full((1, 1, 32, 32), 0.5))[0, :, 0, 0]
    assert torch.allclose(channels, torch.tensor([0.0655022, 0.1964286, 0.4177778]))
    assert torch.allclose(made.normalize(gray(32)), seen(gray(32), made.chain.network))


def test_images_of_another_size_are_resized_within_black_and_white(classifier: Make) -> None:
    """Bicubic overshoots at an edge between black and white: values stay within 0 and 1, here -1 and 1 normalised."""
    edge = torch.zeros(1, 1, 128, 128)
    edge[..., 62:] = 1
    seen_edge = classifier().normalize(edge)
    assert seen_edge.shape == (1, 3, 32, 32)
    assert seen_edge.min() == -1
    assert seen_edge.max() == 1
    assert torch.allclose(classifier().normalize(torch.full((1, 1, 7, 9), 0.25)), torch.tensor(-0.5))


@torch.no_grad()
def test_the_head_reads_centred_and_scaled_features(classifier: Make) -> None:
    """Column j of three public readouts is 0, 2j, 4j: mean 2j, standard deviation 2j, and scale 1 for column 0.

    A readout of 3 everywhere becomes (3 - 2j) / 2j, and 3 in column 0; head weights of 1 and bias of 0.5 add them up.
    """
    made = classifier()
    columns = torch.arange(64.0)
    made.standardize(torch.tensor([[0.0], [2.0], [4.0]]) * columns)
    made.head.weight.fill_(1)
    made.head.bias.fill_(0.5)
    expected = 3 + ((3 - 2 * columns[1:]) / (2 * columns[1:])).sum() + 0.5
    assert torch.allclose(made(torch.full((2, 64), 3.0)), expected.expand(2))


# Seeds and digests


def test_the_initial_model_depends_on_the_seed_alone(diagnosis: Callable[..., DiagnosisConfig]) -> None:
    config = diagnosis(train="last_blocks:1")
    before = torch.random.get_rng_state()
    first, again, other = (initial_model(config, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.keys() == build_classifier(config).trained().keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    assert not any(tensor.requires_grad for tensor in first.values())


def test_frozen_random_tensors_are_the_same_everywhere(diagnosis: Callable[..., DiagnosisConfig]) -> None:
    torch.manual_seed(1)
    first = build_classifier(diagnosis())
    torch.manual_seed(2)
    assert build_classifier(diagnosis()).digest() == first.digest()


@torch.no_grad()
def test_the_digest_names_the_network_without_its_head(classifier: Make) -> None:
    made = classifier()
    digest = made.digest()
    made.head.weight.add_(1)
    assert made.digest() == digest
    made.chain.network.blocks[3].mlp.fc1.bias[7] += 1e-6
    assert made.digest() != digest


# What a network cannot be


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"features": [7]}, "diagnosis.features: block 7, but test_vit has 6 that can be read here"),
        ({"network": "test_maxvit", "image_size": 64, "features": [1]}, "diagnosis.features: block 1, but test_maxvit"),
        ({"train": "last_blocks:7"}, "diagnosis.train: last_blocks:7, but 6 blocks of test_vit are run"),
        ({"train": "last_blocks:3", "features": [2]}, "diagnosis.train: last_blocks:3, but 2 blocks of test_vit"),
        ({"image_size": 33}, "diagnosis.image_size: test_vit says: Input height (33) should be divisible by patch"),
    ],
)
def test_a_classifier_that_cannot_be(classifier: Make, keys: dict[str, object], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        classifier(**keys)
    assert str(caught.value).startswith(expected)


@pytest.mark.filterwarnings("ignore:std_mean")
@pytest.mark.parametrize(("network", "block"), [("test_vit", 1), (SWIN, 12)])
def test_a_single_patch_has_no_standard_deviation(classifier: Make, network: str, block: int) -> None:
    """One patch of 16 px, or four times halved patches of 4 px at 32 px: what the head reads would not be finite."""
    side = 16 if network == "test_vit" else 32
    with pytest.raises(InputError, match=rf"^diagnosis\.image_size: {side} leaves a block of {network} a single patch"):
        classifier(network=network, image_size=side, features=[block])


def test_all_blocks_may_be_trained(classifier: Make) -> None:
    """The cut is then behind the embedding, which stays frozen."""
    made = classifier(train="last_blocks:6")
    embedding = names(made, "chain.network.patch_embed.", "chain.network.cls_token", "chain.network.pos_embed")
    assert trained(made) == {name for name, _ in made.named_parameters()} - embedding

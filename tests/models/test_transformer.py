"""A chain of parts equals timm's own network, and weights are those of the file or an error."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm  # conftest.py has imported torchvision_guard before, which makes this possible everywhere
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fedmammo.errors import InputError
from fedmammo.models.transformer import load_transformer

SWIN = "swin_tiny_patch4_window7_224"


def images(side: int, seed: int = 0) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("network", "side", "blocks"),
    [
        ("test_vit", 32, 6),  # class token
        ("test_vit2", 48, 8),  # mean of patches
        ("test_vit3", 32, 9),  # attention pooling
        ("deit_tiny_distilled_patch16_224", 32, 12),  # two prefix tokens
        (SWIN, 64, 12),  # windows, patch merging
        ("test_maxvit", 64, 0),  # of a kind that is not cut
    ],
)
@torch.no_grad()
def test_the_parts_in_order_are_the_network(network: str, side: int, blocks: int) -> None:
    chain = load_transformer(network, "none", side).train(False)
    assert len(chain.blocks) == blocks
    tokens = chain.embed(images(side))
    for block in chain.blocks:
        tokens = block(tokens)
    assert torch.allclose(chain.pool(tokens), chain.network(images(side)), rtol=0, atol=1e-6)


@torch.no_grad()
def test_statistics_of_a_vision_transformer() -> None:
    """Two patches with values 1 and 4 in every channel: mean 2.5, standard deviation sqrt(2 x 1.5² / 1) = 2.1213."""
    chain = load_transformer("test_vit", "none", 32)
    tokens = torch.tensor([9.0, 1.0, 4.0])[None, :, None].expand(1, 3, 64)  # class token, two patches
    expected = torch.tensor([9.0, 2.5, 2.1213203]).repeat_interleave(64)
    assert torch.allclose(chain.statistics(tokens), expected[None])


@torch.no_grad()
def test_statistics_leave_out_other_tokens_that_are_no_patches() -> None:
    """A distilled DeiT has a second token, here 7, between class token and patches: it is not read."""
    chain = load_transformer("deit_tiny_distilled_patch16_224", "none", 32)
    tokens = torch.tensor([9.0, 7.0, 1.0, 4.0])[None, :, None].expand(1, 4, 192)
    expected = torch.tensor([9.0, 2.5, 2.1213203]).repeat_interleave(192)
    assert torch.allclose(chain.statistics(tokens), expected[None])


@torch.no_grad()
def test_statistics_of_a_network_without_class_token() -> None:
    """Swin's patches 1 and 4 in a row: mean 2.5, standard deviation 2.1213, no class token."""
    chain = load_transformer(SWIN, "none", 64)
    tokens = torch.tensor([1.0, 4.0])[None, None, :, None].expand(1, 1, 2, 5)
    assert torch.allclose(chain.statistics(tokens), torch.tensor([2.5, 2.1213203]).repeat_interleave(5)[None])


def test_a_network_that_is_not_cut_has_no_blocks_to_read() -> None:
    with pytest.raises(TypeError, match="MaxxVit has no blocks"):
        load_transformer("test_maxvit", "none", 64).statistics(torch.zeros(1, 2, 3))


@pytest.mark.parametrize(
    ("network", "side", "expected"),
    [
        ("swin_tinny", 64, "diagnosis.network: timm knows no 'swin_tinny'; near: swin_base"),
        ("nonsense", 64, "diagnosis.network: timm knows no 'nonsense'"),
        ("", 64, "diagnosis.network: timm knows no ''"),
        ("../secret", 64, "diagnosis.network: timm knows no '../secret'"),
        (
            "test_vit.nonsense",
            64,
            "diagnosis: test_vit.nonsense at image_size 64: Invalid pretrained tag (nonsense)",
        ),
    ],
)
def test_a_network_that_cannot_be_had(network: str, side: int, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        load_transformer(network, "none", side)
    assert str(caught.value).startswith(expected)
    assert len(str(caught.value).splitlines()) == 1


def test_a_network_without_a_size_of_its_own() -> None:
    """PoolFormer takes any image, and no `img_size`; its output is 512 wide."""
    chain = load_transformer("poolformer_s12", "none", 64)
    assert chain.pool(chain.embed(torch.zeros(1, 3, 64, 64))).shape == (1, 512)


def test_no_weights_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError) as caught:
        load_transformer("test_vit3", "hub", 32)
    assert str(caught.value).startswith("diagnosis.weights: no weights for test_vit3 from the hub (")
    assert str(caught.value).endswith("; give a safetensors file")


# Weights from a file


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(tensors: dict[str, Tensor]) -> Path:
        path = tmp_path / "weights.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
        return path

    return save


def test_weights_of_a_file_are_taken_whole(saved: Callable[..., Path]) -> None:
    """A file with a head of 1000 classes in half precision: the head is dropped, the rest becomes float32."""
    torch.manual_seed(1)
    state = timm.create_model("test_vit", img_size=32).half().state_dict()
    assert "head.weight" in state
    loaded = load_transformer("test_vit", str(saved(state)), 32).network.state_dict()
    assert loaded.keys() == state.keys() - {"head.weight", "head.bias"}
    for name, tensor in loaded.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, state[name].float()), name


def test_a_position_embedding_is_fitted_to_the_image(saved: Callable[..., Path]) -> None:
    state = timm.create_model("test_vit", img_size=64, num_classes=0).state_dict()
    loaded = load_transformer("test_vit", str(saved(state)), 32).network.state_dict()
    assert state["pos_embed"].shape[1] - loaded["pos_embed"].shape[1] == 16 - 4
    assert torch.equal(loaded["blocks.5.mlp.fc2.weight"], state["blocks.5.mlp.fc2.weight"])


@pytest.mark.parametrize("network", ["test_vit", SWIN])
@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"nonsense": torch.zeros(1)},
        {"pos_embed": torch.zeros(3)},
        {"pos_embed": torch.zeros(1, 7, 64)},
        {"patch_embed.proj.weight": torch.zeros(3)},
        {"layers.9.blocks.17.attn.relative_position_bias_table": torch.zeros(49, 3)},  # of a larger Swin
    ],
    ids=lambda tensors: " ".join(tensors) or "nothing",
)
def test_weights_of_another_network(saved: Callable[..., Path], network: str, tensors: dict[str, Tensor]) -> None:
    path = saved(tensors)
    with pytest.raises(InputError) as caught:
        load_transformer(network, str(path), 64)
    assert str(caught.value).startswith(f"diagnosis.weights: {path} does not fit the network: ")
    assert len(str(caught.value).splitlines()) == 1


def test_missing_and_misshapen_tensors_are_counted(saved: Callable[..., Path]) -> None:
    state = timm.create_model("test_vit", img_size=32, num_classes=0).state_dict()
    del state["blocks.3.mlp.fc1.bias"]
    state["norm.weight"] = torch.ones(65)
    with pytest.raises(InputError, match=r"1 tensors are missing and 1 have another shape, the first is blocks\.3"):
        load_transformer("test_vit", str(saved(state)), 32)


@pytest.mark.parametrize("content", [b"", b"nonsense", 64 * b"\xff", b"\x02\0\0\0\0\0\0\0{}extra"])
def test_a_file_that_is_no_safetensors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^diagnosis\.weights: .* cannot be read as safetensors: "):
        load_transformer("test_vit", str(path), 32)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.safetensors", tmp_path):
        with pytest.raises(InputError, match=r"^diagnosis\.weights: .* cannot be read as safetensors: "):
            load_transformer("test_vit", str(path), 32)


def test_pretrained_weights_load_with_all_keys(shared: Path) -> None:
    """The public ViT-S/14, stored for 518 px: at 224 px everything but the position embedding is as stored."""
    path = shared / "weights" / "vit_small_patch14_dinov2.safetensors"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    stored = load_file(path)
    loaded = load_transformer("vit_small_patch14_dinov2", str(path), 224).network.state_dict()
    assert loaded.keys() == stored.keys()
    assert loaded["pos_embed"].shape == (1, 1 + 16 * 16, 384)
    for name in loaded.keys() - {"pos_embed"}:
        assert torch.equal(loaded[name], stored[name].float()), name

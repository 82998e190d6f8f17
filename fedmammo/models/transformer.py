"""A timm transformer as a chain: embedding, blocks, pooled output; so that it can be cut after any block."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fedmammo.models.torchvision_guard  # noqa: F401

# isort: split
import safetensors
import timm
import torch
from safetensors.torch import load_file
from timm.models import SwinTransformer, VisionTransformer
from torch import Tensor, nn

from fedmammo.errors import InputError

logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # not a line for each of its attempts


PICKLED = (".pth", ".pt", ".ckpt", ".bin", ".pkl", ".tar")


class Chain(nn.Module):
    """A transformer in parts. `embed`: images → tokens; `blocks`: tokens → tokens; `pool`: tokens → (images, width).

    This base serves any network of timm whole: its `embed` runs everything before the pooling.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    @property
    def blocks(self) -> list[nn.Module]:
        """The network's blocks in order; empty where this module does not know how to cut the network."""
        return []

    def embed(self, images: Tensor) -> Tensor:
        """Turn normalised images (images, 3, side, side) into the tokens that the first block reads."""
        return self.network.forward_features(images)

    def pool(self, tokens: Tensor) -> Tensor:
        """Turn the last block's tokens into the network's usual output, (images, width)."""
        return self.network.forward_head(tokens, pre_logits=True)

    def statistics(self, tokens: Tensor) -> Tensor:
        """Summarise a block's tokens: class token where there is one, mean and standard deviation of patch tokens."""
        raise TypeError(f"{type(self.network).__name__} has no blocks to read")


class VisionTransformerChain(Chain):
    """ViT and DeiT: tokens are (images, prefix tokens + patches, width)."""

    @property
    def blocks(self) -> list[nn.Module]:
        """The network's blocks in order."""
        return list(self.network.blocks)

    def embed(self, images: Tensor) -> Tensor:
        """Patch and position embedding."""
        network = self.network
        return network.norm_pre(network.patch_drop(network._pos_embed(network.patch_embed(images))))

    def pool(self, tokens: Tensor) -> Tensor:
        """Final norm and the model's own pooling."""
        return self.network.forward_head(self.network.norm(tokens), pre_logits=True)

    def statistics(self, tokens: Tensor) -> Tensor:
        """(images, 3 x width), or 2 x width for a network without class token."""
        prefix = self.network.num_prefix_tokens
        spread, mean = torch.std_mean(tokens[:, prefix:], dim=1)
        first = [tokens[:, 0]] if self.network.cls_token is not None else []
        return torch.cat([*first, mean, spread], dim=1)


class SwinChain(Chain):
    """Swin: tokens are (images, height, width, channels); patch merging belongs to the block that follows it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self._merged = [
            nn.Sequential(stage.downsample, block) if position == 0 else block
            for stage in self.network.layers
            for position, block in enumerate(stage.blocks)
        ]

    @property
    def blocks(self) -> list[nn.Module]:
        """All stages' blocks in order."""
        return self._merged

    def embed(self, images: Tensor) -> Tensor:
        """Patch embedding."""
        return self.network.patch_embed(images)

    def pool(self, tokens: Tensor) -> Tensor:
        """Final norm and the mean over places."""
        return self.network.forward_head(self.network.norm(tokens), pre_logits=True)

    def statistics(self, tokens: Tensor) -> Tensor:
        """(images, 2 x channels)."""
        spread, mean = torch.std_mean(tokens.flatten(1, 2), dim=1)
        return torch.cat([mean, spread], dim=1)


CHAINS: list[tuple[type[nn.Module], Callable[[nn.Module], Chain]]] = [
    (VisionTransformer, VisionTransformerChain),
    (SwinTransformer, SwinChain),
    (nn.Module, Chain),
]


def load_transformer(name: str, weights: str, image_size: int) -> Chain:
    """Build a timm transformer without its head.

    `weights`: `hub` (timm downloads), `none` (random, from torch's global generator), or a safetensors file with
    timm's or the original publication's key names, fitted to `image_size` by timm's own filter.

    Raises InputError for an unknown name, an image size that the network does not take, weights that are missing,
    unreadable or of another network.
    """
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"{name.split('_')[0]}*")[:5])
        raise InputError(f"diagnosis.network: timm knows no {name!r}" + (f"; near: {near}" if near else ""))
    try:
        try:
            network = timm.create_model(name, pretrained=weights == "hub", num_classes=0, img_size=image_size)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            network = timm.create_model(name, pretrained=weights == "hub", num_classes=0)  # takes any size
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = _flat(error) if str(error) else "the network does not take this size; 224 is the usual one"
        raise InputError(f"diagnosis: {name} at image_size {image_size}: {reason}") from error
    except Exception as error:  # whatever the hub's client raises: no network, no such file
        if weights != "hub":
            raise
        raise InputError(
            f"diagnosis.weights: no weights for {name} from the hub ({_flat(error)[:150]}); give a safetensors file"
        ) from error
    if weights not in ("hub", "none"):
        _load_weights(network, Path(weights))
    chain = next(chain for kind, chain in CHAINS if isinstance(network, kind))
    return chain(network.eval())  # else a first image would move the statistics of batch normalisation


def _load_weights(network: nn.Module, path: Path) -> None:
    if path.suffix in PICKLED:
        raise InputError(
            f"diagnosis.weights: {path} is no safetensors file, and a {path.suffix} file may run code when it is read; "
            "where you trust it, convert it: safetensors.torch.save_file(torch.load(PATH, weights_only=True), NEW_PATH)"
        )
    try:
        state = load_file(path)
    except (OSError, MemoryError, safetensors.SafetensorError) as error:
        raise InputError(f"diagnosis.weights: {path} cannot be read as safetensors: {_flat(error)}") from error
    _check_prefix(state, network, path)
    module = __import__(type(network).__module__, fromlist=["checkpoint_filter_fn"])
    if hasattr(module, "checkpoint_filter_fn"):
        try:
            state = module.checkpoint_filter_fn(state, network)
        except Exception as error:  # whatever the filter raises on tensors that it does not expect
            raise InputError(f"diagnosis.weights: {path} does not fit the network: {_flat(error)}") from error
    wanted = network.state_dict()
    missing = sorted(wanted.keys() - state.keys())
    wrong = sorted(name for name in wanted.keys() & state.keys() if wanted[name].shape != state[name].shape)
    if missing or wrong:
        raise InputError(
            f"diagnosis.weights: {path} does not fit the network: {len(missing)} tensors are missing and "
            f"{len(wrong)} have another shape, the first is {(missing + wrong)[0]}"
        )
    broken = next((name for name in sorted(wanted) if not state[name].float().isfinite().all()), None)
    if broken is not None:
        raise InputError(f"diagnosis.weights: {path} has values in {broken} that are no numbers; restore the file")
    network.load_state_dict({name: state[name].float() for name in wanted})


def _check_prefix(state: dict[str, Tensor], network: nn.Module, path: Path) -> None:
    """Raise InputError where all names would fit but for what stands before them, as `module.` of a parallel module."""
    wanted = network.state_dict().keys()
    first = next(iter(wanted))
    found = next((name for name in state if name.endswith(f".{first}")), None)
    if first in state or found is None:
        return
    prefix = found.removesuffix(first)
    if all(f"{prefix}{name}" in state for name in wanted):
        raise InputError(
            f"diagnosis.weights: {path}: names of its tensors begin with {prefix!r}; save them without: save_file("
            f"{{k.removeprefix({prefix!r}): v for k, v in load_file(PATH).items()}}, NEW_PATH), of safetensors.torch"
        )


def _flat(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

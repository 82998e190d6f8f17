"""A linear head: one logit from numbers that are centred and scaled, and may be projected on directions."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmammo.config.weights import NO_FILE
from fedmammo.disk.files import read_tensors
from fedmammo.errors import InputError

CONSTANTS = ("center", "scale", "directions")
TAUGHT = "taught."  # before the names of a head's tensors in a file of weights


class Taught(NamedTuple):
    """A head that learned from drawn masses, kept beside a network's weights.

    Attributes:
        weight: (width,), of numbers that are centred and scaled.
        bias: ().
        center, scale: by which they were, (width,).
    """

    weight: Tensor
    bias: Tensor
    center: Tensor
    scale: Tensor

    @property
    def tensors(self) -> dict[str, Tensor]:
        """By the names under which a file has them."""
        return {f"{TAUGHT}{name}": tensor for name, tensor in self._asdict().items()}

    @classmethod
    def read(cls, path: str) -> "Taught":
        """Read it from a file of weights. Raises InputError where that has none."""
        if path in NO_FILE:
            raise InputError(f"diagnosis.head: weights, but diagnosis.weights is {path}; name a file that has a head")
        tensors = read_tensors(Path(path))[0]
        if any(f"{TAUGHT}{name}" not in tensors for name in cls._fields):
            raise InputError(
                f"diagnosis.head: weights, but {path} has no head; fedmammo phantom pretrain writes such a file"
            )
        return cls(*(tensors[f"{TAUGHT}{name}"].float() for name in cls._fields))


class OneLogit(nn.Linear):
    """A linear layer, `width` → 1, whose bias counts `bias_input` times.

    A constant beside inputs that are smaller than 1 would make up most of a patient's gradient, and so of what clipping
    leaves and of what noise is scaled by: it is as large as one of them.
    """

    def __init__(self, width: int, bias_input: float) -> None:
        super().__init__(width, 1)
        self.bias_input = bias_input

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (images, 1)."""
        return functional.linear(inputs, self.weight, self.bias_input * self.bias)


class LinearHead(nn.Module):
    """`forward(inputs)` → one logit per image, (images,), positive where malignant.

    What the head reads is first centred and scaled by constants that `standardize` sets from public images, and
    projected on any directions, that `orient` sets.

    Args:
        width: how many numbers are read; without, `add_head` tells later.
        directions: on how many directions they are projected, if at all.
    """

    center: Tensor
    scale: Tensor
    directions: Tensor | None

    def __init__(self, width: int | None = None, directions: int | None = None) -> None:
        super().__init__()
        if width is not None:
            self.add_head(width, directions)

    def add_head(self, width: int, directions: int | None) -> None:
        """Add the head and its constants. Raises InputError for more directions than there are numbers."""
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        if directions is not None and directions > width:
            raise InputError(f"diagnosis.directions: {directions}, but the head reads {width} numbers only")
        self.register_buffer("directions", None if directions is None else torch.eye(width)[:, :directions])
        self.head = OneLogit(directions or width, 1.0 if directions is None else directions**-0.5)

    def readout(self, inputs: Tensor) -> Tensor:
        """Return what the head reads, (images, width): here the inputs as they are."""
        return inputs

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (images,)."""
        return self.head(self.standard(inputs)).squeeze(1)

    def standard(self, inputs: Tensor) -> Tensor:
        """Return what the head reads: centred and scaled, (images, width), and along any directions."""
        centred = self.readout(inputs) - self.center  # a copy, which is then scaled where it lies: it may be large
        scaled = centred.div_(self.scale)
        return scaled @ self.directions if self.directions is not None else scaled

    def begin(self, taught: Taught) -> None:
        """Take up a head that learned elsewhere, on this one's constants; along directions as far as they reach.

        Raises InputError where it read other numbers.
        """
        if len(taught.weight) != len(self.center):
            raise InputError(
                f"diagnosis.head: weights have a head of {len(taught.weight)} numbers, {len(self.center)} are read "
                "here; read the blocks that it was taught with (diagnosis.features)"
            )
        weight = taught.weight * self.scale / taught.scale
        bias = taught.bias + (taught.weight * (self.center - taught.center) / taught.scale).sum()
        if self.directions is not None:
            weight = torch.linalg.lstsq(self.directions.double(), weight.double()[:, None]).solution[:, 0]
        self.head.weight.copy_(weight[None])
        self.head.bias.copy_(bias / self.head.bias_input)

    @property
    def typical_length(self) -> float:
        """Root mean square length of what the head reads of drawn patches: by `standardize`, or by `orient`."""
        return 1.0 if self.directions is not None else len(self.center) ** 0.5

    @property
    def constants(self) -> dict[str, Tensor]:
        """What a model needs beside its trained tensors and the frozen backbone, by name (CONSTANTS)."""
        return {name: tensor for name in CONSTANTS if (tensor := getattr(self, name)) is not None}

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the trained tensors by name: all that travels."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def standardize(self, readout: Tensor) -> None:
        """Set centre and scale from the readout (images, width) of public images; a constant column keeps scale 1."""
        spread, mean = torch.std_mean(readout, dim=0)
        self.center.copy_(mean)
        self.scale.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    def orient(self, readout: Tensor, whitening: float) -> None:
        """Set the directions from the readout (images, width) of public images: their principal axes.

        Along an axis of variance v numbers are divided by v to the power of `whitening` (0 to 1/2: equal spread), and
        all by one number, so that the mean square of an image's norm is 1.

        Raises InputError where the images do not vary in so many directions.
        """
        if self.directions is None:
            return
        scaled = ((readout - self.center) / self.scale).double()
        variance, axes = torch.linalg.eigh(torch.cov(scaled.T))
        largest = torch.arange(len(variance) - 1, -1, -1)[: self.directions.shape[1]].to(variance.device)
        if variance[largest[-1]] < 1e-6 * variance[largest[0]]:
            raise InputError(
                f"diagnosis.directions: drawn patches do not vary in {len(largest)} directions; take fewer"
            )
        axes = axes[:, largest]
        axes = axes * axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()  # else either sign would do
        axes = axes / variance[largest] ** whitening
        self.directions.copy_(axes / (scaled @ axes).square().sum(dim=1).mean().sqrt())

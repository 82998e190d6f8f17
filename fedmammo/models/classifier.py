"""The classifier of lesions: a transformer cut into a frozen prefix and a trained rest, and a linear head.

The prefix is everything before the first trained layer. Its output depends on the image alone and is computed once
(fedmammo.features); training and scoring call the rest.
"""

import hashlib

import torch
from torch import Tensor, nn

from fedmammo.config.sections import DiagnosisConfig
from fedmammo.errors import InputError
from fedmammo.features.resize import resize
from fedmammo.models.transformer import load_transformer
from fedmammo.randomness import seed_of

CONSTANTS = ("center", "scale", "directions")


class Classifier(nn.Module):
    """`prefix(images)` → what is computed once; `forward(that)` → one logit per image, positive where malignant.

    Images are gray, (images, 1, rows, columns), values 0 to 1, of any size; the network sees them at `image_size`,
    three times the same channel, under the model's own normalisation. Without a frozen prefix (`train: bias | all`)
    `forward` takes the images themselves. What the head reads is first centred and scaled by constants that
    `standardize` sets from public images.

    Random tensors come from torch's global generator. Raises InputError for a configuration the network cannot have.
    """

    mean: Tensor
    std: Tensor
    center: Tensor
    scale: Tensor
    directions: Tensor | None

    def __init__(self, config: DiagnosisConfig) -> None:
        super().__init__()
        self.image_size = config.image_size
        self.half_precision = config.precision == "bfloat16"
        self.chain = load_transformer(config.network, config.weights, config.image_size)
        settings = self.chain.network.pretrained_cfg
        self.register_buffer("mean", torch.tensor(settings["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(settings["std"]).view(1, 3, 1, 1), persistent=False)

        self.read = () if config.features == "pooled" else tuple(config.features)
        blocks = len(self.chain.blocks)
        if self.read and self.read[-1] > blocks:
            raise InputError(
                f"diagnosis.features: block {self.read[-1]}, but {config.network} has {blocks} that can be read here"
            )
        self.depth = self.read[-1] if self.read else blocks
        self.frozen = self.depth  # blocks in the prefix
        if config.train.startswith("last_blocks"):
            self.frozen -= int(config.train.partition(":")[2])
            if self.frozen < 0:
                raise InputError(
                    f"diagnosis.train: {config.train}, but {self.depth} blocks of {config.network} are run"
                )
        self.has_prefix = config.train == "head" or config.train.startswith("last_blocks")

        if config.train != "head" and any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in self.modules()):
            raise InputError(
                f"diagnosis.network: {config.network} has batch normalisation, whose statistics would stay at each "
                "hospital; use train: head, or another network"
            )
        image = torch.zeros(1, 1, self.image_size, self.image_size)
        try:
            with torch.no_grad():
                tokens, _ = self._walk(self.chain.embed(self.normalize(image)), 0, self.frozen)
                self.token_shape = tokens.shape[1:]
                readout = self.readout(self.prefix(image) if self.has_prefix else image)
        except AssertionError as error:  # timm checks the image against its patches when it meets one
            raise InputError(f"diagnosis.image_size: {config.network} says: {error}") from error
        if not readout.isfinite().all():
            raise InputError(
                f"diagnosis.image_size: {self.image_size} leaves a block of {config.network} a single patch, which has "
                "no standard deviation; take a larger one, or features: pooled"
            )
        width = readout.shape[1]
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        if config.directions is not None and config.directions > width:
            raise InputError(f"diagnosis.directions: {config.directions}, but the head reads {width} numbers only")
        axes = None if config.directions is None else torch.eye(width)[:, : config.directions]
        self.register_buffer("directions", axes)
        self.head = nn.Linear(config.directions or width, 1)
        self._freeze(image, only_bias=config.train == "bias")

    def normalize(self, images: Tensor) -> Tensor:
        """Resize gray images to the network's input and normalise: (images, 3, side, side)."""
        return (resize(images, self.image_size) - self.mean) / self.std

    def _walk(self, tokens: Tensor, start: int, stop: int) -> tuple[Tensor, list[Tensor]]:
        """Run blocks start + 1 ... stop; return the tokens and the statistics of those that are read."""
        statistics = []
        for number in range(start + 1, stop + 1):
            tokens = self.chain.blocks[number - 1](tokens)
            if number in self.read:
                statistics.append(self.chain.statistics(tokens))
        return tokens, statistics

    @torch.no_grad()
    def prefix(self, images: Tensor) -> Tensor:
        """Run the frozen part: (images, 1, rows, columns) → (images, length) float32.

        Where only the head is trained, this is what the head reads; else the tokens at the cut, flat, followed by
        the statistics of the blocks read before it.
        """
        return self._prefix(images)

    def _prefix(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.half_precision):
            tokens, statistics = self._walk(self.chain.embed(self.normalize(images)), 0, self.frozen)
            if self.frozen == self.depth:
                return torch.cat(statistics, dim=1).float() if self.read else self.chain.pool(tokens).float()
            return torch.cat([tokens.flatten(1), *statistics], dim=1).float()

    def readout(self, inputs: Tensor) -> Tensor:
        """Return what the head reads, (images, width), from the prefix's output, or from images without a prefix."""
        if self.has_prefix and self.frozen == self.depth:
            return inputs
        if self.has_prefix:
            length = self.token_shape.numel()
            tokens, earlier = inputs[:, :length].unflatten(1, self.token_shape), [inputs[:, length:]]
            tokens, later = self._walk(tokens, self.frozen, self.depth)
        else:
            earlier = []
            tokens, later = self._walk(self.chain.embed(self.normalize(inputs)), 0, self.depth)
        return torch.cat(earlier + later, dim=1) if self.read else self.chain.pool(tokens)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (images,), from the prefix's output, or from images where nothing is frozen."""
        return self.head(self.standard(inputs)).squeeze(1)

    def standard(self, inputs: Tensor) -> Tensor:
        """Return what the head reads: centred and scaled, (images, width), and along any directions."""
        centred = self.readout(inputs) - self.center  # a copy, which is then scaled where it lies: it may be large
        scaled = centred.div_(self.scale)
        return scaled @ self.directions if self.directions is not None else scaled

    def standard_of(self, images: Tensor) -> Tensor:
        """Return what the head reads of images (images, 1, rows, columns); gradients pass to them."""
        return self.standard(self._prefix(images) if self.has_prefix else images)

    @property
    def typical_length(self) -> float:
        """Root mean square length of what the head reads of drawn patches: by `standardize`, or by `orient`."""
        return 1.0 if self.directions is not None else len(self.center) ** 0.5

    @property
    def constants(self) -> dict[str, Tensor]:
        """What a model needs beside its trained tensors and the frozen backbone, by name (CONSTANTS)."""
        return {name: tensor for name in CONSTANTS if (tensor := getattr(self, name)) is not None}

    def standardize(self, readout: Tensor) -> None:
        """Set centre and scale from the readout (images, width) of public images; a constant column keeps scale 1."""
        spread, mean = torch.std_mean(readout, dim=0)
        self.center.copy_(mean)
        self.scale.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    def orient(self, readout: Tensor) -> None:
        """Set the directions from the readout (images, width) of public images: their principal axes.

        Along an axis of variance v numbers are divided by the root of the root of v, half way to equal spread, and all
        by one number, so that the mean square of an image's norm is 1.

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
        axes = axes / variance[largest] ** 0.25
        self.directions.copy_(axes / (scaled @ axes).square().sum(dim=1).mean().sqrt())

    def _freeze(self, image: Tensor, only_bias: bool) -> None:
        """Train what the part after the prefix uses and nothing else: a backward pass tells which tensors those are."""
        self.train(False)
        with torch.enable_grad():
            self(self.prefix(image) if self.has_prefix else image).sum().backward()
        for name, parameter in self.named_parameters():
            used = parameter.grad is not None and (not only_bias or name.endswith(".bias") or name.startswith("head."))
            parameter.requires_grad_(used)
            parameter.grad = None

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the trained tensors by name: all that travels."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def digest(self) -> str:
        """SHA-256 over names and values of every tensor of the network without its head: names the backbone."""
        state = hashlib.sha256()
        for name, tensor in self.chain.state_dict().items():
            state.update(name.encode())
            state.update(tensor.cpu().numpy().tobytes())
        return state.hexdigest()


def build_classifier(config: DiagnosisConfig, seed: int = 0) -> Classifier:
    """Build a classifier whose random tensors come from this seed.

    Frozen random tensors are part of the configuration: every process builds with the default seed. Raises InputError
    for a configuration that the network cannot have, and for a network that does not work as timm's transformers do.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return Classifier(config)
        except (AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"diagnosis.network: {config.network} cannot be a classifier at image_size {config.image_size} "
                f"with features {config.features} and train {config.train}: {reason}"
            ) from error


def initial_model(config: DiagnosisConfig, seed: int) -> dict[str, Tensor]:
    """Return the trained tensors with which every arm of a study starts under this study seed."""
    trained = build_classifier(config, seed_of(seed, "initial model")).trained()
    return {name: parameter.detach().clone() for name, parameter in trained.items()}

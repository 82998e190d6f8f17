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
from fedmammo.models.head import LinearHead
from fedmammo.randomness import seed_of


class Classifier(LinearHead):
    """`prefix(images)` → what is computed once; `forward(that)` → one logit per image, positive where malignant.

    Images are gray, (images, 1, rows, columns), values 0 to 1, of any size; the network sees them at `image_size`,
    three times the same channel, under the model's own normalisation. Without a frozen prefix (`train: bias | all`)
    `forward` takes the images themselves.

    Random tensors come from torch's global generator. Raises InputError for a configuration the network cannot have.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: DiagnosisConfig) -> None:
        from fedmammo.models.transformer import load_transformer  # timm: heavy, and a head alone needs none

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
        self.add_head(readout.shape[1], config.directions)
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
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.half_precision):
            return self._readout(inputs).float()

    def _readout(self, inputs: Tensor) -> Tensor:
        if self.has_prefix:
            length = self.token_shape.numel()
            tokens, earlier = inputs[:, :length].unflatten(1, self.token_shape), [inputs[:, length:]]
            tokens, later = self._walk(tokens, self.frozen, self.depth)
        else:
            earlier = []
            tokens, later = self._walk(self.chain.embed(self.normalize(inputs)), 0, self.depth)
        return torch.cat(earlier + later, dim=1) if self.read else self.chain.pool(tokens)

    def standard_of(self, images: Tensor) -> Tensor:
        """Return what the head reads of images (images, 1, rows, columns); gradients pass to them."""
        return self.standard(self._prefix(images) if self.has_prefix else images)

    def _freeze(self, image: Tensor, only_bias: bool) -> None:
        """Train what the part after the prefix uses and nothing else: a backward pass tells which tensors those are."""
        self.train(False)
        with torch.enable_grad():
            self(self.prefix(image) if self.has_prefix else image).sum().backward()
        for name, parameter in self.named_parameters():
            used = parameter.grad is not None and (not only_bias or name.endswith(".bias") or name.startswith("head."))
            parameter.requires_grad_(used)
            parameter.grad = None

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

"""Networks as this process opens them: each once, and not at all where a head reads features that are there.

What is worked out from a network and from drawn patches, which no patient has a part in, is kept in a public folder:
how the head centres, scales and projects what it reads, what features depend on, the tensors that training begins with.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmammo.config.sections import DiagnosisConfig
from fedmammo.config.weights import name_of_weights
from fedmammo.disk.files import alone, digest_of_content, digest_of_sources, read_tensors, write_tensors
from fedmammo.features.harmonisation import harmonise
from fedmammo.features.views import View
from fedmammo.models.classifier import Classifier, build_classifier, initial_model
from fedmammo.models.head import LinearHead, Taught
from fedmammo.phantom.patches import draw_patches

PREFIX = (
    "models/classifier.py",
    "models/transformer.py",
    "features/views.py",
    "features/harmonisation.py",
    "hospitals/digitiser.py",
    "randomness.py",
)  # the code that features depend on
NETWORK = (
    "network", "weights", "image_size", "features", "directions", "whitening", "stand_ins", "train", "head",
    "harmonisation", "precision",
)  # fmt: skip
ANY = {"learning_rate": 1.0}  # of an optimiser, which the network does not depend on
STAND_INS = 64  # phantom patches whose features centre and scale what the head reads: public, so they cost no privacy
DIRECTION_STAND_INS = 2048  # as many, where their features also give the directions that the head reads
OPENED = "opened-"  # before the name of a file that tells how a network is opened
START = "start/"  # before the names of the tensors before any training
Model = TypeVar("Model", bound=LinearHead)


class Opened(NamedTuple):
    """A classifier as this process has it.

    Attributes:
        model: what is trained: the head where that alone is, else the whole classifier.
        network: opens the classifier.
        prefix: what the outputs of its frozen prefix depend on.
        constants: names how the head centres, scales and projects what it reads.
        start: the trained tensors before any training, by name.
    """

    model: LinearHead
    network: Callable[[], Classifier]
    prefix: dict[str, Any]
    constants: str
    start: dict[str, Tensor]


def open_classifier(config: DiagnosisConfig, device: torch.device, public: Path) -> Opened:
    """Open a classifier, centred and scaled by drawn patches; a process opens each once.

    `public`: folder in which what is worked out from drawn patches is kept.
    """
    return _open(network_of(config).model_dump_json(), device.type, public.resolve())


def backbone_of(config: DiagnosisConfig, device: torch.device, public: Path) -> str:
    """Return `Classifier.digest`. Raises InputError for a configuration that the network cannot have."""
    network = network_of(config)
    path = _file_of(network, device.type, public)
    if not path.exists():
        return build_classifier(network).digest()
    return str(json.loads(read_tensors(path)[1]["prefix"])["backbone"])


def start_of(config: DiagnosisConfig, seed: int, public: Path) -> dict[str, Tensor]:
    """Return `initial_model`, for which a network is built: of a head, it is kept in the public folder."""
    network = network_of(config)
    if config.head == "weights":  # nothing is random
        return dict(open_classifier(config, torch.device("cpu"), public).start)
    if config.train != "head":
        return initial_model(network, seed)
    path = public / f"initial-{digest_of_content(_names(network))[:16]}-{seed}.safetensors"
    with alone(public):  # deployments side by side need not all build it
        if not path.exists():
            write_tensors(path, initial_model(network, seed))
    found = read_tensors(path)[0]
    return {name: found[name] for name in ("head.weight", "head.bias")}  # in the classifier's order


def stand_ins_of(config: DiagnosisConfig, device: torch.device, public: Path) -> Tensor:
    """Return what the head reads of the drawn patches that centre and scale it, as it is: (patches, width)."""
    opened = open_classifier(config, device, public)
    return _read_stand_ins(opened.network(), network_of(config), opened.prefix, public.resolve())


def network_of(config: DiagnosisConfig) -> DiagnosisConfig:
    """Return what a network is, without its views and how it is trained: those who differ in these share it."""
    return DiagnosisConfig.model_validate({name: getattr(config, name) for name in NETWORK} | {"optimizer": ANY})


def _file_of(config: DiagnosisConfig, device: str, public: Path) -> Path:
    """Name the file that keeps how a network is opened."""
    worked_out = digest_of_sources("phantom", "features/opening.py", "models/head.py")
    about = _names(config) | {"device": device, "how": worked_out}
    return public.resolve() / f"{OPENED}{digest_of_content(about)[:16]}.safetensors"


def _names(config: DiagnosisConfig) -> dict[str, Any]:
    """Name a network, its weights and the code that runs it, without building it."""
    weights = name_of_weights(config.weights)
    if weights == "hub":
        weights = _digest_of_hub(config.model_dump_json())
    about = config.model_dump(mode="json") | {"weights": weights, "code": digest_of_sources(*PREFIX)}
    return about | {"libraries": [version(name) for name in ("torch", "timm")]}


@lru_cache(maxsize=16)
def _digest_of_hub(network: str) -> str:
    """Name what the hub gives today."""
    return build_classifier(DiagnosisConfig.model_validate_json(network)).digest()


@lru_cache(maxsize=16)
def _open(network: str, device: str, public: Path) -> Opened:
    config = DiagnosisConfig.model_validate_json(network)

    @lru_cache
    def build() -> Classifier:
        return build_classifier(config).to(device)

    path = _file_of(config, device, public)
    with alone(public):  # hospitals on one machine need not all compute it
        if not path.exists():
            _work_out(build(), config, path)
    tensors, metadata = read_tensors(path)
    constants = {name: tensor for name, tensor in tensors.items() if not name.startswith(START)}
    kept = {name.removeprefix(START): tensor for name, tensor in tensors.items() if name.startswith(START)}
    opened = lru_cache(lambda: _with_constants(build(), constants))
    if config.train == "head":
        with torch.random.fork_rng(devices=[]):
            model = LinearHead(len(constants["center"]), config.directions).to(device)
        start, model = kept, _with_constants(model, constants)
    else:
        model = opened()
        start = {name: parameter.detach().clone() for name, parameter in model.trained().items()}
        start |= {name: tensor for name, tensor in kept.items() if config.head == "weights"}
    return Opened(model, opened, json.loads(metadata["prefix"]), str(path), start)


def _with_constants(model: Model, constants: dict[str, Tensor]) -> Model:
    for name, tensor in constants.items():
        getattr(model, name).copy_(tensor)
    return model


def _work_out(classifier: Classifier, config: DiagnosisConfig, path: Path) -> None:
    """Keep what a network makes of drawn patches, what its prefix depends on, and the head it is built with."""
    device = classifier.mean.device
    prefix = {
        "backbone": classifier.digest(),
        "network": config.network,  # the same weights may come with another normalisation
        "read": classifier.read,
        "depth": classifier.depth,
        "frozen": classifier.frozen if classifier.has_prefix else None,
        "image_size": config.image_size,
        "precision": config.precision,
        "harmonisation": config.harmonisation,
        "device": device.type,
        "code": digest_of_sources(*PREFIX),
        "libraries": [version(name) for name in ("torch", "timm")],
    }
    with torch.no_grad():
        readout = _read_stand_ins(classifier, config, prefix, path.parent)
        classifier.standardize(readout)
        classifier.orient(readout, config.whitening)
        if config.head == "weights":
            classifier.begin(Taught.read(config.weights))
    head = {name: tensor for name, tensor in classifier.trained().items() if name.startswith("head.")}
    kept = classifier.constants | {f"{START}{name}": tensor for name, tensor in head.items()}
    write_tensors(path, kept, {"prefix": json.dumps(prefix)})


def _read_stand_ins(classifier: Classifier, config: DiagnosisConfig, prefix: dict[str, Any], public: Path) -> Tensor:
    """Return what the head reads of drawn patches, (patches, width); kept, as directions and heads may differ."""
    count = DIRECTION_STAND_INS if config.directions else STAND_INS
    about = {**prefix, "count": count, "stand_ins": config.stand_ins, "how": digest_of_sources("phantom")}
    path = public / f"stand-ins-{digest_of_content(about)[:16]}.safetensors"
    if not path.exists():
        device = classifier.mean.device
        patches = _stand_ins(count, config.stand_ins == "varied")
        shown = [View().of(harmonise(patch, config.harmonisation, None)).to(device) for patch in patches]
        found = torch.cat([classifier.readout(encode(classifier, image)) for image in shown])
        write_tensors(path, {"readout": found})
    return read_tensors(path)[0]["readout"].to(classifier.mean.device)


@lru_cache(maxsize=1)  # other networks read the same
def _stand_ins(count: int, varied: bool) -> NDArray[np.uint16]:
    return draw_patches(count, seed=0, varied=varied)[0]


def encode(classifier: Classifier, image: Tensor) -> Tensor:
    """Return what is stored of an image: the prefix's output, or the image itself where nothing is frozen."""
    return classifier.prefix(image) if classifier.has_prefix else image

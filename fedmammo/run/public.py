"""What the server has of a study that no patient has a part in: the network, as drawn patches centre and scale it."""

from pathlib import Path

import torch

from fedmammo.cohort.store import FEATURES, folder_of_features
from fedmammo.config.deployment import Deployment
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.config.study import StudyConfig
from fedmammo.features.inputs import Inputs
from fedmammo.features.opening import backbone_of, start_of
from fedmammo.stages.opened import pick_device, with_weights
from fedmammo.stages.stage import Tensors


class Public:
    """The server's own network and computer.

    Args:
        config: the study.
        run: folder of the run.
    """

    def __init__(self, config: StudyConfig, run: Path) -> None:
        self._weights = config.weights
        self.threads = config.engine.threads_per_hospital
        self.device: torch.device = pick_device(config.engine.device)
        # Where there are features of patients, there a simulation keeps what is worked out from drawn patches.
        if config.at_sites:
            self.folder = Path(config.engine.features or run / FEATURES).resolve()
        else:
            self.folder = folder_of_features(config.cohort_folder, config.engine.features, run)

    def diagnosis(self, deployment: Deployment) -> DiagnosisConfig:
        """Return a deployment's classifier, with the file of its weights."""
        return with_weights(deployment.diagnosis, self._weights)

    def backbone(self, deployment: Deployment) -> str:
        """Name a deployment's network by all its tensors. Raises InputError where it cannot be."""
        return backbone_of(self.diagnosis(deployment), self.device, self.folder)

    def start(self, deployment: Deployment) -> Tensors:
        """Return the tensors with which a deployment's training begins, by name."""
        return start_of(self.diagnosis(deployment), deployment.seed, self.folder)

    def inputs(self, deployment: Deployment) -> Inputs:
        """Open a deployment's network, without any image."""
        return Inputs(None, self.diagnosis(deployment), self.device, None, self.folder)

"""Pretraining: what the holder of a pool does with it, before or instead of any patient."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedmammo.config.deployment import Deployment
from fedmammo.disk.files import alone
from fedmammo.errors import StudyError
from fedmammo.features.inputs import FEATURES_AT_ONCE, Inputs
from fedmammo.randomness import generator_of
from fedmammo.synthesis.names import PRETRAINING
from fedmammo.training import steps
from fedmammo.training.state import commit_state, join_kinds, load_state, of_kind


def pretrain(
    inputs: Inputs,
    pool: str,
    deployment: Deployment,
    folder: Path,
    initial: dict[str, Tensor],
    report: Callable[[str, int], None],
) -> tuple[dict[str, Tensor], list[float]]:
    """Train on a pool as on patients, each image one of its own: as many rounds of steps as the study takes.

    It depends on the pool, the seed and how it is trained alone, so that arms, settings, draws and folds share it where
    these are the same; it is continued after the last round that was finished.

    Args:
        inputs: the network, with the pool's images and none else.
        pool: digest of the pool.
        deployment: how the pool is learned from (`StudyConfig.pretraining`).
        folder: where what is finished is kept (`pretraining_name`).
        initial: the model to begin with.
        report: told what is being done, and the number of each round or image that is finished.

    Returns:
        The trained tensors, and each round's loss.

    Raises StudyError where the model is not finite.
    """
    rows = np.arange(len(inputs.malignant))
    for start in range(0, len(rows), FEATURES_AT_ONCE):
        inputs.compute(rows[start : start + FEATURES_AT_ONCE])
        report("features", min(start + FEATURES_AT_ONCE, len(rows)))
    rounds, local_steps = deployment.federation.rounds, deployment.federation.local_steps
    with alone(folder):  # deployments that begin with it may run side by side
        kept = load_state(folder, before=rounds + 1)
        model = initial | of_kind(kept, "model")  # in the order of `initial`: a file forgets it
        state = of_kind(kept, "state")
        losses = kept.get("losses", torch.zeros(0, dtype=torch.float64))
        for number in range(len(losses) + 1, rounds + 1):
            stream = generator_of(deployment.seed, PRETRAINING, pool, number)
            trained, numbers, state = steps.train(
                inputs, list(rows[:, None]), deployment.diagnosis, local_steps, stream, model, state
            )
            model = trained.model
            if not all(tensor.isfinite().all() for tensor in (*model.values(), *state.values())):
                raise StudyError("pretraining: the model is not finite; a smaller learning rate may help")
            losses = torch.cat([losses, torch.tensor([numbers["loss"]], dtype=torch.float64)])
            commit_state(folder, number, {**join_kinds(model=model, state=state), "losses": losses})
            report("pretrain", number)
    return model, losses.tolist()


def pretraining_name(pool: str, deployment: Deployment) -> str:
    """Name what is pretrained, by all that it depends on."""
    federation = deployment.federation
    trained = f"{pool} {federation.rounds} {federation.local_steps} {deployment.diagnosis.model_dump_json()}"
    return f"{PRETRAINING}-seed{deployment.seed}-{hashlib.sha256(trained.encode()).hexdigest()[:16]}"

"""Pretraining: what the holder of a pool does with it, before or instead of any patient."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedmammo.config.study import StudyConfig
from fedmammo.errors import StudyError
from fedmammo.randomness import generator_of
from fedmammo.training import steps
from fedmammo.training.site import open_inputs
from fedmammo.training.state import commit_state, join_kinds, load_state, of_kind
from fedmammo.training.task import PRETRAINING


def pretrain(
    config: StudyConfig,
    seed: int,
    run: Path,
    pool: str,
    initial: dict[str, Tensor],
    report: Callable[[int], None],
) -> tuple[dict[str, Tensor], list[float]]:
    """Train on a pool as on patients, each image one of its own: as many rounds of steps as the study takes.

    It depends on the pool, the seed and how it is trained alone, so that arms, settings, draws and folds share it where
    these are the same; it is continued after the last round that was finished.

    Args:
        config: the study, as the cell runs it.
        seed: of the study.
        run: folder of the run, which holds the pool.
        pool: digest of the pool, whose features are computed.
        initial: the model to begin with.
        report: told the number of each round that is finished.

    Returns:
        The trained tensors, and each round's loss.

    Raises:
        StudyError: the model is not finite, or the pool was altered.
    """
    inputs = open_inputs(config.model_dump_json(), str(run.resolve()), pool)
    torch.set_num_threads(config.engine.threads_per_hospital)
    images = np.arange(inputs.images_of_patients, len(inputs.malignant))[:, None]
    rounds, local_steps = config.federation.rounds, config.federation.local_steps
    trained = f"{pool} {rounds} {local_steps} {config.diagnosis.model_dump_json()}"
    name = f"{PRETRAINING}-seed{seed}-{hashlib.sha256(trained.encode()).hexdigest()[:16]}"
    folder = run / "cells" / name
    kept = load_state(folder, before=rounds + 1)
    model = initial | of_kind(kept, "model")  # in the order of `initial`: a file forgets it
    state = of_kind(kept, "state")
    losses = kept.get("losses", torch.zeros(0, dtype=torch.float64))
    for number in range(len(losses) + 1, rounds + 1):
        model, numbers, state = steps.train(
            inputs,
            list(images),
            config.diagnosis,
            local_steps,
            generator_of(seed, PRETRAINING, pool, number),
            model,
            state,
        )
        if not all(tensor.isfinite().all() for tensor in (*model.values(), *state.values())):
            raise StudyError("pretraining: the model is not finite; a smaller learning rate may help")
        losses = torch.cat([losses, torch.tensor([numbers["loss"]], dtype=torch.float64)])
        commit_state(folder, number, {**join_kinds(model=model, state=state), "losses": losses})
        report(number)
    return model, losses.tolist()

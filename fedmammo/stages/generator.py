"""Generators: rounds of a GAN at every holder of patients, and what the server makes of them."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from fedmammo.config.deployment import Deployment
from fedmammo.disk.files import write_bytes
from fedmammo.errors import StudyError
from fedmammo.features.inputs import Inputs
from fedmammo.features.resize import resize
from fedmammo.hospitals.holder import Holder
from fedmammo.models.mcgan import PARTS, Mcgan, build_mcgan, of_parts
from fedmammo.privacy.answer import Answer, Mark
from fedmammo.privacy.guard import Guard
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.randomness import generator_of
from fedmammo.stages.faults import crash_if_ordered
from fedmammo.stages.stage import Incoming, Tensors, Turn, Work
from fedmammo.stages.tensors import check_arrived
from fedmammo.strategies.base import BaseStrategy
from fedmammo.synthesis.grid import grid_of
from fedmammo.synthesis.names import gan_name
from fedmammo.training.gan import TRAVELS, Patients, patients_from, steps_of, train_gan
from fedmammo.training.private_gan import train_discriminator
from fedmammo.training.state import commit_state, join_kinds, load_state, of_kind


class Generator:
    """A round is `synthesis.local_steps` steps of the GAN. Under a budget, of its discriminator alone.

    Where hospitals send discriminators, the server trains the generator after each round.

    Args:
        initial: all tensors of the GAN with which everybody starts; the server's.
    """

    def __init__(self, initial: Tensors | None = None) -> None:
        self.initial = initial or {}

    name: ClassVar[str] = "generator"
    fields: ClassVar[dict[str, Mark]] = {
        "tensors": "charged",  # steps along noised sums of clipped gradients
        "num-examples": "public",
        "epsilon": "public",
        "loss": "local",
        "generator_loss": "local",
        "images": "local",
    }

    def at_hospital(self, work: Work, incoming: Incoming, guard: Guard) -> Answer:
        """Take a round's steps; answers the parts of the GAN that travel, commits the rest as state.

        `incoming`: `arrays` (parts that travelled), `initial` (the GAN to begin with), `generator` (the server's).
        """
        deployment, number, site = work.deployment, work.job.round, work.site
        source, name = deployment.gan, gan_name(deployment, site.name)
        folder = site.folder / site.name_of(deployment, name)
        before = load_state(folder, before=number)
        gan, moments = build_mcgan(source), of_kind(before, "state")
        sent = [tensors for key, tensors in incoming.items() if key != "initial"]
        for tensors in (
            incoming.get("initial", {}),
            of_kind(before, "gan"),
            *sent,
        ):  # what is sent replaces what is kept
            known = {key: tensor for key, tensor in gan.state_dict().items() if key in tensors}
            check_arrived(tensors, known)
            gan.load(tensors)
        inputs = work.inputs_alone
        gan.to(inputs.device)
        patients, steps = patients_of(inputs, work.holder, source.image_size), steps_of(source, number)
        generator = generator_of(source.seed, name, number, site.name)

        def draw(private: PrivateSteps | None) -> Answer:
            numbers: dict[str, float] = {}
            crash_if_ordered(work)
            if private is None:
                parts = ["discriminator"] if source.combine == "discriminator" else ["discriminator", "generator"]
                numbers, state = train_gan(gan, parts, patients, source.batch, steps, generator, moments)
            else:
                state = train_discriminator(gan, patients, source.batch, steps, generator, moments, private)
            networks = gan.tensors(*PARTS)
            if not all(tensor.isfinite().all() for tensor in (*networks.values(), *state.values())):
                raise StudyError("its GAN is not finite; fewer steps may help")
            commit_state(folder, number, join_kinds(gan=networks, state=state), work.job.keep)
            show_progress(site.pools, name, site.name, number, gan)
            return Answer(gan.tensors(*TRAVELS[source.combine]), numbers)

        depends_on = {
            "generator": name,
            "study": deployment.study,
            "learned_from": work.learned_from,
            "networks": gan.tensors(*PARTS),
            "state": moments,
        }
        answer = guard.release(self.name, number, depends_on, draw)
        return Answer(answer.tensors, work.declared | answer.numbers)

    def rounds(self, deployment: Deployment) -> int:
        """As many as the source says."""
        return deployment.gan.rounds

    def averaged(self, deployment: Deployment) -> int:
        """Return 1: the last round alone, as the generator is an average over steps already."""
        return 1

    def strategy(self, deployment: Deployment) -> BaseStrategy:
        """The study's in a federation."""
        return deployment.strategy

    def beside(self, deployment: Deployment, kept: Tensors, began: bool) -> Incoming:
        """The whole GAN until every member has begun with it, and the generator that the server trains."""
        own = of_parts(of_kind(kept, "gan"), "generator")
        return ({} if began else {"initial": self.initial}) | ({"generator": own} if own else {})

    def at_server(self, turn: Turn) -> tuple[Tensors, Tensors]:
        """Combine what was sent; train the generator against the combined discriminator, if that is what was sent."""
        source, model = turn.deployment.gan, turn.mean()
        if source.combine != "discriminator":
            return model, turn.kept
        gan = build_mcgan(source)
        for tensors in (self.initial, of_kind(turn.kept, "gan"), model):
            gan.load(tensors)
        gan.to(turn.device)
        stream = (source.seed, gan_name(turn.deployment, turn.group), turn.number, "server")
        steps, state = steps_of(source, turn.number), of_kind(turn.kept, "state")
        _, state = train_gan(gan, ["generator"], None, source.batch, steps, generator_of(*stream), state)
        kept = join_kinds(gan=gan.tensors("generator", "average"), state=state)
        return model, kept


def show_progress(pools: Path, name: str, holder: str, number: int, gan: Mcgan) -> None:
    """Keep a picture of what a generator draws after a round of this holder, or of the server."""
    write_bytes(pools / "progress" / name / f"{holder}-round-{number:05d}.png", grid_of(gan))


def patients_of(inputs: Inputs, holder: Holder, side: int) -> Patients:
    """Gather what a GAN learns from: the holder's training images as the study shows them, resized."""
    rows = np.concatenate(holder.training)
    shown = np.stack([inputs.patch(row) for row in rows]).astype(np.float32) / 65535
    images = resize(torch.from_numpy(shown)[:, None], side)
    malignant = torch.from_numpy(inputs.malignant[rows].astype(np.int64))
    return patients_from(2 * images - 1, malignant, [len(own) for own in holder.training])

"""Generators of synthetic images: trained by groups of hospitals, combined as the study says, sampled by quota."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from flwr.app import MessageType, RecordDict
from numpy.typing import NDArray
from torch import Tensor

from fedmammo.config.sections import ALL
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import write_tensors
from fedmammo.errors import StudyError
from fedmammo.federation.arms import Group, groups_of
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.federation.embeddings import EmbeddingRounds
from fedmammo.federation.rounds import Rounds
from fedmammo.federation.server import Server, numbers_of
from fedmammo.models.mcgan import build_mcgan, of_parts
from fedmammo.privacy.plan import Plan
from fedmammo.randomness import generator_of
from fedmammo.run.folder import PHANTOM_GAN, write_rounds
from fedmammo.synthesis.pool import Synthetic
from fedmammo.synthesis.sampling import sample_pool
from fedmammo.training.gan import TRAVELS, gan_name, gan_of, steps_of, train_gan
from fedmammo.training.phantom_gan import phantom_gan
from fedmammo.training.site import pick_device
from fedmammo.training.state import join_kinds, of_kind
from fedmammo.training.task import Cell


class GanRounds(Rounds):
    """Rounds of a GAN. Where hospitals send discriminators, the server trains the generator after each round.

    Args:
        server: speaks to the hospitals.
        cell: the deployment.
        config: the study, as the cell's arm runs it.
        groups: who trains with whom.
        initial: all tensors of the GAN with which everybody starts.
        plan: what hospitals agreed to, where the GAN has a part of the budget.
    """

    stage = "generator"

    def __init__(
        self,
        server: Server,
        cell: Cell,
        config: StudyConfig,
        groups: list[Group],
        initial: dict[str, Tensor],
        plan: Plan | None,
    ) -> None:
        super().__init__(server, cell, config, groups, {}, plan)
        self.initial = initial

    @property
    def rounds(self) -> int:
        """How many there are."""
        return gan_of(self.config).rounds

    @property
    def averaged(self) -> int:
        """The last round alone: the generator is an average over steps already."""
        return 1

    def beside(self, checkpoint: Checkpoint, group: Group) -> dict[str, dict[str, Tensor]]:
        """The whole GAN until every member has begun with it, and the generator that the server trains."""
        began = {row["hospital"] for row in checkpoint.rows if row["status"] == "ok"}
        members = {ALL} if group.pooled else {self.server.hospitals[position].name for position in group.members}
        sent = {} if members <= began else {"initial": self.initial}
        generator = of_parts(of_kind(checkpoint.kept.get(group.name, {}), "gan"), "generator")
        return sent | ({"generator": generator} if generator else {})

    def combined(self, checkpoint: Checkpoint, group: Group, number: int) -> None:
        """Train the generator against the combined discriminator, as many steps as hospitals took; keep its state."""
        source = gan_of(self.config)
        if source.combine != "discriminator":
            return
        kept = checkpoint.kept.get(group.name, {})
        gan = build_mcgan(source)
        gan.load(self.initial)
        gan.load(of_kind(kept, "gan"))
        gan.load(checkpoint.models[group.name])
        gan.to(pick_device(self.config.engine.device))
        torch.set_num_threads(self.config.engine.threads_per_hospital)
        stream = (source.seed, gan_name(self.cell, self.config, group.pooled, group.name), number, "server")
        steps, state = steps_of(source, number), of_kind(kept, "state")
        _, state = train_gan(gan, ["generator"], None, source.batch, steps, generator_of(*stream), state)
        checkpoint.kept[group.name] = join_kinds(gan=gan.tensors("generator", "average"), state=state)


def generate(
    server: Server, cell: Cell, config: StudyConfig, groups: list[Group], plan: Plan | None
) -> dict[str, Synthetic]:
    """Train an arm's generators inside the draw and fold that they serve; return what each group's pool holds.

    Where a federation pools its hospitals' own generators they are those of the local arm, and trained once for both.
    Under a budget nobody tells how many patients have which class: half of a generator's images show each.
    `plan`: what hospitals agreed to, if the setting has a budget, whether or not generators have a part of it.
    Raises StudyError where too few hospitals answer, or one has no generator that its local arm needs.
    """
    source = gan_of(config)
    names = [hospital.name for hospital in server.hospitals]
    pooling = source.method == "adversarial" and source.combine == "pool" and cell.arm == "federated"
    trained = groups_of("local", names, config.federation.strategy) if pooling else groups
    checkpoint, about = _train(server, cell, config, trained, plan if config.private_generator else None)
    took_part = {row["hospital"] for row in checkpoint.rows if row["status"] == "ok"}
    if pooling:
        trained = [group for group in trained if group.name in took_part]
    elif cell.arm == "local" and (never := [group.name for group in trained if group.name not in took_part]):
        raise StudyError(
            f"{never[0]}: has no generator for the local arm, as it never answered while the federated arm trained; "
            "let it answer and run the study with another --out, or leave local out of arms"
        )
    alike = {position: np.ones(2) for position in range(len(names))}
    patients = alike if config.private_generator else _count(server, cell, config)

    generators, weights = {}, {}
    for group in trained:
        kept = of_kind(checkpoint.kept.get(group.name, {}), "gan")
        generators[group.name] = of_parts(kept or checkpoint.models[group.name], "average")
        members = range(len(names)) if group.pooled else group.members
        weights[group.name] = np.sum([patients[position] for position in members], axis=0)
        name = gan_name(cell, config, group.pooled, group.name)
        write_tensors(server.run / "models" / f"{name}.safetensors", generators[group.name])
    if not pooling:
        sampled = {name: sample_pool(source, {name: generators[name]}, weights) for name in generators}
        return {name: replace(images, about=about.get(name, {})) for name, images in sampled.items()}
    return {group.name: sample_pool(source, generators, weights) for group in groups}


def _train(
    server: Server, cell: Cell, config: StudyConfig, groups: list[Group], plan: Plan | None
) -> tuple[Checkpoint, dict[str, dict[str, float | None]]]:
    """Train the groups' generators, or take up what another arm or setting has trained.

    Returns the checkpoint, and what else is to be said of a group's generator, by the group's name.
    """
    source = gan_of(config)
    device = pick_device(config.engine.device)
    torch.set_num_threads(config.engine.threads_per_hospital)
    of = -(-source.phantom_steps // source.local_steps)
    report = partial(server.progress, cell, "phantom generator", {"server": "ok"}, of=of)
    initial = phantom_gan(source, server.run / "cells" / PHANTOM_GAN, device, report)
    name = gan_name(cell, config, groups[0].pooled, "hospitals")
    path = server.run / "cells" / name / "checkpoint.safetensors"  # a folder that RunFolder tidies
    about: dict[str, dict[str, float | None]] = {}
    if source.method == "mean_embedding":
        sums = EmbeddingRounds(server, cell, config, groups, plan)
        trained = sums.train(initial, path)
        about = {
            group: {"noise_over_contrast": means.noise_over_contrast} for group, means in sums.means(trained).items()
        }
    else:
        travels = of_parts(initial, *TRAVELS[source.combine])
        rounds = GanRounds(server, cell, config, groups, initial, plan)
        trained = rounds.run({group.name: travels for group in groups}, path)
    write_rounds(path.parent, trained.rows)
    return trained, about


def _count(server: Server, cell: Cell, config: StudyConfig) -> dict[int, NDArray[np.float64]]:
    """Ask each hospital how many training patients have images of a class, benign and malignant; by position."""
    content = RecordDict({"config": server.task("count", cell, config)})
    positions = list(range(len(server.hospitals)))
    answers = server.ask_all("count", content, f"{MessageType.QUERY}.count", positions, cell, 1)
    return {
        position: np.array([numbers_of(answer)[name] for name in ("benign", "malignant")])
        for position, answer in answers.items()
    }

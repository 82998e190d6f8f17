"""Faults at a simulated hospital, as its site file orders them: rehearsed, caught, recorded with their reason.

They strike rounds of the federated arm. Which ones is drawn from the study's named randomness, so that a study that was
interrupted goes on with the same faults.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fedmammo.config.faults import FLIPPED, Fault
from fedmammo.errors import StudyError
from fedmammo.privacy.answer import Answer
from fedmammo.randomness import generator_of
from fedmammo.stages.stage import Incoming, Tensors, Work

STRUCK = ("generator", "embedding", "train")


class FaultError(StudyError):
    """A hospital failed because the study ordered it to."""


def faults_of(work: Work) -> list[Fault]:
    """Return what strikes a job, in the order of the site file; a hospital that is not available drops out."""
    job, file = work.job, work.site.file
    if job.stage not in STRUCK or not work.deployment.arm.federated:
        return []
    ordered = [fault for fault in file.faults if fault.rounds is None or job.round in fault.rounds]
    if file.availability < 1:
        away = Fault(hospital=file.name, kind="drops_out", share=1 - file.availability)
        ordered = [away, *ordered]
    found = []
    for number, fault in enumerate(ordered):
        generator = generator_of(*work.deployment.stream, "faults", fault.kind, number, file.name, job.stage, job.round)
        if fault.kind != FLIPPED and (fault.share == 1 or generator.random() < fault.share):
            found.append(fault)
    return found


def with_faults(work: Work, incoming: Incoming, answer: Callable[[], Answer]) -> Answer:
    """Give a job's answer as its faults leave it. Raises FaultError where there is none.

    A hospital that drops out does nothing. One that is late has done its work: what it released is spent.
    """
    faults = faults_of(work)
    kinds = {fault.kind for fault in faults}
    if "drops_out" in kinds:
        raise FaultError("dropped out of the round, as the study orders")
    found = answer()
    if "late" in kinds:
        raise FaultError("answered late, as the study orders: nobody waited")
    tensors = found.tensors
    for fault in faults:
        tensors = _spoiled(fault, tensors, incoming.get("arrays", {}))
    return Answer(tensors, found.numbers, found.beside)


def crashes_in(work: Work) -> bool:
    """Whether the study orders a job to fail in the midst of a step, so that nothing of the round is kept."""
    return any(fault.kind == "crashes" for fault in faults_of(work))


def crash_if_ordered(work: Work) -> None:
    """Fail in the midst of a step, where the study orders it."""
    if crashes_in(work):
        raise FaultError("crashed in the midst of a step, as the study orders")


def _spoiled(fault: Fault, tensors: Tensors, sent: Tensors) -> Tensors:
    change: dict[str, Callable[[str, Tensor], Tensor]] = {
        "not_a_number": lambda _, tensor: torch.full(tensor.shape, torch.nan),
        "wrong_shape": lambda _, tensor: tensor[None],
        "scaled": lambda name, tensor: _scaled(tensor, sent.get(name), fault.factor),
    }
    if fault.kind == "wrong_names":
        return {f"{name}_of_another": tensor for name, tensor in tensors.items()}
    spoil = change.get(fault.kind)
    return tensors if spoil is None else {name: spoil(name, tensor) for name, tensor in tensors.items()}


def _scaled(tensor: Tensor, sent: Tensor | None, factor: float) -> Tensor:
    """Scale what a round changed; of a sum, all of it."""
    if sent is None or not tensor.is_floating_point():
        return (tensor * factor).to(tensor.dtype)
    return sent + factor * (tensor - sent)

"""Counting: how many training patients have images of a class. It decides whose generator draws how many images."""

from typing import ClassVar

from fedmammo.privacy.answer import Answer, Mark
from fedmammo.privacy.guard import Guard
from fedmammo.stages.stage import Incoming, Work


class Count:
    """A hospital counts its training patients by class; exact counts leave without a budget only."""

    name: ClassVar[str] = "count"
    fields: ClassVar[dict[str, Mark]] = {"benign": "local", "malignant": "local"}

    def at_hospital(self, work: Work, incoming: Incoming, guard: Guard) -> Answer:
        """Answer numbers `benign` and `malignant`: training patients who have images of the class."""
        labels = [work.site.records(work.deployment.draw).malignant[rows] for rows in work.holder.training]
        malignant, benign = sum(bool(own.any()) for own in labels), sum(not own.all() for own in labels)
        return Answer(numbers={"benign": float(benign), "malignant": float(malignant)})

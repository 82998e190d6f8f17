"""Features: the frozen prefix of the network, computed once of every image."""

from typing import ClassVar

from fedmammo.features.inputs import FEATURES_AT_ONCE, Rows
from fedmammo.privacy.answer import Answer, Mark
from fedmammo.privacy.guard import Guard
from fedmammo.stages.stage import Incoming, Work


class Features:
    """Of a hospital's patients, some images at a time; or of a pool, in the first round each hospital its part."""

    name: ClassVar[str] = "features"
    fields: ClassVar[dict[str, Mark]] = {"remaining": "public"}  # under a budget always 0

    def at_hospital(self, work: Work, incoming: Incoming, guard: Guard) -> Answer:
        """Compute features; answers how many images remain.

        Under a budget all are computed in one go: the number of parts would tell the number of images.
        """
        inputs = work.inputs
        rows = _part(work) if work.job.pool else work.holder.rows
        missing = inputs.missing(rows)
        part = missing[:FEATURES_AT_ONCE] if work.deployment.privacy is None or work.job.pool else missing
        inputs.compute(part)
        everything = inputs.missing(work.of_pool) if work.job.pool else missing[len(part) :]
        return Answer(numbers={"remaining": float(len(everything))})


def _part(work: Work) -> Rows:
    """Return the rows of a pool that are this hospital's to compute: its part, and when that is there, all."""
    return work.of_pool if work.job.round > 1 else work.of_pool[work.job.part :: work.job.parts]

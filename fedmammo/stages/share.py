"""Sharing: a pool of synthetic images comes to a hospital."""

from typing import ClassVar

from fedmammo.privacy.answer import Answer, Mark
from fedmammo.privacy.guard import Guard
from fedmammo.stages.stage import Incoming, Work
from fedmammo.synthesis.pool import keep_pool


class Share:
    """A hospital verifies and keeps a pool."""

    name: ClassVar[str] = "share"
    fields: ClassVar[dict[str, Mark]] = {}

    def at_hospital(self, work: Work, incoming: Incoming, guard: Guard) -> Answer:
        """Keep the pool, unless it is there. Raises StudyError where it is not the one that its digest names."""
        files = {name: content.numpy().tobytes() for name, content in incoming["arrays"].items()}
        keep_pool(work.site.pools, work.job.pool or "", files)
        return Answer()

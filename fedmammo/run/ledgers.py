"""Ledgers of real hospitals, as they show them: kept where a simulation's hospitals have theirs, and read alike."""

import json
from collections.abc import Mapping

from fedmammo.config.deployment import Deployment
from fedmammo.disk.files import write_bytes
from fedmammo.errors import StudyError
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.ledger import read_lines, spent_in
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.reasons import RefusalError
from fedmammo.run.folder import RunFolder
from fedmammo.run.guarantees import ledgers_of
from fedmammo.stages.finish import OF_GENERATOR, OWN


def keep_ledgers(folder: RunFolder, deployment: Deployment, answers: Mapping[str, Answer]) -> None:
    """Keep what hospitals showed at the end of a deployment. `answers`: by hospital.

    Raises StudyError where one is not a whole ledger.
    """
    for hospital, answer in answers.items():
        own, *of_generator = ledgers_of(folder.hospitals / hospital, deployment)
        for name, path in ((OWN, own), *((OF_GENERATOR, one) for one in of_generator)):
            if name not in answer.tensors:
                continue
            write_bytes(path, answer.tensors[name].numpy().tobytes())
            try:
                spent_in([path])
                for line in read_lines(path):
                    if "agreed" in line:
                        Plan.from_json(json.dumps(line["plan"]))
                    else:
                        dict[str, float](line["epsilon"])
            except (StudyError, RefusalError, KeyError, TypeError, ValueError, AttributeError) as error:
                path.unlink()
                raise StudyError(f"{hospital} showed a ledger that is not whole: {error}") from error

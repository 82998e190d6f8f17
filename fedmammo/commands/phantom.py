"""Pretrains a network on drawn patches and writes its weights."""

from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from fedmammo.config.reading import first_fault
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.disk.files import write_tensors
from fedmammo.errors import InputError
from fedmammo.training.phantom_network import Lesson, pretrain_on_phantoms


def pretrain(
    out: Path,
    asked: dict[str, str],
    learning_rate: float,
    lesson: Lesson,
    report: Callable[[int, int], None],
) -> dict[str, float]:
    """Pretrain a network and write its weights to `out`; beside it, a checkpoint from which the same command goes on.

    Args:
        out: a safetensors file, which must not be there yet.
        asked: `network`, `weights`, `train` and `precision` as in a study, `features` as numbers of blocks with commas
            between.
        learning_rate: the highest.
        lesson: what is learned from.
        report: told steps done, and steps in all.

    Returns:
        Fractions of phantoms that it had not seen of which it names shape, margins and kind right.

    Raises InputError, in one line, before anything is drawn.
    """
    if out.exists():
        raise InputError(f"{out}: is there already; name another file")
    if asked["train"] != "all" and not asked["train"].startswith("last_blocks:"):
        raise InputError(f"--train {asked['train']}: all, or last_blocks:N")
    try:
        blocks = [int(block) for block in asked["features"].split(",")]
        content = asked | {"features": blocks, "image_size": 224}
        config = DiagnosisConfig.model_validate(content | {"optimizer": {"learning_rate": learning_rate}})
    except ValidationError as error:
        raise InputError(f"--{first_fault(error)}") from error
    except ValueError as error:
        raise InputError(f"--features {asked['features']}: numbers of blocks, such as 6,10") from error
    checkpoint = out.with_name(f"{out.name}.checkpoint")
    tensors, right = pretrain_on_phantoms(config, lesson, report, checkpoint)
    write_tensors(out, tensors)
    checkpoint.unlink(missing_ok=True)
    return right

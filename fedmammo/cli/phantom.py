"""Commands that use drawn patches, which no patient has a part in."""

from pathlib import Path
from typing import Annotated

import typer

phantom = typer.Typer(
    no_args_is_help=True,
    help="Use drawn patches, which cost no patient's privacy.",
    epilog="Example: fedmammo phantom pretrain phantoms.safetensors --network vit_small_patch14_dinov2",
)


@phantom.command(
    "pretrain",
    epilog="Example: fedmammo phantom pretrain phantoms.safetensors --network vit_small_patch14_dinov2 "
    "--weights vit_small_patch14_dinov2.safetensors --features 6,10 --train last_blocks:5",
)
def pretrain(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write the weights: a safetensors file.")],
    network: Annotated[str, typer.Option(help="Name of a transformer in timm.")],
    weights: Annotated[str, typer.Option(help="Where to start: `none`, `hub` or a safetensors file.")] = "none",
    features: Annotated[str, typer.Option(help="Blocks that the study will read.")] = "6,10",
    train: Annotated[str, typer.Option(help="What learns: all, or last_blocks:N.")] = "all",
    patches: Annotated[int, typer.Option(help="Patches to draw and learn from, each once.")] = 6000,
    learning_rate: Annotated[float, typer.Option(help="Highest step size; it rises, then falls to 0.")] = 1e-4,
    precision: Annotated[str, typer.Option(help="Arithmetic of matrix products: float32 or bfloat16.")] = "float32",
    varied: Annotated[
        bool, typer.Option("--varied/--plain", help="Whether patches vary as films, cuts and scanners do.")
    ] = True,
    batch: Annotated[int, typer.Option(help="Patches in a step.")] = 32,
    seed: Annotated[int, typer.Option(help="Seed of the patches and of whatever starts at random.")] = 1,
) -> None:
    """Pretrain a network on drawn masses; a study names the file in diagnosis.weights.

    The network learns to name their shape, margins and kind; it is then tried on patches that it has not seen.
    """
    from fedmammo.commands.phantom import pretrain as pretrain_network
    from fedmammo.report import terminal
    from fedmammo.training.phantom_network import Lesson

    asked = {"network": network, "weights": weights, "features": features, "train": train, "precision": precision}
    with terminal.counting(f"pretraining {network}") as report:
        right = pretrain_network(out, asked, learning_rate, Lesson(patches, batch, seed, varied), report)
    named = ", ".join(f"{what} {fraction:.3f}" for what, fraction in right.items())
    typer.echo(f"{out}: {named} of phantoms that it had not seen are named right")

"""Commands that give a trained model away, and use one."""

from pathlib import Path
from typing import Annotated

import typer

models = typer.Typer()


@models.command(epilog="Example: fedmammo export runs/first federated-real model")
def export(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    model: Annotated[str, typer.Argument(help="Name of a file in RUN/models, or the beginning of one alone.")],
    out: Annotated[Path, typer.Argument(help="Folder of the model; new or empty.")],
) -> None:
    """Write a model of a run to be given to somebody: weights, constants, cuts, and a card that says what it is."""
    from fedmammo.commands.export import export as export_model
    from fedmammo.report import terminal

    with terminal.working(f"exporting {model}"):
        export_model(folder, model, out)
    typer.echo(out)


@models.command(epilog="Example: fedmammo predict model images --boxes boxes.csv > scores.csv")
def predict(
    model: Annotated[Path, typer.Argument(help="Folder that export made.")],
    images: Annotated[Path, typer.Argument(help="Folder of DICOM files or pictures.")],
    boxes: Annotated[
        Path | None, typer.Option(help="Table of image, left, top, right, bottom in pixels; also lesion.")
    ] = None,
) -> None:
    """Score images with a model that was exported; prints CSV, a row for each image or box.

    Without a table, or where a box is empty, an image is taken as a patch. What cannot be read says why in `note`.
    """
    from fedmammo.commands.predict import predict as predict_images
    from fedmammo.report import terminal

    with terminal.counting(f"scoring {images}") as report:
        table = predict_images(model, images, boxes, report)
    typer.echo(table.to_csv(index=False), nl=False)
    if missed := int(table["score"].isna().sum()):
        terminal.status.print(f"{missed} of {len(table)} rows have no score; the column note says why")

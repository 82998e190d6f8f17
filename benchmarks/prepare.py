"""Preparing full-size mammograms, against a plain loop of pydicom in one process.

24 mammograms of 3000 x 5000 pixels, 16 bits, as uncompressed DICOM, with boxes in a table. Peer: `pydicom.dcmread`,
`pixel_array` scaled to 16 bits, the square around the box cut and resized by Pillow as floats, `numpy.save`. Bar: at
least 1.8 times as fast on two cores, and memory that does not grow with the number of mammograms.
"""

import csv
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pydicom
from common import compare
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from fedmammo.cohort.options import Options
from fedmammo.cohort.prepare import prepare

COUNT, WIDTH, HEIGHT, SIZE = 24, 3000, 5000, 128


def write(folder: Path) -> None:
    """Write mammograms of smooth noise, and the table."""
    generator = np.random.default_rng(0)
    with (folder / "table.csv").open("w") as file:
        table = csv.writer(file)
        table.writerow(["image", "patient", "label", "left", "top", "right", "bottom"])
        for number in range(COUNT):
            coarse = Image.fromarray(generator.random((50, 30), dtype=np.float32))
            pixels = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).clip(0, 1) * 65535
            dataset = pydicom.Dataset()
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.2", generate_uid()
            dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = HEIGHT, WIDTH, 1
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
            dataset.PhotometricInterpretation = "MONOCHROME2"
            dataset.PixelData = pixels.astype("<u2").tobytes()
            dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
            left, top = int(generator.integers(500, 2000)), int(generator.integers(500, 4000))
            table.writerow([f"{number}.dcm", f"P{number}", number % 2, left, top, left + 400, top + 300])


def peer(folder: Path) -> np.ndarray:
    """Read, cut and resize one after the other."""
    patches = []
    with (folder / "table.csv").open() as file:
        for row in csv.DictReader(file):
            image = pydicom.dcmread(folder / row["image"]).pixel_array
            left, top, right, bottom = (int(row[side]) for side in ("left", "top", "right", "bottom"))
            side = round(1.2 * max(right - left, bottom - top))
            x, y = (left + right - side) // 2, (top + bottom - side) // 2
            square = Image.fromarray(image[y : y + side, x : x + side].astype(np.float32))
            patch = square.resize((SIZE, SIZE), Image.Resampling.BOX, reducing_gap=None)
            patches.append(np.asarray(patch).round().clip(0, 65535).astype(np.uint16))
    np.save(folder / "peer.npy", np.stack(patches))
    return np.stack(patches)


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder)

        def ours() -> np.ndarray:
            shutil.rmtree(folder / "cohort", ignore_errors=True)
            cohort = prepare(folder / "table.csv", folder / "cohort", Options(size=SIZE), processes=2)
            order = cohort.manifest["patient"].str.removeprefix("P").astype(int).argsort()
            return np.asarray(cohort.patches)[order]

        def alike(own: np.ndarray, plain: np.ndarray) -> None:
            assert own.shape == plain.shape
            difference = np.abs(own.astype(float) - plain.astype(float)).mean() / plain.std()
            assert difference < 0.05, f"patches differ by {difference:.3f} of their spread"

        compare("prepare", ours, lambda: peer(folder), alike, mammograms=COUNT, bar="at least 1.8")


if __name__ == "__main__":
    main()

"""Memory does not grow with the number of images, whatever the number of processes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CODE = """
import resource, sys
from pathlib import Path
from fedmammo.cohort import prepare as module
if __name__ == "__main__":
    module.BYTES_A_PROCESS = 1
    source, out, processes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    images = len(module.prepare(source, out, processes=processes).patches)
    print(images, *(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
"""


@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.long), 2])
def test_peak_memory_of_n_and_of_4_n_images(dicom, tmp_path: Path, processes: int) -> None:
    """40 and 160 mammograms of .5 MB each: kept, they would be 60 MB more. Peaks differ by less than 16 MB."""
    dicom(tmp_path / "0.dcm", np.arange(500 * 500, dtype=np.uint32).astype(np.uint16).reshape(500, 500))
    (tmp_path / "run.py").write_text(CODE)
    for number in range(1, 160):
        os.link(tmp_path / "0.dcm", tmp_path / f"{number}.dcm")
    peaks = []
    for images in (40, 160):
        rows = [f"{number}.dcm,{number},{number % 2},200,200,300,300" for number in range(images)]
        table = tmp_path / f"{images}.csv"
        table.write_text("\n".join(["image,patient,label,left,top,right,bottom", *rows]))
        words = [sys.executable, tmp_path / "run.py", table, tmp_path / f"out-{images}", str(processes)]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
        assert int(said[0]) == images
        peaks.append([int(kilobytes) / 1024 for kilobytes in said[1:]])
    for few, many in zip(*peaks, strict=True):
        assert many - few < 16, f"{few:.0f} MB for 40 images, {many:.0f} MB for 160"


def test_a_reading_process_does_not_load_torch() -> None:
    """It would take seconds and hundreds of megabytes, for each process."""
    code = "import sys, fedmammo.cohort.lesions; print([name for name in ('torch', 'pandas') if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"

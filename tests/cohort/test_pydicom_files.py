"""All files that pydicom brings along: each ends as a patch or as a reason, in one line."""

import csv
import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fedmammo.cohort.gray import read_gray
from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.quarantine import Unusable

DATA = Path(pydicom.__file__).parent / "data"
FILES = DATA / "test_files"
NEEDS_EXTRA = pytest.mark.skipif(find_spec("gdcm") is None, reason="the extra fedmammo[dicom] is not installed")


def test_each_ends_as_a_patch_or_a_reason(tmp_path: Path) -> None:
    paths = sorted(path for path in DATA.rglob("*") if path.is_file())
    (tmp_path / "data").symlink_to(DATA)
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("image", "patient", "label"),
                *((path.relative_to(DATA.parent), number, 1) for number, path in enumerate(paths)),
            ]
        )
    cohort = prepare(tmp_path / "table.csv", tmp_path / "out")
    assert len(paths) > 150 and len(cohort.manifest) + len(cohort.quarantine) == len(paths)
    counts = {"rows": len(paths), "prepared": len(cohort.manifest), "quarantined": len(cohort.quarantine)}
    assert cohort.facts["counts"] == {"table.csv": counts}
    assert len(cohort.manifest) == (58 if find_spec("gdcm") else 55)  # docs/data.md says so, of pydicom 3.0.2
    reasons = cohort.quarantine["reason"]
    assert not reasons.str.contains("\n").any() and not reasons.str.contains("Traceback").any()
    assert reasons.str.len().max() < 400


def test_the_same_image_in_other_encodings() -> None:
    """MR_small, 16 bits signed with a window: little and big endian, implicit, run lengths, padded."""
    expected = read_gray(FILES / "MR_small.dcm")
    for name in ("bigendian", "expb", "implicit", "RLE", "padded", "jp2klossless"):
        np.testing.assert_array_equal(read_gray(FILES / f"MR_small_{name}.dcm"), expected)


@pytest.mark.parametrize(
    ("name", "header", "offset", "size"),
    [
        ("MR_small_jp2klossless.dcm", b"\xff\x4f\xff\x51", 8, ">II"),
        pytest.param("MR_small_jpeg_ls_lossless.dcm", b"\xff\xf7", 5, ">HH", marks=NEEDS_EXTRA),
    ],
)
def test_a_code_stream_that_declares_more_than_the_header(
    tmp_path: Path, name: str, header: bytes, offset: int, size: str
) -> None:
    """60000 x 60000 pixels in a file of some kilobytes: a decoder would take their memory, or crash."""
    content = bytearray((FILES / name).read_bytes())
    struct.pack_into(size, content, content.index(header) + offset, 60000, 60000)
    (tmp_path / "bomb.dcm").write_bytes(content)
    with pytest.raises(Unusable, match=r"code stream and its header differ in size"):
        read_gray(tmp_path / "bomb.dcm")


@pytest.mark.skipif(find_spec("gdcm") is not None, reason="the extra fedmammo[dicom] is installed")
def test_a_missing_decoder_names_the_extra() -> None:
    with pytest.raises(Unusable, match=r"no decoder for JPEG-LS.*install the extra fedmammo\[dicom\]"):
        read_gray(FILES / "MR_small_jpeg_ls_lossless.dcm")


@NEEDS_EXTRA
def test_the_extra_decodes() -> None:
    expected = read_gray(FILES / "MR_small.dcm")
    np.testing.assert_array_equal(read_gray(FILES / "MR_small_jpeg_ls_lossless.dcm"), expected)

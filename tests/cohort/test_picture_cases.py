"""Pictures from people who do this job that went wrong once: each is right now, or ends in a true reason."""

import itertools
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydicom.encaps import encapsulate
from pydicom.pixels import compress
from pydicom.uid import JPEG2000, ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from fedmammo.cohort.gray import read_gray
from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.quarantine import Unusable

Dicom = Callable[..., None]
TABLE = {"image": ["a.png", "b.png"], "patient": ["1", "2"], "label": ["benign", "malignant"]}


@pytest.fixture
def case(shared: Path) -> Callable[[str], Path]:
    """The file of a case that is tedious to make."""
    return lambda name: shared / "cases" / name


@pytest.fixture
def reference(shared: Path) -> NDArray[np.uint16]:
    return read_gray(shared / "cases/reference.dcm")


def tiff(path: Path, values: NDArray[Any], bits: int, photometric: int, order: str, packed: bool) -> None:
    """Write a gray TIFF of one strip by hand (TIFF 6.0): of these bits, byte order, and packed by Deflate or not."""
    text = ["".join(format(int(value), f"0{bits}b") for value in row) for row in values]
    text = [row + "0" * (-len(row) % 8) for row in text]
    rows = [bytes(int(row[at : at + 8], 2) for at in range(0, len(row), 8)) for row in text]
    data = b"".join(rows) if bits < 16 else values.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if packed else data
    start = 8 + 2 + 12 * 9 + 4
    tags = [(256, 4, values.shape[1]), (257, 4, values.shape[0]), (258, 3, bits), (259, 3, 8 if packed else 1)]
    tags += [(262, 3, photometric), (273, 4, start), (277, 3, 1), (278, 4, values.shape[0]), (279, 4, len(data))]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    for tag, kind, value in tags:
        cell = struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value)
        head += struct.pack(f"{order}HHI", tag, kind, 1) + cell
    path.write_bytes(head + struct.pack(f"{order}I", 0) + data)


@pytest.mark.parametrize("photometric", [0, 1], ids=["white is zero", "black is zero"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
def test_16_bit_tiff_in_which_white_is_zero(tmp_path: Path, bits: int, photometric: int) -> None:
    """Of every depth, byte order and packing: the value that the format gives, or a reason that names the format."""
    top = 2**bits - 1
    values = np.array([[0, 1, top // 2, top], [top, 0, 1, 0]])
    expected = np.rint((values if photometric else top - values) * 65535 / top)
    read = 0
    for order, packed in itertools.product("<>", (False, True)):
        tiff(tmp_path / "1.tif", values, bits, photometric, order, packed)
        try:
            np.testing.assert_array_equal(read_gray(tmp_path / "1.tif"), expected)
            read += 1
        except Unusable as reason:
            assert str(reason) == "TIFF of a kind that cannot be read: 1.tif; save it anew as PNG"
    assert read == {(12, 0): 0, (12, 1): 2, (16, 0): 2}.get((bits, photometric), 4)


def test_16_bit_tiff_in_which_white_is_zero_as_it_came(case: Any, reference: NDArray[np.uint16]) -> None:
    """12 bits times 16 instead of times 65535 / 4095: they differ by 15 at most."""
    found = read_gray(case("white_is_zero_16.tif"))
    assert np.abs(found.astype(int) - reference).max() <= 15


STORED = np.array([[0, 1, 2048], [4095, 77, 1000]], np.uint16)
SHOWN = np.floor(STORED * 65535.0 / 4095 + 0.5)


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("high", [11, 12, 15])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("packed", [None, RLELossless])
def test_dicom_with_bits_stored_12_and_high_bit_15(
    tmp_path: Path, interpretation: str, high: int, signed: bool, packed: Any
) -> None:
    """PS3.5, 8.1.1: 12 bits of a cell of 16, of which the highest is bit 11, 12 or 15; signed ones begin at -2048."""
    values = STORED.astype(int) - (2048 if signed else 0)
    cells = ((values & 4095) << (high - 11)).astype(np.uint16)
    dicom_of(tmp_path / "1.dcm", cells, packed, BitsStored=12, HighBit=high, PixelRepresentation=int(signed),
             PhotometricInterpretation=interpretation)  # fmt: skip
    expected = 65535 - SHOWN if interpretation == "MONOCHROME1" else SHOWN
    np.testing.assert_array_equal(read_gray(tmp_path / "1.dcm"), expected)


def test_high_bit_15_as_it_came(case: Any, reference: NDArray[np.uint16], tmp_path: Path) -> None:
    """And where low bits are in use nobody knows whether the header is right."""
    np.testing.assert_array_equal(read_gray(case("high_bit_15.dcm")), reference)
    dicom_of(tmp_path / "1.dcm", STORED, None, BitsStored=12, HighBit=15)
    with pytest.raises(Unusable, match="bits below HighBit and BitsStored are in use"):
        read_gray(tmp_path / "1.dcm")


def dicom_of(path: Path, cells: NDArray[Any], packed: Any = None, **tags: Any) -> pydicom.Dataset:
    """Write a DICOM with this HighBit, compressed or not."""
    from tests.cohort.conftest import write_dicom

    write_dicom(path, cells, **{name: value for name, value in tags.items() if name != "HighBit"})
    dataset = pydicom.dcmread(path)
    dataset.HighBit = tags.get("HighBit", dataset.BitsStored - 1)
    if packed is not None:
        stored, dataset.BitsStored, dataset.HighBit = (dataset.BitsStored, dataset.HighBit), 16, 15
        compress(dataset, packed, generate_instance_uid=False)
        dataset.BitsStored, dataset.HighBit = stored
    dataset.save_as(path)
    return dataset


def jpeg_2000(cells: NDArray[Any], bare: bool = True) -> bytes:
    written = BytesIO()
    Image.fromarray(cells).save(written, "JPEG2000", irreversible=False, no_jp2=bare)
    return written.getvalue()


@pytest.mark.parametrize("how", ["plain", "run lengths", "JPEG 2000"])
def test_jpeg_2000_with_an_overlay_in_the_high_bits(tmp_path: Path, how: str) -> None:
    """Bits above the stored ones are no gray values, however they are packed."""
    cells = np.zeros((64, 64), np.uint16)
    cells[:2, :3] = STORED
    expected = np.floor(cells * 65535.0 / 4095 + 0.5)
    cells[::9, 5:] |= 1 << 12
    cells[3] |= 1 << 15
    dataset = dicom_of(tmp_path / "1.dcm", cells, RLELossless if how == "run lengths" else None, BitsStored=12)
    if how == "JPEG 2000":
        dataset.PixelData = encapsulate([jpeg_2000(cells)])
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.save_as(tmp_path / "1.dcm")
    np.testing.assert_array_equal(read_gray(tmp_path / "1.dcm"), expected)


def test_an_overlay_as_it_came(case: Any, reference: NDArray[np.uint16]) -> None:
    np.testing.assert_array_equal(read_gray(case("overlay_j2k.dcm")), reference)


def test_more_bits_than_the_header_says(dicom: Dicom, tmp_path: Path) -> None:
    """14 bits under a header of 12 are no overlay; after lossy compression nobody can tell them apart."""
    cells = np.linspace(2000, 16000, 4096).astype(np.uint16).reshape(64, 64)
    dicom(tmp_path / "1.dcm", cells, BitsStored=12)
    with pytest.raises(Unusable, match=r"more bits than its header says: 1.dcm \(most values are above 12 bits"):
        read_gray(tmp_path / "1.dcm")
    dataset = dicom_of(tmp_path / "2.dcm", cells, BitsStored=12)
    dataset.PixelData, dataset.file_meta.TransferSyntaxUID = encapsulate([jpeg_2000(cells)]), JPEG2000
    dataset.save_as(tmp_path / "2.dcm")
    with pytest.raises(Unusable, match=r"more bits than its header says: 2.dcm \(lossy"):
        read_gray(tmp_path / "2.dcm")


@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_with_exif_orientation(tmp_path: Path, kind: str, orientation: int) -> None:
    """All eight, in every format that can carry it, as Pillow turns them."""
    pixels = np.zeros((48, 32), np.uint8)
    pixels[:16, :8], pixels[32:, 16:] = 250, 120
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[274] = orientation
    if kind == "tif":
        image.save(tmp_path / "1.tif", tiffinfo={274: orientation})
    else:
        image.save(tmp_path / f"1.{kind}", exif=exif, **({"quality": 98} if kind == "jpg" else {}))
    image.getexif()[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image)).astype(int)
    found = read_gray(tmp_path / f"1.{kind}") / 257
    assert found.shape == expected.shape and np.abs(found - expected).max() <= 8


def test_jpeg_2000_wrapped_in_a_jp2_header(case: Any, reference: NDArray[np.uint16], tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_gray(case("jp2_header.dcm")), reference)
    cells = np.random.default_rng(0).integers(0, 65536, (40, 50), dtype=np.uint16)
    dataset = dicom_of(tmp_path / "1.dcm", cells)
    dataset.PixelData = encapsulate([jpeg_2000(cells, bare=False)])
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.save_as(tmp_path / "1.dcm")
    np.testing.assert_array_equal(read_gray(tmp_path / "1.dcm"), cells)


@pytest.mark.parametrize(
    ("tags", "ignored"),
    [
        ({"WindowCenter": "100", "WindowWidth": "0"}, "impossible window ignored"),
        ({"WindowCenter": "100", "WindowWidth": "-5"}, "impossible window ignored"),
        ({"WindowCenter": "100"}, "impossible window ignored"),
        ({"WindowCenter": "", "WindowWidth": ""}, "impossible window ignored"),
        ({"WindowCenter": "1", "WindowWidth": "0.5", "VOILUTFunction": "LINEAR"}, "impossible window ignored"),
        ({"WindowCenter": "1", "WindowWidth": "9", "VOILUTFunction": "OTHER"}, "impossible window ignored"),
        ({"RescaleSlope": "0", "RescaleIntercept": "5"}, "impossible rescale slope ignored"),
        ({"RescaleSlope": "", "RescaleIntercept": "0"}, "impossible rescale slope ignored"),
    ],
)
def test_window_width_0(dicom: Dicom, tmp_path: Path, tags: dict[str, str], ignored: str) -> None:
    """What is impossible is ignored, and a note says so."""
    dicom(tmp_path / "1.dcm", np.array([[0, 1, 255]], "u1"), **tags)
    told: list[str] = []
    assert read_gray(tmp_path / "1.dcm", told.append).tolist() == [[0, 257, 65535]]
    assert told == [ignored]
    (tmp_path / "table.csv").write_text("image,patient,label\n1.dcm,1,0")
    assert prepare(tmp_path / "table.csv", tmp_path / "out").facts["notes"] == {"1.dcm": ignored}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # Centre 100, width 100: 0 below 50, 1 above 149 (LINEAR: ((x - 99.5) / 99 + .5)); exact: (x - 100) / 100 + .5
        ("", [0, 0.2525, 0.5051, 1, 1]),
        ("LINEAR", [0, 0.2525, 0.5051, 1, 1]),
        ("LINEAR_EXACT", [0, 0.25, 0.5, 1, 1]),
        # 1 / (1 + exp(-4 (x - 100) / 100)), from that of 0, .017986, to that of 255, .997975
        ("SIGMOID", [0.10328, 0.25608, 0.49186, 0.88043, 1]),
    ],
)
def test_empty_voi_lut_function_and_every_other(
    dicom: Dicom, tmp_path: Path, function: str, expected: list[float]
) -> None:
    """PS3.3, C.11.2.1.2 and C.11.2.1.3, by hand."""
    tags = {"WindowCenter": "100", "WindowWidth": "100", "VOILUTFunction": function}
    dicom(tmp_path / "1.dcm", np.array([[50, 75, 100, 150, 255]], "u1"), **tags)
    assert read_gray(tmp_path / "1.dcm")[0] / 65535 == pytest.approx(expected, abs=1e-4)


def test_a_window_after_a_falling_slope(dicom: Dicom, tmp_path: Path) -> None:
    """The lowest value, not the lowest stored one, is black: 255 - v, windowed at 99.5 +- 50."""
    tags = {"RescaleSlope": "-1", "RescaleIntercept": "255", "WindowCenter": "100", "WindowWidth": "101"}
    dicom(tmp_path / "1.dcm", np.array([[0, 105, 155, 206, 255]], "u1"), **tags)
    assert read_gray(tmp_path / "1.dcm").tolist() == [[65535, 65535, 33095, 0, 0]]


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black(dicom: Dicom, tmp_path: Path, interpretation: str) -> None:
    """C.7.5.1.1.2: a value, or all from one to another."""
    tags = {"PhotometricInterpretation": interpretation, "PixelPaddingValue": 9}
    for more, black in (({}, [9]), ({"PixelPaddingRangeLimit": 11}, [9, 10, 11])):
        dicom(tmp_path / "1.dcm", np.array([[0, 9, 10, 11, 255]], "u1"), **tags, **more)
        found = read_gray(tmp_path / "1.dcm")[0]
        bright = [257 * (value if interpretation == "MONOCHROME2" else 255 - value) for value in (0, 9, 10, 11, 255)]
        padded = [0 < at <= len(black) for at in range(5)]
        assert found.tolist() == [0 if none else gray for none, gray in zip(padded, bright, strict=True)]


def test_a_presentation_that_contradicts_the_interpretation(dicom: Dicom, tmp_path: Path) -> None:
    dicom(tmp_path / "1.dcm", np.array([[0, 255]], "u1"), PresentationLUTShape="INVERSE")
    with pytest.raises(Unusable, match="MONOCHROME2 and a presentation of shape INVERSE"):
        read_gray(tmp_path / "1.dcm")


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("meta", [False, True])
def test_dicom_without_preamble(tmp_path: Path, implicit: bool, meta: bool) -> None:
    dataset = dicom_of(tmp_path / "1.dcm", STORED, BitsStored=12)
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.preamble = None
    if meta:
        dataset.save_as(tmp_path / "1.dcm")
        whole = (tmp_path / "1.dcm").read_bytes()
        (tmp_path / "1.dcm").write_bytes(whole.removeprefix(bytes(128) + b"DICM"))
    else:
        del dataset.file_meta
        dataset.save_as(tmp_path / "1.dcm", implicit_vr=implicit, little_endian=True)
    assert (tmp_path / "1.dcm").read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_gray(tmp_path / "1.dcm"), SHOWN)

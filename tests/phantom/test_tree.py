import csv
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy.ndimage import label

from fedmammo.errors import InputError
from fedmammo.phantom import tree
from fedmammo.phantom.masses import Mass
from fedmammo.phantom.patients import LESIONS, draw_patient
from fedmammo.phantom.tree import write_tree

PATIENTS = 10
SEED = 7  # with which ten patients have every quirk, and one of them lesions of both kinds in other splits


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "tree"
    write_tree(out, PATIENTS, SEED, lesions=LESIONS)
    return out


@pytest.fixture(scope="module")
def images(written) -> dict[Path, pydicom.Dataset]:
    return {path: pydicom.dcmread(path) for path in written.rglob("*.dcm")}


def tables(root: Path) -> dict[str, list[dict[str, str]]]:
    found = {}
    for path in sorted(root.glob("*.csv")):
        with path.open(newline="") as file:
            found[path.name] = list(csv.DictReader(file))
    return found


def rows(root: Path) -> list[dict[str, str]]:
    return [row for table in tables(root).values() for row in table]


def on_disk(root: Path, path: str) -> Path:
    """The file behind a CSV's path: 000000.dcm is 1-1.dcm, 000001.dcm is 1-2.dcm."""
    folder, name = path.strip().rsplit("/", 1)
    return root / folder / f"1-{int(name.removesuffix('.dcm')) + 1}.dcm"


def files(root: Path, row: dict[str, str]) -> list[Path]:
    return [on_disk(root, row[f"{kind} file path"]) for kind in ("image", "cropped image", "ROI mask")]


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def place_of(part: np.ndarray, whole: np.ndarray) -> tuple[int, int]:
    """Top left corner of the only place of the whole where the part is."""
    rows, columns = part.shape
    corners = np.argwhere(whole[: len(whole) - rows + 1, : whole.shape[1] - columns + 1] == part[0, 0])
    found = [(y, x) for y, x in corners if np.array_equal(whole[y : y + rows, x : x + columns], part)]
    assert len(found) == 1
    return found[0]


def test_every_row_has_its_image_its_mask_and_its_crop(written, images):
    seen = set()
    for row in rows(written):
        paths = files(written, row)
        seen.update(paths)
        full, *pair = (images[path] for path in paths)
        mask, crop = sorted(pair, key=lambda d: d.SeriesDescription)  # capitals first: 'ROI mask images'
        assert full.SeriesDescription == "full mammogram images" and full.BitsAllocated == 16
        assert mask.SeriesDescription == "ROI mask images" and crop.SeriesDescription == "cropped images"
        values = np.unique(mask.pixel_array)
        assert values.tolist() == [0, 2**mask.BitsAllocated - 1]
        if mask.Rows == full.Rows and crop.BitsAllocated == 16:
            y, x = (axis[axis.shape[0] // 2] for axis in np.nonzero(mask.pixel_array))
            top, left = place_of(crop.pixel_array, full.pixel_array)
            assert top <= y < top + crop.Rows and left <= x < left + crop.Columns
    assert seen == set(images)


def test_headers_name_the_folder_and_the_path(written, images):
    instances = []
    for path, header in images.items():
        folder, study, series, name = path.relative_to(written).parts
        assert header.PatientID == folder
        assert (header.StudyInstanceUID, header.SeriesInstanceUID) == (study, series)
        assert name == f"1-{header.InstanceNumber}.dcm"
        assert header.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert header.PhotometricInterpretation == "MONOCHROME2"
        assert pydicom.uid.UID(study).is_valid and pydicom.uid.UID(header.SOPInstanceUID).is_valid
        assert "PixelSpacing" not in header and "Manufacturer" not in header
        instances.append(header.SOPInstanceUID)
    assert len(instances) == len(set(instances))


def test_rows_say_what_was_drawn(written):
    for kind in LESIONS:
        expected = []
        for number in range(1, PATIENTS + 1):
            patient = draw_patient(number, SEED, 0.5, LESIONS)
            for breast in patient.breasts:
                found = [f for f in breast.findings if isinstance(f.lesion, Mass) == (kind == "mass")]
                for view in breast.views:
                    for k, finding in enumerate(found, start=1):
                        lesion = finding.lesion
                        words = (
                            [lesion.shape, lesion.margins]
                            if isinstance(lesion, Mass)
                            else [lesion.type, lesion.distribution]
                        )
                        place = [f"P_{number:05d}", str(patient.density), breast.side, view, str(k), kind]
                        verdict = [str(finding.assessment), finding.pathology, str(lesion.subtlety)]
                        expected.append([*place, *words, *verdict])
        listed = [list(row.values())[:11] for row in rows(written) if row["abnormality type"] == kind]
        assert sorted(listed) == sorted(expected)


def test_folders_carry_kind_split_patient_side_view_and_abnormality(written):
    for name, table in tables(written).items():
        prefix = f"{'Mass' if name.startswith('mass') else 'Calc'}-{'Training' if 'train' in name else 'Test'}"
        for row in table:
            folder = f"{prefix}_{row['patient_id']}_{row['left or right breast']}_{row['image view']}"
            assert row["image file path"].split("/")[0] == folder
            for kind in ("cropped image", "ROI mask"):
                assert row[f"{kind} file path"].split("/")[0] == f"{folder}_{row['abnormality id']}"


def test_every_fifth_patient_is_in_test_and_some_are_in_train_as_well(written):
    by_table = {name: {row["patient_id"] for row in table} for name, table in tables(written).items()}
    train = by_table["mass_case_description_train_set.csv"] | by_table["calc_case_description_train_set.csv"]
    test = by_table["mass_case_description_test_set.csv"] | by_table["calc_case_description_test_set.csv"]
    assert train | test == {f"P_{n:05d}" for n in range(1, PATIENTS + 1)}
    assert {f"P_{n:05d}" for n in range(5, PATIENTS + 1, 5)} <= test
    assert 0 < len(train & test) < 5
    assert not by_table["mass_case_description_train_set.csv"] & by_table["mass_case_description_test_set.csv"]


def test_csvs_have_the_bytes_of_the_originals(written, shared):
    """Header, CRLF, and one line feed inside quotes a row: at its end for masses, before the last path for others."""
    for kind, end in (("mass", b'.dcm\n"'), ("calc", b".dcm")):
        original = (shared / f"data/tcia-csv/{kind}_case_description_train_set.csv").read_bytes()
        for split in ("train", "test"):
            ours = (written / f"{kind}_case_description_{split}_set.csv").read_bytes()
            assert ours.split(b"\r\n")[0] == original.split(b"\r\n")[0]
            for text in (ours, original):
                records = text.split(b"\r\n")[1:-1]
                assert records and all(r.endswith(end) and r.count(b'.dcm\n"') == 1 for r in records)


def test_the_quirks_of_the_original_occur(written, images):
    """Of some twenty lesions: some in two series (both 000000), some exchanged, some resized, some of other depth."""
    seen = set()
    for row in rows(written):
        crop, mask = row["cropped image file path"].strip(), row["ROI mask file path"].strip()
        apart = crop.split("/")[2] != mask.split("/")[2]
        assert crop.endswith("000000.dcm") and mask.endswith("000000.dcm" if apart else "000001.dcm")
        full, second, third = (images[path] for path in files(written, row))
        exchanged = third.SeriesDescription != "ROI mask images"
        mask, crop = (second, third) if exchanged else (third, second)
        seen.add("apart" if apart else "exchanged" if exchanged else "together")
        seen.add(f"mask of {mask.BitsAllocated} bit")
        seen.add(f"crop of {crop.BitsAllocated} bit")
        seen.add("mask resized" if mask.Rows != full.Rows else "mask as large")
        seen.add("contours" if label(mask.pixel_array)[1] > 1 else "contour")
        if mask.Rows != full.Rows:
            assert (mask.Rows, mask.Columns) == (round(0.87 * full.Rows), round(0.87 * full.Columns))
    assert seen == {
        "apart", "together", "exchanged", "mask of 8 bit", "mask of 16 bit", "crop of 8 bit", "crop of 16 bit",
        "mask resized", "mask as large", "contour", "contours",
    }  # fmt: skip


def test_same_seed_same_bytes_and_more_patients_change_nothing(written, tmp_path):
    """In two processes here, in one there."""
    told: list[int] = []
    write_tree(tmp_path / "few", 3, SEED, lesions=LESIONS, processes=2, report=told.append)
    few, many = contents(tmp_path / "few"), contents(written)
    drawn = [name for name in few if name.endswith(".dcm")]
    assert drawn and all(few[name] == many[name] for name in drawn)
    assert told == [1, 2, 3]
    for name in tables(written):
        assert many[name].startswith(few[name])
    write_tree(tmp_path / "other", 1, SEED + 1)
    assert not set(contents(tmp_path / "other")) & set(drawn)


def test_masses_alone_have_two_csvs(tmp_path):
    write_tree(tmp_path / "tree", 1, 0)
    assert sorted(tables(tmp_path / "tree")) == [
        f"mass_case_description_{split}_set.csv" for split in ("test", "train")
    ]


def test_an_empty_folder_is_filled_and_a_full_one_refused(tmp_path):
    out = tmp_path / "cohort"
    out.mkdir()
    write_tree(out, 1, 0)
    before = contents(out)
    with pytest.raises(InputError, match="cohort: exists and is not an empty folder"):
        write_tree(out, 1, 1)
    assert contents(out) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: exists"):
        write_tree(tmp_path / "file", 1, 1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"patients": 0}, "patients is 0: expected at least 1"),
        ({"seed": -1}, "seed is -1: expected at least 0"),
        ({"processes": 0}, "processes is 0: expected at least 1"),
        ({"difficulty": 1.5}, r"difficulty is 1.5: expected a number from 0 \(easy\) to 1 \(hard\)"),
        ({"difficulty": float("nan")}, "difficulty is nan"),
    ],
)
def test_impossible_numbers_are_refused_before_anything_is_written(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        write_tree(tmp_path / "out", **{"patients": 1, "seed": 1, **changed})
    assert not list(tmp_path.iterdir())


def test_an_interruption_leaves_nothing_behind(tmp_path, monkeypatch):
    drawn = []

    def interrupt(*arguments):
        drawn.append(arguments)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return draw(*arguments)

    draw = tree.draw_mammogram
    monkeypatch.setattr(tree, "draw_mammogram", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_tree(tmp_path / "out", 5, SEED)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_in_a_process_is_one_line(tmp_path, monkeypatch):
    """Every process inherits the limit on a file's size; a mammogram is larger."""
    import resource
    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(InputError, match="out: cannot write there"):
            write_tree(tmp_path / "out", 2, SEED)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not list(tmp_path.iterdir())

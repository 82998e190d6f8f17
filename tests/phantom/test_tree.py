import csv
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fedmammo.errors import InputError
from fedmammo.phantom import tree
from fedmammo.phantom.patients import draw_patient
from fedmammo.phantom.tree import CSV_NAMES, write_tree

PATIENTS = 30
SEED = 2


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "tree"
    write_tree(out, PATIENTS, SEED)
    return out


def rows(root: Path) -> list[dict[str, str]]:
    every = []
    for name in CSV_NAMES.values():
        with (root / name).open(newline="") as file:
            every += list(csv.DictReader(file))
    return every


def on_disk(root: Path, path: str) -> Path:
    """The file behind a CSV's path: 000000.dcm is 1-1.dcm, 000001.dcm is 1-2.dcm."""
    folder, name = path.strip().rsplit("/", 1)
    return root / folder / f"1-{int(name.removesuffix('.dcm')) + 1}.dcm"


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_every_row_has_its_image_its_mask_and_its_crop(written):
    seen = set()
    for row in rows(written):
        paths = [on_disk(written, row[f"{kind} file path"]) for kind in ("image", "cropped image", "ROI mask")]
        seen.update(paths)
        full, *pair = (pydicom.dcmread(path) for path in paths)
        mask, crop = sorted(pair, key=lambda d: d.SeriesDescription)  # capitals first: 'ROI mask images'
        assert full.SeriesDescription == "full mammogram images" and full.BitsAllocated == 16
        assert mask.SeriesDescription == "ROI mask images" and crop.SeriesDescription == "cropped images"
        assert mask.pixel_array.shape == full.pixel_array.shape
        assert set(np.unique(mask.pixel_array)) == {0, 255}
        y, x = (axis[axis.shape[0] // 2] for axis in np.nonzero(mask.pixel_array))
        assert crop.pixel_array.shape < full.pixel_array.shape
        windows = np.lib.stride_tricks.sliding_window_view(full.pixel_array, crop.pixel_array.shape)
        corner = crop.pixel_array[0, 0]
        places = np.argwhere(windows[:, :, 0, 0] == corner)
        found = [(r, c) for r, c in places if np.array_equal(windows[r, c], crop.pixel_array)]
        assert len(found) == 1
        top, left = found[0]
        assert top <= y < top + crop.Rows and left <= x < left + crop.Columns
    assert seen == set(written.rglob("*.dcm"))


def test_headers_name_the_folder_and_the_path(written):
    instances = []
    for path in written.rglob("*.dcm"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
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
    expected = []
    for number in [n for n in range(1, PATIENTS + 1) if n % 5] + list(range(5, PATIENTS + 1, 5)):
        patient = draw_patient(number, SEED)
        for breast in patient.breasts:
            for view in breast.views:
                for k, finding in enumerate(breast.findings, start=1):
                    lesion = finding.lesion
                    place = [f"P_{number:05d}", str(patient.density), breast.side, view, str(k), "mass"]
                    verdict = [str(finding.assessment), finding.pathology, str(lesion.subtlety)]
                    expected.append([*place, lesion.shape, lesion.margins, *verdict])
    assert [list(row.values())[:11] for row in rows(written)] == expected


def test_folders_carry_split_patient_side_view_and_abnormality(written):
    for row in rows(written):
        split = "Test" if int(row["patient_id"][2:]) % 5 == 0 else "Training"
        folder = f"Mass-{split}_{row['patient_id']}_{row['left or right breast']}_{row['image view']}"
        assert row["image file path"].split("/")[0] == folder
        for kind in ("cropped image", "ROI mask"):
            assert row[f"{kind} file path"].split("/")[0] == f"{folder}_{row['abnormality id']}"


def test_csv_has_the_bytes_of_the_original(written, shared):
    """Header, CRLF, and a line feed inside the quotes that end a row, as in the file from TCIA."""
    original = (shared / "data/tcia-csv/mass_case_description_train_set.csv").read_bytes()
    for name in CSV_NAMES.values():
        ours = (written / name).read_bytes()
        assert ours.split(b"\r\n")[0] == original.split(b"\r\n")[0]
        for text in (ours, original):
            records = text.split(b"\r\n")[1:-1]
            assert records and all(r.endswith(b'.dcm\n"') and r.count(b"\n") == 1 for r in records)


def test_the_quirks_of_the_original_occur(written):
    """Of some fifty masses: most in one series, some in two (both 000000), some exchanged on disk."""
    layouts = set()
    for row in rows(written):
        crop, mask = row["cropped image file path"], row["ROI mask file path"]
        apart = crop.split("/")[2] != mask.split("/")[2]
        assert crop.endswith("000000.dcm") and mask.endswith("000000.dcm\n" if apart else "000001.dcm\n")
        is_mask = pydicom.dcmread(on_disk(written, mask)).SeriesDescription == "ROI mask images"
        layouts.add("apart" if apart else "together" if is_mask else "exchanged")
    assert layouts == {"apart", "together", "exchanged"}


def test_same_seed_same_bytes_and_more_patients_change_nothing(written, tmp_path):
    write_tree(tmp_path / "few", 6, SEED)
    few, many = contents(tmp_path / "few"), contents(written)
    images = [name for name in few if name.endswith(".dcm")]
    assert images and all(few[name] == many[name] for name in images)
    for name in CSV_NAMES.values():
        assert many[name].startswith(few[name])
    write_tree(tmp_path / "other", 1, SEED + 1)
    assert not set(contents(tmp_path / "other")) & set(images)


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


@pytest.mark.parametrize(("patients", "seed", "message"), [(0, 1, "patients is 0"), (1, -1, "seed is -1")])
def test_impossible_numbers_are_refused_before_anything_is_written(tmp_path, patients, seed, message):
    with pytest.raises(InputError, match=message):
        write_tree(tmp_path / "out", patients, seed)
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

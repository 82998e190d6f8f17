"""Bad folders of public data sets: outlines, regions, names and places that attack their readers."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.dicom_files import dicom, element
from tests.fuzz.entries import Build, Entry, Place
from tests.fuzz.picture_files import png
from tests.fuzz.table_files import LAUGHS

_PLIST = '<?xml version="1.0"?>{}<plist version="1.0">{}</plist>'
_ROI = (
    "<dict><key>Images</key><array><dict><key>ROIs</key><array><dict><key>Name</key><string>{}</string>"
    "<key>Point_px</key><array>{}</array></dict></array></dict></array></dict>"
)
_POINTS = "".join(f"<string>({x}, {y})</string>" for x, y in ((4, 4), (40, 4), (40, 40), (4, 40)))


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def inbreast(plist: str | bytes) -> Build:
    """A data set of two images, of which the second has these outlines."""

    def build(place: Place) -> None:
        good = _PLIST.format("", _ROI.format("Mass", _POINTS))
        table = "File Name;ACR;Bi-Rads\n1;1;2\n2;1;5\n"
        images = {f"AllDICOMs/{number}_p{number}_MG_L_CC_ANON.dcm": dicom() for number in (1, 2)}
        write(place.folder, {"INbreast.csv": table, **images, "AllXML/1.xml": good, "AllXML/2.xml": plist})

    return build


def embed(regions: str, path: str = "a/b.dcm") -> Build:
    """A data set whose second row says these regions, of an image at this path."""

    def build(place: Place) -> None:
        head = (
            "empi_anon,acc_anon,anon_dicom_path,FinalImageType,ImageLateralityFinal,ViewPosition,num_roi,ROI_coords\n"
        )
        rows = f'p1,1,/x/a/b.dcm,2D,L,CC,1,"((4, 4, 40, 40),)"\np2,2,"{path}",2D,L,CC,1,"{regions}"\n'
        clinical = "empi_anon,acc_anon,side,asses,path_severity\np1,1,L,N,5\np2,2,L,N,0\n"
        write(
            place.folder,
            {
                "tables/EMBED_OpenData_metadata.csv": head + rows,
                "tables/EMBED_OpenData_clinical.csv": clinical,
                "images/a/b.dcm": dicom(),
                "images/a/c.dcm": dicom(),
            },
        )

    return build


def vindr(study: Callable[[Place], str], box: str = "4,4,40,40") -> Build:
    """A data set whose second row is of this study."""

    def build(place: Place) -> None:
        head = (
            "study_id,image_id,laterality,view_position,height,width,breast_density,finding_categories,"
            "finding_birads,split,xmin,ymin,xmax,ymax\n"
        )
        tail = "L,CC,48,48,DENSITY A,['Mass'],BI-RADS 4,training"
        rows = f'a,1,{tail},4,4,40,40\n"{study(place)}",2,{tail},{box}\n'
        write(
            place.folder,
            {"finding_annotations.csv": head + rows, "images/a/1.dicom": dicom(), "images/b/2.dicom": dicom()},
        )

    return build


def bcdr(xs: str, ys: str = "4 40 40 4") -> Build:
    def build(place: Place) -> None:
        head = "patient_id,image_filename,image_view,classification,lw_x_points,lw_y_points\n"
        rows = f"1,a.png,1,Benign,4 40 40 4,4 4 40 40\n2,b.png,1,Malign,{xs},{ys}\n"
        write(place.folder, {"bcdr_f01_outlines.csv": head + rows, "a.png": png(), "b.png": png()})

    return build


def tree(location: str) -> Build:
    """A tree beside an NBIA Data Retriever's table whose second row names this folder."""
    case = (
        "patient_id,breast_density,left or right breast,image view,abnormality id,mass shape,mass margins,assessment,"
        "pathology,subtlety,image file path,cropped image file path,ROI mask file path\n"
    )

    def build(place: Place) -> None:
        rows = "".join(
            f"P_0000{n},1,LEFT,CC,1,ROUND,ILL,3,BENIGN,3,x/{n}/i/0.dcm,x/{n}/c/0.dcm,x/{n}/m/0.dcm\n" for n in (1,)
        )
        metadata = f'Series UID,Subject ID,File Location\ni,a,./one\nm,a,./two\ni,b,"{location}"\n'
        mask = bytes(48 * 24 * 2) + b"\xff" * (48 * 24 * 2)
        files: dict[str, str | bytes] = {"mass_case_description_train_set.csv": case + rows, "metadata.csv": metadata}
        write(place.folder, files | {"one/0.dcm": dicom(), "two/0.dcm": dicom(pixels=mask)})

    return build


def kaggle(image: Callable[[Place], str]) -> Build:
    """Kaggle's mirror, in which one row names this image."""

    def build(place: Place) -> None:
        tree("./none")(place)
        (place.folder / "metadata.csv").unlink()
        rows = f'i,a,CBIS-DDSM/jpeg/i/1.png\nm,a,CBIS-DDSM/jpeg/m/1.png\nj,b,"{image(place)}"\n'
        mask = png(data=zlib.compress(b"".join(b"\0" + bytes([255 * (row > 20)] * 96) for row in range(48))))
        write(
            place.folder,
            {
                "csv/dicom_info.csv": "SeriesInstanceUID,PatientID,image_path\n" + rows,
                "jpeg/i/1.png": png(),
                "jpeg/m/1.png": mask,
            },
        )

    return build


def classes(*names: bytes) -> Build:
    """Folders of classes: a good image, and files of these names that are none."""

    def build(place: Place) -> None:
        write(place.folder, {"benign/a.png": png()})
        for name in names:
            path = place.folder / "malignant" / os.fsdecode(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"none")

    return build


def pipes(place: Place) -> None:
    """Pipes where images of CMMD are to be."""
    write(place.folder, {"CMMD_clinicaldata.csv": "ID1,LeftRight,abnormality,classification\nD1-0001,L,mass,Benign\n"})
    write(place.folder, {"CMMD/D1-0001/a/b/1.dcm": dicom(before=element(0x20, 0x62, b"CS", b"L"))})
    os.mkfifo(place.folder / "CMMD/D1-0001/a/b/2.dcm")


_OUTLINES = "^unreadable outlines|^file of outlines"
_BUILT: dict[str, tuple[str, Build]] = {
    "INbreast, good": ("", inbreast(_PLIST.format("", _ROI.format("Mass", _POINTS)))),
    "outlines of entities": (_OUTLINES, inbreast(_PLIST.format(LAUGHS, "<string>&a12;</string>"))),
    "outlines 300000 deep": (_OUTLINES, inbreast(_PLIST.format("", "<array>" * 300_000))),
    "outlines that close 100000 deep": (_OUTLINES, inbreast(_PLIST.format("", "<array>" * 10**5 + "</array>" * 10**5))),
    "outlines of 10^300": (
        "^box is not inside",
        inbreast(_PLIST.format("", _ROI.format("M", _POINTS + "<string>(1e300, 1)</string>"))),
    ),
    "outlines of no number": (
        "^no outline|" + _OUTLINES,
        inbreast(_PLIST.format("", _ROI.format("M", _POINTS + "<string>(nan, 1e999)</string>"))),
    ),
    "outlines of numbers for texts": (
        _OUTLINES,
        inbreast(_PLIST.format("", _ROI.format("M", "<integer>9</integer>" * 3))),
    ),
    "outlines of a number of 10000 digits": (
        _OUTLINES,
        inbreast(_PLIST.format("", f"<integer>{'9' * 10_000}</integer>")),
    ),
    "outlines that are a binary list": (_OUTLINES, inbreast(b"bplist00" + b"\xaf\x14" + b"\xff" * 60)),
    "outlines of a name of a MB": ("", inbreast(_PLIST.format("", _ROI.format("M" * 10**6, _POINTS)))),
    "EMBED, good": ("", embed("((4, 4, 40, 40),)", "/x/a/c.dcm")),
    "regions with 100000 spaces": ("^unreadable", embed("((1,2,3,4" + " " * 120_000 + "x)", "/x/a/c.dcm")),
    "regions with 100000 brackets": ("^unreadable", embed("(" * 120_000)),
    "regions that begin 100000 times": ("^unreadable", embed("[ 1" * 30_000)),
    "a path of .. in EMBED": ("^path does not stay|^image is missing", embed("((4, 4, 40, 40),)", "../../secret.png")),
    "a path of 40000 folders in EMBED": ("^image is missing|^path", embed("((4, 4, 40, 40),)", "a/" * 40_000)),
    "VinDr, good": ("", vindr(lambda _: "b")),
    "a study of ..": ("^path does not stay|^file cannot be opened", vindr(lambda _: "../../..")),
    "a study that is a place": ("^path does not|^file cannot", vindr(lambda place: str(place.secret))),
    "a box of 10^300 in VinDr": ("^box is empty or reversed", vindr(lambda _: "b", "1e300,4,4e300,40")),
    "BCDR, good": ("", bcdr("4 4 40 40")),
    "an outline of 10^308": ("^box is not inside", bcdr("4 1e308 40 4")),
    "an outline of no number": ("^unreadable", bcdr("4 inf 40 4")),
    "an outline of 30000 points": ("^no outline", bcdr("1 " * 30_000)),
    "a tree, good": ("", tree("./none")),
    "a series of 5000 letters": ("", tree("a" * 5000)),
    "a series of 5000 folders": ("", tree("a/" * 5000)),
    "a series of ..": ("", tree("../..")),
    "a mirror, good": ("", kaggle(lambda _: "CBIS-DDSM/jpeg/none/1.png")),
    "a mirror with a path of ..": ("", kaggle(lambda place: f"jpeg/../../{place.secret.name}")),
    "a mirror with a place": ("", kaggle(lambda place: str(place.secret))),
    "a mirror with a name of 5000 letters": ("", kaggle(lambda _: f"CBIS-DDSM/jpeg/{'a' * 5000}/1.png")),
    "a mirror with NUL": ("", kaggle(lambda _: "CBIS-DDSM/jpeg/a\0/1.png")),
    "names that are no UTF-8": ("^neither DICOM|^file cannot", classes(b"\xff\xfe.png", b"a\nb.png", b"\x1b[2J.png")),
    "names of 255 letters, 12 deep": ("^neither DICOM", classes(b"/".join([b"a" * 255] * 12))),
    "pipes for images": ("^not a file", pipes),
}
ENTRIES = [Entry(f"folder: {name}", "folder", says, build) for name, (says, build) in _BUILT.items()]

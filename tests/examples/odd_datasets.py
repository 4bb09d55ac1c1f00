"""Small datasets with odd things in them, made from a number; what plan and run say of each."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

ANNEX = b"/annex/objects/MD5E-s1234--0123456789abcdef0123456789abcdef.nii.gz\n"
LFS = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@dataclass
class OddDataset:
    """A raw dataset of small brains at sites A and B, and options to run the program with."""

    root: Path
    rng: np.random.Generator
    words: list[str] = field(default_factory=lambda: ["--target-site", "B"])
    told: list[str] = field(default_factory=list)

    def scans(self) -> list[Path]:
        # Without the hidden files that one of the changes makes.
        return sorted(self.root.glob("sub-*/**/[!.]*.nii.gz"))

    def any_scan(self) -> Path:
        scans = self.scans()
        return scans[self.rng.integers(len(scans))]

    def sound_scan(self) -> Path:
        """Any that no change before has broken."""
        scans = [path for path in self.scans() if _can_be_read(path)]
        return scans[self.rng.integers(len(scans))]

    def write_scan(self, name: str, site: str) -> Path:
        path = self.root / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        data, affine = brain()
        if name.endswith("T2w"):
            data = np.where(data > 0, 500 - data, 0)
        noisy = np.where(data > 0, data + self.rng.normal(0, 5, data.shape), 0).clip(0)
        nib.save(nib.Nifti1Image(noisy.astype(np.int16), affine), path)
        sidecar = {"InstitutionName": site, "Manufacturer": "Siemens", "MagneticFieldStrength": 3}
        Path(f"{self.root / name}.json").write_text(json.dumps(sidecar))
        return path


def brain() -> tuple[np.ndarray, np.ndarray]:
    """T1w-like template at 5 mm, in native units, and its affine."""
    from bids_harmony.imaging.reference import reference_grid, reference_t1w

    grid = reference_grid(5.0)
    return 400 * reference_t1w(grid), grid.affine


def _can_be_read(path: Path) -> bool:
    try:
        return nib.load(path).get_fdata().size > 0
    except (OSError, EOFError, nib.filebasedimages.ImageFileError):
        return False


def _content(content: bytes) -> Callable[[OddDataset], None]:
    def change(odd: OddDataset) -> None:
        odd.any_scan().write_bytes(content)

    return change


def _cut(odd: OddDataset) -> None:
    path = odd.any_scan()
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * odd.rng.uniform(0.02, 0.98))])


def _four_volumes(odd: OddDataset) -> None:
    image = nib.load(path := odd.sound_scan())
    nib.save(nib.Nifti1Image(np.stack([image.dataobj] * 4, axis=-1), image.affine), path)


def _metres(odd: OddDataset) -> None:
    image = nib.load(path := odd.sound_scan())
    nib.save(nib.Nifti1Image(image.dataobj, image.affine * 1000), path)


def _link_to_nowhere(odd: OddDataset) -> None:
    path = odd.any_scan()
    path.unlink()
    path.symlink_to("../../.git/annex/objects/Xx/MD5E-s1--0.nii.gz")


def _sidecar(text: bytes) -> Callable[[OddDataset], None]:
    def change(odd: OddDataset) -> None:
        path = Path(str(odd.any_scan()).replace(".nii.gz", ".json"))
        path.write_bytes(text or b"\xef\xbb\xbf" + path.read_bytes())

    return change


def _unpacked(odd: OddDataset) -> None:
    path = odd.any_scan()
    if path.is_file():
        path.with_suffix("").write_bytes(b"whatever lies beside it")


def _hidden(odd: OddDataset) -> None:
    for path in [p for p in odd.root.rglob("sub-*") if p.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(bytes.fromhex("00051607") + b"\xb0" * 40)


def _another_t1w(odd: OddDataset) -> None:
    odd.write_scan("sub-a1/anat/sub-a1_acq-again_T1w", "A")


def _contrast_of_one_site(odd: OddDataset) -> None:
    odd.write_scan("sub-a1/anat/sub-a1_FLAIR", "A")


def _series(odd: OddDataset, bvals: str | None, bvecs: str, n_volumes: int = 3) -> None:
    stem = odd.root / "sub-a1/dwi/sub-a1_dwi"
    stem.parent.mkdir(exist_ok=True)
    data, affine = brain()
    image = nib.Nifti1Image(np.stack([data] * n_volumes, axis=-1).astype(np.int16), affine)
    nib.save(image, f"{stem}.nii.gz")
    Path(f"{stem}.json").write_text(json.dumps({"InstitutionName": "A"}))
    Path(f"{stem}.bvec").write_text(bvecs)
    if bvals is not None:
        Path(f"{stem}.bval").write_text(bvals)


def _table(text: str) -> Callable[[OddDataset], None]:
    return lambda odd: (odd.root / "participants.tsv").write_text(text) and None


def _filter(**filters: object) -> Callable[[OddDataset], None]:
    def change(odd: OddDataset) -> None:
        path = odd.root.parent / "filter.json"
        path.write_text(json.dumps(filters))
        odd.words += ["--bids-filter-file", str(path)]

    return change


def _words(*words: str) -> Callable[[OddDataset], None]:
    return lambda odd: odd.words.extend(words)


ODD: dict[str, Callable[[OddDataset], None]] = {
    "cut off": _cut,
    "empty": _content(b""),
    "text": _content(b"no image\n" * 9000),
    "annex pointer": _content(ANNEX),
    "lfs pointer": _content(LFS),
    "link to nowhere": _link_to_nowhere,
    "four volumes": _four_volumes,
    "voxels of metres": _metres,
    "broken sidecar": _sidecar(b'{"EchoTime": '),
    "sidecar of a list": _sidecar(b"[1, 2]"),
    "byte order mark": _sidecar(b""),
    "sidecar without a site": _sidecar(b'{"EchoTime": 0.003}'),
    "unpacked beside": _unpacked,
    "hidden files": _hidden,
    "another T1w": _another_t1w,
    "contrast of one site": _contrast_of_one_site,
    "b=0 alone": lambda odd: _series(odd, "0 0 0\n", "0 0 0\n0 0 0\n0 0 0\n"),
    "no b-values": lambda odd: _series(odd, None, "0 0 1\n0 1 0\n0 0 0\n"),
    "too few b-values": lambda odd: _series(odd, "0 1000\n", "0 0 1\n0 1 0\n0 0 0\n"),
    "no series of the target": lambda odd: _series(odd, "0 1000 1000\n", "0 0 1\n0 1 0\n0 0 0\n"),
    "table names sites": _table("participant_id\tsite\nsub-a1\tA\nsub-a2\tA\nsub-b1\tB\n"),
    "table with commas": _table("participant_id,site\nsub-a1,A\n"),
    "filter of people": _filter(t1w={"subject": "a1"}, t2w={"subject": "a1"}),
    "filter of nothing": _filter(t1w={"run": 9}, t2w={"run": 9}),
    "filter of contrasts": _filter(t1w={"acquisition": None}),
    "one person": _words("--participant-label", "a1"),
    "nobody": _words("--participant-label", "zz"),
    "nobody and somebody": _words("--participant-label", "a2", "zz"),
    "claimed": _words("--participant-label", "a1", "--source-site", "NEW"),
    "only T2w": _words("--modalities", "T2w"),
    "no target": lambda odd: odd.words.__setitem__(1, "Mars"),
    "no model": _words("--model", "/nowhere/model"),
}


def make_odd(folder: Path, number: int) -> OddDataset:
    """Make the dataset of a number; the same each time."""
    rng = np.random.default_rng(number)
    odd = OddDataset(folder / "bids", rng)
    odd.root.mkdir(parents=True)
    description = {"Name": f"odd {number}", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (odd.root / "dataset_description.json").write_text(json.dumps(description))
    for subject, site in (("a1", "A"), ("a2", "A"), ("b1", "B")):
        for modality in ("T1w", "T2w") if subject == "a1" or rng.random() < 0.3 else ("T1w",):
            odd.write_scan(f"sub-{subject}/anat/sub-{subject}_{modality}", site)
    for name in rng.permutation(sorted(ODD))[: rng.integers(1, 4)]:
        odd.told.append(str(name))
        ODD[name](odd)
    return odd


@dataclass(frozen=True)
class Said:
    """What the program says of a dataset: exit code, and refused scans."""

    code: int
    refused: frozenset[str]
    text: str = field(compare=False)


def plan_of(odd: OddDataset) -> Said:
    """What ``--dry-run`` says."""
    code, shown, text = _program(odd, "plan", "--dry-run")
    left_out = shown.partition("Cannot be used:\n")[2].partition("\n\n")[0]
    told = re.findall(r"^  (\S+(?:, \S+)*): ", left_out, re.MULTILINE)
    return Said(code, frozenset(label for labels in told for label in labels.split(", ")), text)


def run_of(odd: OddDataset) -> Said:
    """What becomes of a run."""
    code, _, text = _program(odd, "run")
    scans: dict[str, dict] = {}
    for path in (odd.root.parent / "run").glob("logs/*/status.json"):
        scans |= json.loads(path.read_text()).get("scans", {})
    refused = frozenset(label for label, scan in scans.items() if scan["state"] == "failed")
    return Said(code, refused, text)


def _program(odd: OddDataset, out: str, *words: str) -> tuple[int, str, str]:
    from bids_harmony.cli.main import main

    folder = odd.root.parent
    fast = "--sloppy --voxel-mm 8 --method histogram --nprocs 1 --bank-scans 1 --device cpu"
    command = [str(odd.root), str(folder / out), "participant", "-w", str(folder / "work")]
    command += [*fast.split(), *odd.words, *words]
    with redirect_stdout(io.StringIO()) as shown, redirect_stderr(io.StringIO()) as told:
        code = int(main(command))
    return code, shown.getvalue(), told.getvalue()

"""The change of a diffusion series as files: factors as maps, their numbers as a table."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan
    from bids_harmony.diffusion.gradients import Gradients
    from bids_harmony.diffusion.series import Series
    from bids_harmony.methods.series import SeriesResult
    from bids_harmony.settings import Settings

__all__ = ["make_series_change", "write_series_change"]

_FORMULA = (
    "b=0: harmonized = R S. Shells: harmonized = R (B (g c) + g_0 (S - B c)), c = pinv(B) S; "
    "S the source, blurred where AddedBlurVariance is above 0; R the first map; B even spherical "
    "harmonics of the shell's directions, g the factors of their orders. With 1 / R and 1 / g it "
    "goes back."
)
_NOT_UNDONE = (
    "A blur; bounds of signals (none falls to nought or comes to exceed the mean b=0); rounding; "
    "a change that differs between directions of one order, as that of the noise floor does. The "
    "exact change is the harmonized series less its source."
)
_COLUMNS = {
    "b": "Nominal b-value of the shell, 0 for the mean b=0, s/mm2",
    "order": "Order of the spherical harmonics",
    "level_scale": "Factor by what the sites' levels of this order differ by; n/a for the mean "
    "b=0 and where the mode learns none",
    "scale_05": "Factor in the map: 5th percentile over the brain",
    "scale_median": "Factor in the map: median over the brain",
    "scale_95": "Factor in the map: 95th percentile over the brain",
}


def make_series_change(
    folder: Path, series: Series, result: SeriesResult, gradients: Gradients, inside: np.ndarray
) -> dict[str, str]:
    """Make the files in a node's folder.

    Parameters
    ----------
    folder : Path
    series : Series
        As it came.
    result : SeriesResult
        With the head, whether or not it is taken off afterwards.
    gradients : Gradients
    inside : (X, Y, Z) bool
        Brain, in the voxel order of the series.

    Returns
    -------
    dict of str to str
        Files by kind: ``change`` and ``record``.
    """
    from bids_harmony.diffusion.resolution import blurred_series
    from bids_harmony.diffusion.series import write_series
    from bids_harmony.methods.series_change import series_change

    steps = result.steps
    blur = np.maximum(steps.blur, 0)
    before = blurred_series(series, inside, blur) if blur.any() else series
    change = series_change(before, result.raw, gradients, inside)
    header = series.image.header.copy()
    header.set_data_shape(change.maps.shape)
    header.set_data_dtype(np.float32)
    image = type(series.image)(change.maps, series.image.affine, header)
    maps = replace(series, raw=change.maps, slope=1.0, intercept=0.0, image=image)
    write_series(maps, change.maps, folder / "change.nii.gz")
    percentiles = np.percentile(change.maps[inside], [5, 50, 95], axis=0).T.tolist()
    shells = {int(i): s.nominal for s in gradients.shells for i in s.volumes}
    record = {
        "parts": [
            (b, order, _level(steps.levels, b, order), *own)
            for (b, order), own in zip(change.parts, percentiles, strict=True)
        ],
        "shell_of_volume": [shells.get(i, 0.0) for i in range(series.shape[3])],
        "blur": list(steps.blur),
        "b_scale": steps.b_scale,
        "noise": {
            name: asdict(noise)
            for name, noise in zip(("source", "target"), steps.noise, strict=True)
        },
    }
    (folder / "change.json").write_text(json.dumps(record) + "\n")
    return {"change": str(folder / "change.nii.gz"), "record": str(folder / "change.json")}


def _level(levels: dict[float, tuple[float, ...]] | None, b: float, order: int) -> float | None:
    own = (levels or {}).get(b, ())
    return own[order // 2] if order // 2 < len(own) else None


def write_series_change(
    files: dict[str, str], image: Path, scan: Scan, settings: Settings, *, resume_hash: str
) -> None:
    """Copy the files of `make_series_change` beside the harmonized series.

    Parameters
    ----------
    files : dict of str to str
    image : Path
        Where the harmonized series goes.
    scan : Scan
    settings : Settings
    resume_hash : str
        Of the harmonized series, for the sidecar.
    """
    from bids_harmony.bids.derivative import write_bytes, write_json, write_text
    from bids_harmony.bids.naming import bids_uri, change_paths, sidecar_path
    from bids_harmony.bids.sidecar import derived_sidecar

    record = json.loads(Path(files["record"]).read_text())
    paths = change_paths(image)
    rows = ["\t".join(_COLUMNS)]
    rows += ["\t".join("n/a" if v is None else f"{v:.6g}" for v in p) for p in record["parts"]]
    write_text(paths["orders"], "\n".join(rows) + "\n")
    columns = {name: {"Description": text} for name, text in _COLUMNS.items()}
    write_json(sidecar_path(paths["orders"]), columns)
    write_bytes(paths["change"], Path(files["change"]).read_bytes())
    told: dict[str, Any] = {
        "Description": "Factors by which harmonizing changed the mean b=0, and each order of "
        "spherical harmonics of each shell",
        "Units": "1",
        "Volumes": [{"BValue": part[0], "Order": part[1]} for part in record["parts"]],
        "ShellOfVolume": record["shell_of_volume"],
        "AddedBlurVariance": record["blur"],
        "GradientScale": record["b_scale"],
        "Noise": {
            name.capitalize(): {"StandardDeviation": noise["sd"], "Channels": noise["channels"]}
            for name, noise in record["noise"].items()
        },
        "Formula": _FORMULA,
        "NotUndone": _NOT_UNDONE,
    }
    sidecar = derived_sidecar(
        scan, settings.bids_dir, resume_hash=resume_hash,
        sources=[bids_uri(image, settings.output_dir, "")], extra=told,
    )  # fmt: skip
    # Last: it says that all of them are there.
    write_json(sidecar_path(paths["change"]), sidecar)

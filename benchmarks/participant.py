"""Where the seconds of the level participant go: one real 1 mm T1w, stage by stage and as a whole.

    python benchmarks/participant.py [--scan FILE] [--reference-site FILE]

Three measurements, each with wall seconds, CPU seconds and peak memory: the stages in this
process, one after the other; the network alone on 182 slices of 182 x 218; and the command line
in a process of its own, with nothing precomputed. The model holds site profiles of the two scans
and an untrained network: its arithmetic, and so its time, is a trained one's. Everything is
written into a temporary folder. Results go to ``benchmarks/results/participant.json``, and from
there (``--table-only`` makes it again) into a Markdown table beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import Meter, made_by, measured_command, provenance

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "multivendor"
RESULT = ROOT / "benchmarks" / "results" / "participant.json"
THREADS = 2
SOURCE, TARGET = "Source", "Target"
AIM_WHOLE_S, AIM_WHOLE_MIB, AIM_NETWORK_S = 60.0, 2048.0, 15.0
NETWORK_SLICES = (182, 182, 218)
PACKAGES = ("torch", "numpy", "scipy", "antspyx", "deepbet", "nipype", "nibabel")


def make_dataset(folder: Path, scan: Path, other: Path, *more: Path) -> None:
    """Make a BIDS dataset of people at two sites, `more` of them at the first."""
    folder.mkdir(parents=True)
    description = {"Name": "benchmark", "BIDSVersion": "1.9.0", "DatasetType": "raw"}
    (folder / "dataset_description.json").write_text(json.dumps(description))
    people = [(scan, SOURCE), (other, TARGET), *((path, SOURCE) for path in more)]
    for number, (path, site) in enumerate(people, 1):
        stem = folder / f"sub-{number:02d}" / "anat" / f"sub-{number:02d}_T1w"
        stem.parent.mkdir(parents=True)
        shutil.copyfile(path, f"{stem}.nii.gz")
        Path(f"{stem}.json").write_text(json.dumps({"InstitutionName": site}))


def measure_stages(
    scan: Path,
    model_dir: Path,
    folder: Path,
    *,
    modality: str = "T1w",
    profiles: Callable[[Any, Any], tuple[Any, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Take one scan through the level participant, as its nodes do.

    Parameters
    ----------
    scan : Path
    model_dir : Path
    folder : Path
        Gets what the stages write.
    modality : str
    profiles : callable, optional
        Gives the profiles of source and target for the model and the prepared scan; by default
        they are the model's own.

    Returns
    -------
    list of dict
        One row per stage. `bytes` is what it must read and write at the least.
    """
    meter = Meter()
    with meter.stage("imports"):
        import ants  # noqa: F401
        import numpy as np
        import torch

        from bids_harmony.imaging.mask import brain_mask
        from bids_harmony.imaging.native import return_to_native
        from bids_harmony.imaging.prepared import prepare
        from bids_harmony.imaging.reference import reference_grid
        from bids_harmony.imaging.registration import register_to_reference
        from bids_harmony.imaging.slices import cut_stack
        from bids_harmony.imaging.volume import read_volume, to_native, write_image
        from bids_harmony.methods import load_harmonizer
        from bids_harmony.methods.conditioned import change_volume, condition_scan
        from bids_harmony.quality.changes import quality_row
        from bids_harmony.reports.change import Comparison, subject_figure
        from bids_harmony.sites.profile_cache import ProfileCache
    torch.set_num_threads(THREADS)
    with meter.stage("load model"):
        cache = None if profiles is None else ProfileCache(folder / "banks", 1.0)
        model: Any = load_harmonizer("ihf", model_dir, cache)
        grid = reference_grid(model.voxel_mm)
    with meter.stage("read") as row:
        volume = read_volume(scan)
        row["voxels"] = "x".join(map(str, volume.data.shape))
        row["voxel_mm"] = "x".join(f"{edge:.2f}" for edge in volume.voxel_mm)
        row["bytes"] = scan.stat().st_size + volume.data.nbytes
    with meter.stage("mask") as row:
        mask = brain_mask(volume)
        row["kind"] = mask.kind
        row["bytes"] = volume.data.nbytes + mask.data.nbytes
    with meter.stage("register"):
        registration = register_to_reference(volume, mask, modality=modality)
    with meter.stage("prepare") as row:
        prepared = prepare(volume, mask, registration.world, grid)
        row["bytes"] = volume.data.nbytes + mask.data.nbytes + prepared.data.nbytes
    if profiles is not None:
        with meter.stage("profile of the source site, from this scan, and of the target"):
            source, target = profiles(model, prepared)
    else:
        source, target = model.profile(modality, SOURCE), model.profile(modality, TARGET)
    with meter.stage("novelty"):
        model.novelty(prepared, modality)
    with meter.stage("closed form, conditioning") as row:
        conditioned = condition_scan(
            prepared.data, prepared.mask, source, target, voxel_mm=model.voxel_mm,
            config=model.network.config, use_closed_form=model.use_closed_form,
        )  # fmt: skip
        row["bytes"] = 2 * prepared.data.nbytes
    with meter.stage("network") as row:
        change = change_volume(model.members, conditioned)
        row["slices"] = int(cut_stack(prepared.mask).any(axis=(1, 2, 3)).sum())
        row["slice_shape"] = "x".join(map(str, grid.shape[:2]))
        row["bytes"] = 6 * len(model.members) * row["slices"] * change[..., 0].nbytes
        harmonized = np.maximum(conditioned.image + change, 0)
        harmonized = np.where(prepared.mask, harmonized, 0).astype(np.float32)
    with meter.stage("return to native") as row:
        native = return_to_native(volume, mask, prepared, harmonized)
        row["bytes"] = 2 * harmonized.nbytes + 2 * volume.data.nbytes
    with meter.stage("quality") as row:
        quality_row(
            volume.data, native.data, mask.data, scale=prepared.scale,
            target_quantiles=target.quantiles, reference_change=harmonized - prepared.data,
        )  # fmt: skip
        row["bytes"] = 2 * volume.data.nbytes + harmonized.nbytes
    with meter.stage("figure"):
        comparison = Comparison(
            prepared.data, harmonized, target.mean_image, prepared.mask, grid.affine,
            target.quantiles, TARGET,
        )  # fmt: skip
        subject_figure(comparison, folder / "figure.png", scan.name, "")
    with meter.stage("write") as row:
        image, _ = to_native(volume, native.data)
        write_image(image, folder / "harmonized.nii.gz")
        row["bytes"] = volume.data.size * image.get_data_dtype().itemsize
    return meter.rows


def network_job(
    n: int, size: tuple[int, int], name: str = "", device: str = "cpu"
) -> Callable[[int], Any]:
    """What takes the first so many of `n` slices through a preset (the default one), random
    weights, and gives their changes."""
    import numpy as np
    import torch

    from bids_harmony.methods.conditioned import Conditioned, predict_change
    from bids_harmony.model.encoder import load_encoder
    from bids_harmony.model.network import IHFNetwork
    from bids_harmony.model.presets import DEFAULT_PRESET, preset

    torch.manual_seed(0)
    config, length = preset(name or DEFAULT_PRESET), load_encoder("mri").code_length
    network = IHFNetwork(config, length).eval()
    with torch.no_grad():
        # The heads start at zero; none of their products may be cheap.
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    network.to(device)
    rng = np.random.default_rng(0)
    maps = (n, config.aan.n_maps, config.aan.grid, config.aan.grid)

    def drawn(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    image = rng.random((*size, n), dtype=np.float32)
    codes = drawn(n, length), drawn(n, length)
    cells = (drawn(*maps), drawn(*maps)) if config.aan.n_maps else (None, None)

    def change(count: int) -> np.ndarray:
        mask = np.zeros(image.shape, dtype=bool)
        # A stack is a slice with its neighbours, and is taken where any of them is masked.
        mask[..., 1 : count - 1] = True
        given = Conditioned(image, mask, *codes, *cells)
        return predict_change(network, given, device=device)

    return change


def measure_network(repeats: int) -> dict[str, Any]:
    """Time the default preset alone on a full set of slices."""
    import torch

    from bids_harmony.model.presets import DEFAULT_PRESET

    torch.set_num_threads(THREADS)
    n, width, height = NETWORK_SLICES
    change = network_job(n, (width, height))
    meter = Meter()
    change(16)
    for _ in range(repeats):
        with meter.stage(f"network alone, {n} slices of {width}x{height}"):
            change(n)
    row = min(meter.rows, key=lambda r: r["seconds"])
    times = [r["seconds"] for r in meter.rows]
    row |= {"variant": "network", "preset": DEFAULT_PRESET, "threads": THREADS}
    row |= {"repeats": repeats, "seconds_min": min(times), "seconds_max": max(times)}
    row |= {"aim_seconds": AIM_NETWORK_S, "ratio": round(row["seconds"] / AIM_NETWORK_S, 3)}
    return row


def write_table(result: dict[str, Any]) -> None:
    """Write the Markdown table of a result."""
    lines = [
        f"# {result['name']}",
        "",
        made_by(result),
        "",
        "| stage | wall s | CPU s | peak MiB | aim | ratio |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in result["rows"]:
        aim = f"{row['aim_seconds']:g} s" if "aim_seconds" in row else ""
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
        lines.append(
            f"| {row['stage']} | {row['seconds']:.2f} | {row['cpu_seconds']:.2f} "
            f"| {row['peak_mib']} | {aim} | {ratio} |"
        )
    whole = next(row for row in result["rows"] if row["variant"] == "whole")
    lines += [
        "",
        f"Scan: {result['rows'][0]['scan']}. Peak memory of the stages is that of one process that"
        " keeps what earlier stages left; of the whole run, that of its largest process. All its"
        f" processes together: {whole['tree_peak_mib']} MiB (aim {whole['aim_mib']:g} MiB, ratio"
        f" {whole['memory_ratio']:.2f}).",
        "",
    ]
    RESULT.with_suffix(".md").write_text("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    scans = (f"{s}/anat/{s}_T1w.nii.gz" for s in ("sub-philips01", "sub-uih01"))
    for name in ("--scan", "--reference-site"):
        parser.add_argument(name, type=Path, default=DATA / next(scans))
    parser.add_argument("--repeats", type=int, default=3, help="of the network alone")
    parser.add_argument("--table-only", action="store_true", help="table from the stored JSON")
    options = parser.parse_args()
    if options.table_only:
        write_table(json.loads(RESULT.read_text()))
        return
    for path in (options.scan, options.reference_site):
        if not path.is_file():
            raise SystemExit(f"There is no scan {path}: name one with --scan, --reference-site")
    before = os.getloadavg()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bids, trained, out = folder / "bids", folder / "trained", folder / "out"
        make_dataset(bids, options.scan.resolve(), options.reference_site.resolve())
        both = ["--voxel-mm", "1", "--nprocs", str(THREADS), "--omp-nthreads", str(THREADS)]
        both += ["--device", "cpu", "-w", str(folder / "work")]
        print("making the model's site profiles", flush=True)
        measured_command(
            str(bids), str(trained), "train", *both,
            "--twin-steps", "0", "--adapt-steps", "0", "--no-start", log=folder / "train.log",
        )  # fmt: skip
        rows = measure_stages(
            bids / "sub-01" / "anat" / "sub-01_T1w.nii.gz", trained / "models", folder
        )
        rows[0]["scan"] = options.scan.name
        rows.append(
            {"variant": "stages", "stage": "sum of the stages"}
            | {k: round(sum(r[k] for r in rows), 3) for k in ("seconds", "cpu_seconds")}
            | {"peak_mib": max(r["peak_mib"] for r in rows)}
        )
        rows.append(measure_network(options.repeats))
        arguments = [str(bids), str(out), "participant", "--participant-label", "01"]
        arguments += ["--target-site", TARGET, "--model", str(trained / "models"), *both]
        whole: dict[str, Any] = {"variant": "whole", "stage": "whole run, command line"}
        whole |= measured_command(*arguments, log=folder / "participant.log")
        whole |= {"aim_seconds": AIM_WHOLE_S, "ratio": round(whole["seconds"] / AIM_WHOLE_S, 3)}
        whole |= {"aim_mib": AIM_WHOLE_MIB}
        whole["memory_ratio"] = round(whole["tree_peak_mib"] / AIM_WHOLE_MIB, 3)
        rows.append(whole)
    result = {
        "name": "participant",
        "command": "python benchmarks/participant.py",
        **provenance(PACKAGES),
        "load_average": {"before": before, "after": os.getloadavg()},
        "seeds": [0],
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    write_table(result)
    print(RESULT.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()

"""Outputs of a scan into the derivative: image first, sidecar last, each whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiPath,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_harmony.exceptions import CannotCreateOutput
from bids_harmony.interfaces.base import Adapter

__all__ = ["WriteAnatomy", "WriteHarmonized", "copy_output", "figure_path", "measured"]


class _WriterInput(BaseInterfaceInputSpec):
    # The hash stands for both.
    scan = traits.Any(mandatory=True, nohash=True)
    settings = traits.Any(mandatory=True, nohash=True)
    input_hash = traits.Str(mandatory=True, desc="sha256 of all that the output depends on")


class WriteAnatomy(Adapter):
    """Write brain mask and transform to the reference of one scan."""

    # The output folder may have been emptied since the node last ran.
    _always_run = True

    class input_spec(_WriterInput):
        mask_file = File(exists=True, mandatory=True)
        mask_kind = traits.Str(mandatory=True)
        xfm_file = File(exists=True, mandatory=True)
        similarity = traits.Float(desc="of the registration")
        mask_from = traits.Str("", usedefault=True, desc="what a mask was taken from")
        xfm_from = traits.Str(desc="what a transform was taken from")
        person_mask = File(exists=True, desc="mask that sessions share, on the reference grid")
        shares_with = traits.List(traits.Str, desc="scans that lie in the same space")
        copied = traits.List(
            traits.Tuple(traits.Str, traits.Str), desc="files that were reused: from, to"
        )
        # What is refused on its way leaves nothing behind, neither mask nor transform.
        after = traits.Any(nohash=True, desc="what must be made before")

    class output_spec(TraitedSpec):
        mask_file = File(exists=True)
        xfm_file = File(exists=True)

    def _adapt(self, folder: Path) -> dict:
        import nibabel as nib

        from bids_harmony.bids.derivative import check_numbers, write_json
        from bids_harmony.bids.naming import bids_uri, mask_path, sidecar_path, transform_path
        from bids_harmony.bids.sidecar import derived_sidecar
        from bids_harmony.imaging.reference import REFERENCE
        from bids_harmony.io.header import orientation_note

        scan, settings = self.inputs.scan, self.inputs.settings
        mask = mask_path(settings.output_dir, scan)
        xfm = transform_path(settings.output_dir, scan, to=REFERENCE)
        registered: dict[str, Any] = {}
        if isdefined(self.inputs.similarity):
            registered["RegistrationSimilarity"] = round(self.inputs.similarity, 4)
            check_numbers(registered, str(scan.path))
        masked = {"MaskFrom": self.inputs.mask_from} if self.inputs.mask_from else {}
        if isdefined(self.inputs.xfm_from) and self.inputs.xfm_from:
            registered["TransformFrom"] = self.inputs.xfm_from
        others = self.inputs.shares_with if isdefined(self.inputs.shares_with) else []
        if others:
            uris = [bids_uri(Path(one), settings.bids_dir) for one in others]
            registered["SharesSpaceWith"] = uris
        # Those who apply the transform must read the header as we do.
        image: Any = nib.load(scan.path)
        if note := orientation_note(image):
            registered["OrientationNote"] = note
        for source, target, extra in (
            (
                self.inputs.mask_file,
                mask,
                {"Type": "Brain", "MaskKind": self.inputs.mask_kind, **masked},
            ),
            (self.inputs.xfm_file, xfm, registered),
        ):
            copy_output(source, target)
            if reference := _spatial_reference(target, scan, settings.bids_dir):
                extra = extra | {"SpatialReference": reference}
            record = derived_sidecar(
                scan, settings.bids_dir, resume_hash=self.inputs.input_hash, extra=extra
            )
            write_json(sidecar_path(target), record)
        if isdefined(self.inputs.person_mask):
            self._write_person(Path(self.inputs.person_mask), [*others, str(scan.path)])
        for source, target in self.inputs.copied if isdefined(self.inputs.copied) else ():
            # What is called as ours is ours, on the scan's own grid.
            if Path(target) not in (mask, xfm, sidecar_path(mask), sidecar_path(xfm)):
                copy_output(source, Path(target))
        return {"mask_file": str(mask), "xfm_file": str(xfm)}

    def _write_person(self, mask_file: Path, sources: list[str]) -> None:
        """Write the mask that the person's sessions share, with the scans behind it."""
        from bids_harmony.bids.derivative import write_json
        from bids_harmony.bids.naming import bids_uri, person_mask_path, sidecar_path
        from bids_harmony.imaging.reference import REFERENCE

        scan, settings = self.inputs.scan, self.inputs.settings
        target = person_mask_path(settings.output_dir, scan, space=REFERENCE)
        copy_output(str(mask_file), target)
        write_json(
            sidecar_path(target),
            {
                "Description": "Brain that the sessions of the person share",
                "Type": "Brain",
                "MaskKind": "person",
                "Sources": [bids_uri(Path(one), settings.bids_dir) for one in sorted(sources)],
            },
        )


class WriteHarmonized(Adapter):
    """Write a harmonized image, its figure, summary and sidecar, and the reference-grid copy."""

    _always_run = True

    class input_spec(_WriterInput):
        in_file = File(exists=True, mandatory=True)
        reference_file = File(exists=True)
        figure_file = File(exists=True, mandatory=True)
        picture_files = InputMultiPath(File(exists=True), desc="of the subject page")
        quality_file = File(exists=True, mandatory=True)
        summary_file = File(exists=True, desc="of the level group")
        change_files = traits.Dict({}, usedefault=True, desc="of `change_files.make_change`")
        mask_kind = traits.Str(mandatory=True)
        target_site = traits.Str(mandatory=True)
        model = traits.Dict(mandatory=True, desc="as for bids.sidecar.harmonized_sidecar")
        device = traits.Str(mandatory=True, nohash=True)
        space_files = traits.Dict(desc="of other spaces, by their labels")
        spaces_told = traits.Dict(desc="fields of their sidecars, by the same")

    class output_spec(TraitedSpec):
        out_file = File(exists=True)

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.bids.naming import harmonized_path
        from bids_harmony.imaging.reference import REFERENCE
        from bids_harmony.interfaces.change_files import remove_change, write_change

        scan, settings, target = self.inputs.scan, self.inputs.settings, self.inputs.target_site
        record = measured(self.inputs.quality_file, scan)
        stripped = settings.skull_strip or self.inputs.mask_kind == "skull-stripped"
        if isdefined(self.inputs.reference_file):
            on_grid = harmonized_path(settings.output_dir, scan, target, space=REFERENCE)
            copy_output(self.inputs.reference_file, on_grid)
            self._describe(on_grid, record, stripped=True)
        for label, file in (
            self.inputs.space_files.items() if isdefined(self.inputs.space_files) else ()
        ):
            elsewhere = harmonized_path(settings.output_dir, scan, target, space=label)
            copy_output(file, elsewhere)
            told = self.inputs.spaces_told[label]
            self._describe(elsewhere, record, stripped=stripped, extra=told)
        figure = figure_path(settings.output_dir, scan, target)
        copy_output(self.inputs.figure_file, figure)
        for picture in self.inputs.picture_files if isdefined(self.inputs.picture_files) else ():
            copy_output(picture, figure.with_name(f"{figure.stem}_{Path(picture).name}"))
        # The native image comes last: its sidecar tells later runs that the scan is finished.
        native = harmonized_path(settings.output_dir, scan, target)
        self._write_summary(native)
        if self.inputs.change_files:
            write_change(
                self.inputs.change_files, native, scan, settings,
                resume_hash=self.inputs.input_hash, skull_stripped=stripped,
            )  # fmt: skip
        else:
            remove_change(native)
        copy_output(self.inputs.in_file, native)
        self._describe(native, record, stripped=stripped)
        return {"out_file": str(native)}

    def _write_summary(self, image: Path) -> None:
        from bids_harmony.bids.naming import summary_path

        if isdefined(self.inputs.summary_file):
            copy_output(self.inputs.summary_file, summary_path(image))
        else:
            # One that an earlier run left does not belong to this image.
            summary_path(image).unlink(missing_ok=True)

    def _describe(
        self,
        image: Path,
        record: dict[str, Any],
        *,
        stripped: bool,
        extra: dict[str, Any] | None = None,
    ) -> None:
        from bids_harmony.bids.derivative import write_json
        from bids_harmony.bids.naming import bids_uri, mask_path, sidecar_path, transform_path
        from bids_harmony.bids.sidecar import harmonized_sidecar
        from bids_harmony.imaging.reference import REFERENCE

        scan, settings = self.inputs.scan, self.inputs.settings
        output = settings.output_dir
        used = (mask_path(output, scan), transform_path(output, scan, to=REFERENCE))
        write_json(
            sidecar_path(image),
            harmonized_sidecar(
                scan,
                settings.bids_dir,
                target=self.inputs.target_site,
                method=settings.method,
                resume_hash=self.inputs.input_hash,
                sources=[bids_uri(path, output, "") for path in used],
                skull_stripped=stripped,
                model=self.inputs.model,
                intensity_transform={
                    "IntensityScale": record["scale"],
                    "ClippedVoxels": record["n_clipped"],
                },
                device=self.inputs.device.partition(":")[0],
                precision=settings.precision,
                seed=settings.random_seed,
                out_of_distribution=record["out_of_distribution"],
                quality=record["quality"],
                site_evidence=record.get("site_evidence"),
                left_as_it_is=record.get("left_as_it_is"),
                spatial_reference=_spatial_reference(image, scan, settings.bids_dir),
                extra=record.get("signal", {}) | (extra or {}) or None,
            ),
        )


def measured(file: str, scan: Any) -> dict[str, Any]:
    """Numbers that a node left, all of which a sidecar can hold: asked before anything is copied.

    Raises
    ------
    DataError
        One is not finite.
    """
    from bids_harmony.bids.derivative import check_numbers

    record: dict[str, Any] = json.loads(Path(file).read_text())
    check_numbers(record, str(scan.path))
    return record


def _spatial_reference(image: Path, scan: Any, bids_dir: Path) -> Any:
    """Of an image that keeps the ``space`` of a preprocessed source: the source's, or itself."""
    from bids_harmony.bids.naming import bids_uri

    space = scan.entities.get("space")
    if space is None or f"_space-{space}_" not in image.name:
        return None
    return scan.metadata.get("SpatialReference", bids_uri(scan.path, bids_dir))


def figure_path(output_dir: Path, scan: Any, target: str) -> Path:
    """Where the figure of a scan goes: ``sub-X/figures/``, named as the harmonized image."""
    from bids_harmony.bids.naming import harmonized_path
    from bids_harmony.io.names import file_stem

    name = file_stem(harmonized_path(output_dir, scan, target))
    return Path(output_dir) / f"sub-{scan.subject}" / "figures" / f"{name}.png"


def copy_output(source: str, target: Path) -> None:
    """Copy a node's file into the derivative, whole or not at all; its folder is made."""
    from bids_harmony.io.atomic import write_atomically
    from bids_harmony.io.pointers import check_content, is_named

    if is_named(target):
        # Nothing is overwritten unread.
        check_content(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotCreateOutput(
            "An output folder cannot be made", where=str(target.parent), got=str(error)
        ) from error
    write_atomically(target, Path(source).read_bytes())

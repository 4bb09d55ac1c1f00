#!/usr/bin/env bash
# A good guess: the sform of a NIfTI file comes first wherever its code is above 0 (the standard's method 3; nibabel and FSL do
# so), so that a transform in millimetres means the same in ANTs as in nibabel.
# What happens: ITK (ANTs, SimpleITK, Slicer) takes the sform only if its code is 1 or no qform is set. With sform code 2, 3 or 4
# beside a qform, which is what SPM leaves after coregistration, it takes the qform and says nothing. Of a sform it takes,
# it ignores the voxel sizes (pixdim counts) and falls back to the qform where the axes are sheared; with neither set it starts at
# voxel 0 in LPS while nibabel centres in LAS.
# Who is hurt: whoever computes a transform on nibabel's affine and applies it with antsApplyTransforms: off by the difference.
# Version and source: SimpleITK 2.5.2 (ITK 5.4, itkNiftiImageIO.cxx, SetImageIOOrientationFromNIfTI), nibabel 5.3.2.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install -q SimpleITK==2.5.2 nibabel==5.3.2 numpy
venv/bin/python - <<'PYTHON'
import sys

import nibabel as nib
import numpy as np
import SimpleITK as sitk

qform = np.diag([2.0, 2, 2, 1])
sform = qform.copy()
sform[0, 3] = 5
print("SimpleITK", sitk.Version().VersionString(), "nibabel", nib.__version__)
seen = {}
for code in (1, 2, 3, 4):
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), qform)
    image.set_qform(qform, 1)
    image.set_sform(sform, code)
    nib.save(image, "a.nii")
    x_nibabel = float(nib.load("a.nii").affine[0, 3])
    x_itk = -float(sitk.ReadImage("a.nii").GetOrigin()[0])  # LPS to RAS
    seen[code] = (x_nibabel, x_itk)
    print(f"sform code {code} (x = 5 mm), qform code 1 (x = 0 mm): nibabel {x_nibabel:g}, ITK {x_itk:g}")
expected = {1: (5, 5), 2: (5, 0), 3: (5, 0), 4: (5, 0)}
if not all(np.allclose(seen[code], expected[code]) for code in expected):
    sys.exit("This has changed.")
print("ITK puts the image 5 mm away from where nibabel does unless the sform's code is 1.")
PYTHON

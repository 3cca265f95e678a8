"""Small volumes to test with: NIfTI files and DICOM series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def write_nifti(path: Path, values: Any, affine: Any | None = None, *, code: int = 1) -> Path:
    """Write a NIfTI file; ``code`` 0 states no affine."""
    import nibabel

    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    image.set_sform(image.affine, code)
    image.set_qform(image.affine, code)
    image.to_filename(path)
    return path


def write_series(
    folder: Path, values: Any, *, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), **changes: Any
) -> Path:
    """Write a DICOM series of CT: ``values`` ``(X, Y, Z)`` in Hounsfield units, X to the left, Y to the back."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True)
    series = generate_uid()
    # File names in another order than the slices.
    for k in range(values.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = Dataset()
        one.file_meta = meta
        one.SOPClassUID, one.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        one.PatientName, one.Modality, one.SeriesInstanceUID = "Doe^Jane", "CT", series
        one.ImageOrientationPatient, one.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-10, -20, 5 + k * spacing[2]]
        one.PixelSpacing, one.SliceThickness = [spacing[1], spacing[0]], spacing[2]
        one.Rows, one.Columns = values.shape[1], values.shape[0]
        one.PhotometricInterpretation, one.SamplesPerPixel, one.PixelRepresentation = "MONOCHROME2", 1, 0
        one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
        one.RescaleSlope, one.RescaleIntercept = 1, -1024
        one.PixelData = (values[:, :, k].T + 1024).astype(np.uint16).tobytes()
        for name, value in changes.items():
            setattr(one, name, value)
        one.save_as(folder / f"{(7 * k) % values.shape[2]:03d}_{k}.dcm", enforce_file_format=True)
    return folder

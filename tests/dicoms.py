"""DICOM files made for tests, with a patient in them."""

import io
from fractions import Fraction

import av
import cv2
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PATIENT = {
    "PatientName": "Secretman^Egon", "PatientID": "PID4711", "PatientBirthDate": "19510203", "PatientSex": "M",
    "StudyDate": "20240517", "AcquisitionDateTime": "20240517101112", "InstitutionName": "Waldklinik",
    "ReferringPhysicianName": "Knows^Doctor", "AccessionNumber": "ACC99887", "StudyDescription": "Nasenspiegelung",
    "DeviceSerialNumber": "SER55443",
}  # fmt: skip
SERIES = generate_uid()


def write_dicom(path, frames, *, syntax=ExplicitVRLittleEndian, data=None, pixels=None, bits=8, **tags):
    """Write frames (RGB or grey, uint8 or uint16); ``data``: each of them compressed, or parts of the
    stream of a video; ``pixels``: all of them as they are to be stored.
    """
    first = frames[0]
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.1.1"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SeriesInstanceUID = SERIES
    made.Rows, made.Columns = first.shape[:2]
    made.SamplesPerPixel = 3 if first.ndim == 3 else 1
    made.PhotometricInterpretation = "RGB" if first.ndim == 3 else "MONOCHROME2"
    if first.ndim == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = 8 * first.dtype.itemsize
    made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits - 1, 0
    made.NumberOfFrames = len(frames)
    for name, value in (PATIENT | tags).items():
        setattr(made, name, value)
    if data is None:
        stored = np.stack(frames).tobytes() if pixels is None else pixels
        made.PixelData = stored + b"\0" * (len(stored) % 2)
    else:
        made.PixelData = encapsulate(data, has_bot=False)
        made["PixelData"].is_undefined_length = True
    made["PixelData"].VR = "OW" if data is None and made.BitsAllocated > 8 else "OB"
    made.save_as(path, enforce_file_format=True)
    return path


def jpeg(frame):
    return cv2.imencode(".jpg", np.ascontiguousarray(frame[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 97])[1].tobytes()


def jpeg2000(frame):
    out = io.BytesIO()
    # The codestream without the boxes of a file.
    Image.fromarray(frame).save(out, format="JPEG2000", no_jp2=True, irreversible=False)
    return out.getvalue()


def by_ffmpeg(codec_name, frame, frame_format, codec_format=None):
    codec = av.CodecContext.create(codec_name, "w")
    codec.height, codec.width = frame.shape[:2]
    codec.pix_fmt, codec.framerate = codec_format or frame_format, 25
    codec.time_base = Fraction(1, 25)
    picture = av.VideoFrame.from_ndarray(frame, format=frame_format)
    return b"".join(bytes(packet) for packet in [*codec.encode(picture), *codec.encode(None)])


def video_stream(frames, codec, container_format, rate=10):
    """A video as the bytes of a file."""
    out = io.BytesIO()
    with av.open(out, "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return out.getvalue()

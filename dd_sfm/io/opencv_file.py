"""YAML as OpenCV's FileStorage writes it."""

from collections.abc import Mapping
from typing import Any

import cv2


def opencv_yaml(values: Mapping[str, Any]) -> str:
    """Values by name, numbers, words and arrays, as a file that ``cv2.FileStorage`` reads; numbers keep all digits."""
    storage = cv2.FileStorage("calibration.yaml", cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    for name, value in values.items():
        storage.write(name, value)
    text = str(storage.releaseAndGetString())
    # OpenCV 5 begins its files as older versions do not read them, and leaves out the last line's end.
    return text.replace("%YAML 1.2", "%YAML:1.0", 1).rstrip() + "\n"

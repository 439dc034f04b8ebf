"""Transforms of space as 4 x 4 matrices: text, JSON, and ITK's transform files."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dd_sfm.documents import finite, parse_json, regular
from dd_sfm.errors import InputError, reason_of

MOST_BYTES = 1_000_000
KNOWN = "AffineTransform", "MatrixOffsetTransformBase", "Similarity3DTransform", "VersorRigid3DTransform"


def read_transform(path: Path) -> NDArray[np.float64]:
    """Read a matrix (4, 4) that maps points p to its product with (p, 1).

    Args:
        path: ``.json`` (``matrix``, or ``scale``, ``rotation`` and ``translation``, or the rows themselves), ITK's
            ``.tfm`` or ``.txt``, or a text of 12 or 16 numbers, row by row.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        if regular(path).stat().st_size > MOST_BYTES:
            raise ValueError("too large for a matrix")
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".json":
            return _of_json(parse_json(text))
        if text.lstrip().startswith("#Insight Transform File"):
            return _of_itk(text)
        return _of_rows([float(word) for word in re.split(r"[\s,;]+", re.sub(r"#.*", "", text)) if word])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no transform ({reason_of(error)}); expected 16 numbers row by row, JSON with matrix (or "
            "scale, rotation, translation), or an ITK transform file"
        ) from error


def itk_text(matrix: NDArray[Any]) -> str:
    """A matrix (4, 4) as the text of ITK's transform file."""
    values = " ".join(f"{float(v):.17g}" for v in (*matrix[:3, :3].ravel(), *matrix[:3, 3]))
    return (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {values}\nFixedParameters: 0 0 0\n"
    )


def _of_rows(values: list[float]) -> NDArray[np.float64]:
    if len(values) not in (12, 16):
        raise ValueError(f"{len(values)} numbers")
    matrix = np.eye(4)
    matrix[: len(values) // 4] = np.reshape(values, (-1, 4))
    if not np.isfinite(matrix).all() or not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise ValueError("its last row is not 0 0 0 1, or numbers are not finite")
    return matrix


def _of_json(content: Any) -> NDArray[np.float64]:
    if isinstance(content, dict) and "matrix" not in content:
        matrix = np.eye(4)
        rotation = np.array([[finite(v) for v in row] for row in content["rotation"]])
        matrix[:3, :3] = finite(content.get("scale", 1.0)) * rotation
        matrix[:3, 3] = [finite(v) for v in content["translation"]]
        return matrix
    rows = content["matrix"] if isinstance(content, dict) else content
    return _of_rows([finite(v) for row in rows for v in (row if isinstance(row, list) else [row])])


def _of_itk(text: str) -> NDArray[np.float64]:
    """The first transform of ITK's file: p -> A (p - c) + t + c."""
    kind, values, centre = (
        re.search(rf"^{name}:\s*(.*)$", text, re.MULTILINE) for name in ("Transform", "Parameters", "FixedParameters")
    )
    if kind is None or values is None:
        raise ValueError("no Transform with Parameters")
    name, numbers = kind[1].split("_")[0], [float(word) for word in values[1].split()]
    about = np.array([float(word) for word in centre[1].split()] if centre else [0.0] * 3)
    sizes = dict(zip(KNOWN, (12, 12, 7, 6), strict=True))
    if name not in KNOWN or len(numbers) != sizes[name] or about.shape != (3,):
        raise ValueError(f"{kind[1].strip()} of {len(numbers)} parameters; known are {', '.join(KNOWN)}")
    matrix = np.eye(4)
    if sizes[name] == 12:
        matrix[:3, :3], shift = np.reshape(numbers[:9], (3, 3)), numbers[9:]
    else:
        vector, shift = np.array(numbers[:3]), numbers[3:6]
        real = np.sqrt(max(0.0, 1 - float(vector @ vector)))
        scale = numbers[6] if len(numbers) > 6 else 1.0
        matrix[:3, :3] = scale * Rotation.from_quat([*vector, real]).as_matrix()
    matrix[:3, 3] = shift + about - matrix[:3, :3] @ about
    if not np.isfinite(matrix).all():
        raise ValueError("numbers that are not finite")
    return matrix

"""Triangle meshes as binary glTF 2.0, which the page draws from."""

import json
import struct

import numpy as np
from numpy.typing import NDArray

from dd_sfm.structures import FloatArray, IntArray

VERTICES, INDICES = 34962, 34963
"""Targets of buffer views."""
FLOAT, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5123, 5125
UNLIT = "KHR_materials_unlit"


def mesh_as_glb(xyz: FloatArray, faces: IntArray, rgb: NDArray[np.uint8]) -> bytes:
    """A mesh with coloured vertices as a GLB file.

    It is drawn from both sides, and in its own colours without any light: they hold the light of the endoscope already.

    Args:
        xyz: Vertices (P, 3) in scene units, kept as float32.
        faces: Triangles (F, 3) as indices of vertices.
        rgb: Colours (P, 3) in sRGB, as pictures have them.
    """
    places = xyz.astype("<f4")
    colours = np.full((len(xyz), 4), 65535, "<u2")
    colours[:, :3] = np.round(65535 * _linear(np.arange(256) / 255))[rgb]
    parts = [places.tobytes(), colours.tobytes(), faces.astype("<u4").tobytes()]
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).tolist()
    accessors = [
        {"componentType": FLOAT, "count": len(xyz), "type": "VEC3", "min": places.min(0).tolist(),
         "max": places.max(0).tolist()},
        {"componentType": UNSIGNED_SHORT, "count": len(xyz), "type": "VEC4", "normalized": True},
        {"componentType": UNSIGNED_INT, "count": faces.size, "type": "SCALAR"},
    ]  # fmt: skip
    primitive = {"attributes": {"POSITION": 0, "COLOR_0": 1}, "indices": 2, "material": 0}
    head = {
        "asset": {"version": "2.0"},
        "extensionsUsed": [UNLIT],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [{"doubleSided": True, "pbrMetallicRoughness": {}, "extensions": {UNLIT: {}}}],
        "accessors": [{"bufferView": k, **accessor} for k, accessor in enumerate(accessors)],
        "bufferViews": [
            {"buffer": 0, "byteOffset": starts[k], "byteLength": len(part), "target": INDICES if k == 2 else VERTICES}
            for k, part in enumerate(parts)
        ],
        "buffers": [{"byteLength": starts[-1]}],
    }
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 4)
    chunks = [struct.pack("<I4s", len(text), b"JSON"), text, struct.pack("<I4s", starts[-1], b"BIN\0"), *parts]
    return struct.pack("<4sII", b"glTF", 2, 12 + sum(map(len, chunks))) + b"".join(chunks)


def _linear(values: FloatArray) -> FloatArray:
    """Colours in [0, 1] of pictures as amounts of light, which glTF has (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)

"""Clouds and runs to look at, of which everything is known."""

import numpy as np

from dd_sfm.cameras import PinholeCamera
from dd_sfm.io.clouds import write_mesh
from dd_sfm.viz.render.cloud_view import CloudView

WALL_SIDE = 40
CAMERA = PinholeCamera(160, 120, 100.0, 100.0, 79.5, 59.5)


def poses(count=5, step=0.5):
    """Cameras that move along x and look along z (C, 3, 4)."""
    return np.stack([np.column_stack([np.eye(3), [-step * k, 0, 0]]) for k in range(count)])


def shown(tmp_path, count=5, points=400, label="run", images=()):
    """A wall at a distance of 10, with errors 0 to 2 px and tracks of 2 to 11; the images need not be there."""
    from dd_sfm.io.scene import SceneImage

    rng = np.random.default_rng(0)
    xyz = np.column_stack([rng.uniform(-4, 6, points), rng.uniform(-4, 4, points), np.full(points, 10.0)])
    names = images or [SceneImage(f"{k:08d}.png", k, CAMERA) for k in range(10, 10 + count)]
    return CloudView(
        tmp_path / label,
        label,
        xyz,
        rng.integers(0, 256, (points, 3)).astype(np.uint8),
        np.linspace(0, 2, points),
        2 + np.arange(points) % 10,
        np.full(points, np.nan),
        tuple(names),
        poses(count),
    )


def write_wall(folder, side=WALL_SIDE, rgb=(90, 90, 90)):
    """A mesh of side x side vertices as that of a run in a folder."""
    folder.mkdir(exist_ok=True)
    x, y = np.meshgrid(np.linspace(-4, 6, side), np.linspace(-4, 4, side))
    xyz = np.column_stack([x.ravel(), y.ravel(), np.full(side**2, 10.0)])
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    faces = np.concatenate([corner[:, None] + [0, 1, side], corner[:, None] + [1, side + 1, side]])
    write_mesh(
        folder / "mesh.ply", xyz, faces, np.tile([0.0, 0, -1], (len(xyz), 1)), np.tile(np.uint8(rgb), (len(xyz), 1))
    )


def saved_parts(content):
    """Whether each part of a .viser file, by its name in the list of parts, is shown at first."""
    import msgspec
    import zstandard

    size = int.from_bytes(content[:8], "little")
    inner = zstandard.ZstdDecompressor().decompressobj().decompress(content[8:])
    assert len(inner) == size
    head = msgspec.msgpack.decode(inner[8 : 8 + int.from_bytes(inner[:8], "little")])
    parts = {}
    for _, message in head["messages"]:
        name = message.get("name")
        if message["type"] == "SetSceneNodeVisibilityMessage":
            parts[name] = message["visible"]
        elif "props" in message and name is not None:
            parts.setdefault(name, True)
    return parts

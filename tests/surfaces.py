"""Surfaces, clouds of them, and the files that they come in."""

import base64
import zlib

import numpy as np
from scipy.spatial.transform import Rotation

from dd_sfm.io.surfaces import Surface
from dd_sfm.registration.moving import Moving, moved
from dd_sfm.sfm.geometry import Similarity


def tube(bump=0.0, rings=60, around=48, length=40.0, radius=6.0):
    """A tube along z; ``bump``: height of two bumps of its wall, without which it fits anywhere along itself."""
    z, angle = np.meshgrid(
        np.linspace(0, length, rings), np.linspace(0, 2 * np.pi, around, endpoint=False), indexing="ij"
    )
    wide = np.full_like(z, radius)
    for place, middle, size in ((15.0, 1.0, 3.0), (22.0, 3.5, 4.0), (27.0, 5.3, 2.5), (19.0, 2.2, 2.0)):
        away = np.angle(np.exp(1j * (angle - middle))) * radius
        wide = wide - bump * np.exp(-((z - place) ** 2 + away**2) / size**2)
    vertices = np.stack([wide * np.cos(angle), wide * np.sin(angle), z], -1).reshape(-1, 3)
    index = np.arange(rings * around).reshape(rings, around)
    a, b = index[:-1], index[1:]
    c, d = np.roll(a, -1, 1), np.roll(b, -1, 1)
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    return Surface(vertices, faces, "tube.stl")


def seen_part(target, count=1500, low=12.0, high=30.0, noise=0.03, seed=0):
    """A cloud of what a scope sees of a tube: a part along z, normals towards its axis, with noise."""
    rng = np.random.default_rng(seed)
    inside = np.flatnonzero((target.xyz[:, 2] > low) & (target.xyz[:, 2] < high))[:count]
    xyz, normals = target.xyz[inside], target.normals[inside]
    inward = -np.column_stack([xyz[:, :2], np.zeros(len(xyz))])
    normals = normals * np.sign((normals * inward).sum(1))[:, None]
    xyz = xyz + noise * rng.standard_normal(xyz.shape)
    return Moving(xyz, normals, np.full(len(xyz), noise), np.full((len(xyz), 3), 128, np.uint8))


def disturbed(cloud, scale=1.1, degrees=15.0, shift=(4.0, -3.0, 2.0)):
    """The cloud elsewhere, and the transform that brings it back."""
    rotation = Rotation.from_rotvec(np.radians(degrees) * np.array([0.6, -0.64, 0.48])).as_matrix()
    off = Similarity(scale, rotation, cloud.centre + shift - scale * rotation @ cloud.centre)
    back = Similarity(1 / scale, rotation.T, -rotation.T @ off.shift / scale)
    return moved(cloud, off), back


MESH = tube(2.0, rings=8, around=12)


def rows(values, kind="{:.6f}"):
    return "\n".join(" ".join(kind.format(v) for v in row) for row in values)


def ascii_stl():
    faces = "".join(
        "facet normal 0 0 0\nouter loop\n"
        + "".join(f"vertex {p[0]:.6f} {p[1]:.6f} {p[2]:.6f}\n" for p in t)
        + "endloop\nendfacet\n"
        for t in MESH.vertices[MESH.faces]
    )
    return f"solid tube\n{faces}endsolid tube\n".encode()


def binary_stl():
    record = np.dtype([("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")])
    values = np.zeros(len(MESH.faces), record)
    values["v"] = MESH.vertices[MESH.faces]
    return b"\0" * 80 + np.uint32(len(values)).tobytes() + values.tobytes()


def obj():
    faces = "\n".join(f"f {a}//{a} {b}//{b} {c}//{c}" for a, b, c in MESH.faces + 1)
    vertices = "\n".join(f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in MESH.vertices)
    normals = "\n".join("vn 0 0 1" for _ in MESH.vertices)
    return f"mtllib none.mtl\n{vertices}\n{normals}\n{faces}\n".encode()


def vtk(kind="POLYGONS", binary=False, version="3.0"):
    count, faces = len(MESH.vertices), np.column_stack([np.full(len(MESH.faces), 3), MESH.faces])
    head = f"# vtk DataFile Version {version}\n\n{'BINARY' if binary else 'ASCII'}\n"
    dataset = "UNSTRUCTURED_GRID" if kind == "CELLS" else "POLYDATA"
    out = f"{head}DATASET {dataset}\nPOINTS {count} double\n".encode()
    out += MESH.vertices.astype(">f8").tobytes() if binary else rows(MESH.vertices).encode()
    if version == "5.1":
        offsets = np.arange(0, 3 * len(faces) + 1, 3)
        out += f"\n{kind} {len(offsets)} {3 * len(faces)}\nOFFSETS vtktypeint64\n".encode()
        out += offsets.astype(">i8").tobytes() + b"\nCONNECTIVITY vtktypeint64\n" + MESH.faces.astype(">i8").tobytes()
    else:
        out += f"\n{kind} {len(faces)} {faces.size}\n".encode()
        out += faces.astype(">i4").tobytes() if binary else rows(faces, "{}").encode()
    if kind == "CELLS":
        out += f"\nCELL_TYPES {len(faces)}\n".encode() + b"5\n" * len(faces)
    return out + f"\nPOINT_DATA {count}\nSCALARS a float 1\n".encode()


def vtp(form="ascii", *, is_base64=False, compressed=False, big=False, wide=False):
    """VTK's XML PolyData; ``compressed``: blocks by zlib; ``wide``: headers of 64 bits."""
    order, header = ">" if big else "<", "u8" if wide else "u4"
    appended, coded = b"", form == "binary" or is_base64

    def stored(values):
        content, head = values.tobytes(), [values.nbytes]
        if compressed:
            blocks = [zlib.compress(content[at : at + 1024]) for at in range(0, len(content), 1024)]
            head, content = [len(blocks), 1024, len(content) % 1024, *map(len, blocks)], b"".join(blocks)
        numbers = np.array(head, order + header).tobytes()
        if not coded:
            return numbers + content
        if compressed:
            return base64.b64encode(numbers) + b"".join(map(base64.b64encode, blocks))
        return base64.b64encode(numbers + content)

    def array(name, kind, values):
        nonlocal appended
        values = values.astype(order + {"Float32": "f4", "Int64": "i8"}[kind])
        begin = f'<DataArray type="{kind}" Name="{name}" format="{form}"'
        if form == "appended":
            begin, appended = f'{begin} offset="{len(appended)}"', appended + stored(values)
            return f"{begin}/>"
        text = " ".join(map(str, values.ravel().tolist())) if form == "ascii" else stored(values).decode()
        return f"{begin}>\n  {text}\n</DataArray>"

    count, faces = len(MESH.vertices), MESH.faces
    points = array("Points", "Float32", MESH.vertices)
    cells = array("connectivity", "Int64", faces) + array("offsets", "Int64", 3 * np.arange(1, len(faces) + 1))
    how = f'byte_order="{"Big" if big else "Little"}Endian" header_type="UInt{64 if wide else 32}"'
    how += ' compressor="vtkZLibDataCompressor"' if compressed else ""
    text = (
        f'<?xml version="1.0"?>\n<VTKFile type="PolyData" version="1.0" {how}>\n<PolyData>\n'
        f'<Piece NumberOfPoints="{count}" NumberOfPolys="{len(faces)}">\n<Points>{points}</Points>\n'
        f"<Polys>{cells}</Polys>\n</Piece>\n</PolyData>\n"
    ).encode()
    if form == "appended":
        encoding = "base64" if is_base64 else "raw"
        text += f'<AppendedData encoding="{encoding}">\n_'.encode() + appended + b"\n</AppendedData>\n"
    return text + b"</VTKFile>\n"


FILES = {
    "a.stl": ascii_stl,
    "b.stl": binary_stl,
    "c.obj": obj,
    "d.vtk": vtk,
    "e.vtk": lambda: vtk(binary=True),
    "f.vtk": lambda: vtk(binary=True, version="5.1"),
    "g.vtk": lambda: vtk("CELLS"),
    "h.vtp": vtp,
    "i.vtp": lambda: vtp("binary"),
    "j.vtp": lambda: vtp("binary", compressed=True, big=True),
    "k.vtp": lambda: vtp("appended", wide=True),
    "l.vtp": lambda: vtp("appended", compressed=True),
    "m.vtp": lambda: vtp("appended", is_base64=True, compressed=True, wide=True),
}

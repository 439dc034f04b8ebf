import numpy as np
import pytest
from surfaces import FILES, MESH, rows

from dd_sfm.errors import InputError
from dd_sfm.io.clouds import write_mesh, write_points
from dd_sfm.io.surfaces import read_surface


def corners(surface):
    """The triangles' corners (F, 3, 3) in an order that does not depend on how they are stored."""
    places = np.round(surface.vertices[surface.faces], 3) + 0.0
    rolled = [np.roll(t, -int(np.lexsort(t.T[::-1])[0]), axis=0) for t in places]
    flat = np.array(rolled).reshape(len(rolled), 9)
    return flat[np.lexsort(flat.T[::-1])]


@pytest.mark.parametrize("name", FILES)
def test_surfaces_are_read(name, tmp_path):
    (tmp_path / name).write_bytes(FILES[name]())
    assert np.allclose(corners(read_surface(tmp_path / name)), corners(MESH), atol=2e-3)


def test_ply_is_read_as_mesh_or_as_cloud(tmp_path):
    write_mesh(tmp_path / "a.ply", MESH.vertices, MESH.faces, MESH.vertices)
    assert np.allclose(corners(read_surface(tmp_path / "a.ply")), corners(MESH), atol=2e-3)
    write_points(tmp_path / "b.ply", MESH.vertices, np.zeros((len(MESH.vertices), 3), np.uint8))
    assert read_surface(tmp_path / "b.ply").faces.shape == (0, 3)


def test_strips_and_polygons_become_triangles(tmp_path):
    points = np.column_stack([np.arange(60) // 2, np.arange(60) % 2, np.zeros(60)]).astype(float)
    head = f"# vtk DataFile Version 3.0\nstrip\nASCII\nDATASET POLYDATA\nPOINTS 60 float\n{rows(points)}\n"
    (tmp_path / "strip.vtk").write_text(f"{head}TRIANGLE_STRIPS 1 61\n60 {' '.join(map(str, range(60)))}\n")
    assert len(read_surface(tmp_path / "strip.vtk").faces) == 58
    quads = "\n".join(f"4 {k} {k + 2} {k + 3} {k + 1}" for k in range(0, 58, 2))
    (tmp_path / "quads.vtk").write_text(f"{head}POLYGONS 29 145\n{quads}\n")
    found = read_surface(tmp_path / "quads.vtk")
    across = np.cross(*(found.vertices[found.faces[:, k]] - found.vertices[found.faces[:, 0]] for k in (1, 2)))
    assert np.abs(across).sum() / 2 == pytest.approx(29)
    assert (across[:, 2] < 0).all() or (across[:, 2] > 0).all()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.stl", b"solid\nfacet"),
        ("a.obj", b"v 1 2\nf 1 2 3\n"),
        ("a.vtk", b"# vtk DataFile Version 3.0\n\nASCII\nDATASET POLYDATA\nPOINTS 999999999999 float\n1 2 3"),
        ("b.vtk", b"# vtk DataFile Version 3.0\n\nASCII\nDATASET STRUCTURED_POINTS\n"),
        ("c.vtk", b"<VTKFile type='PolyData'>"),
        ("a.ply", b"ply\n"),
        ("a.xyz", b""),
    ],
)
def test_other_files_are_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="expected"):
        read_surface(tmp_path / name)
    with pytest.raises(InputError):
        read_surface(tmp_path / "missing.stl")

import base64
import tracemalloc
import zlib

import numpy as np
import pytest
from surfaces import FILES, MESH, rows, vtp

from dd_sfm.errors import InputError
from dd_sfm.io import vtp_surface
from dd_sfm.io.clouds import write_mesh, write_points
from dd_sfm.io.surfaces import read_surface
from dd_sfm.io.vtp import write_polydata
from dd_sfm.io.vtp_surface import read_vtp


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


@pytest.mark.parametrize("compressor", ["None", "ZLib", "LZMA", "LZ4"])
@pytest.mark.parametrize("mode", ["Ascii", "Binary", "Appended", "AppendedRaw"])
def test_what_vtk_writes_is_read(mode, compressor, tmp_path):
    pytest.importorskip("vtk")
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
    from vtkmodules.vtkFiltersCore import vtkStripper
    from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

    points, cells, data = vtkPoints(), vtkCellArray(), vtkPolyData()
    points.SetData(numpy_to_vtk(MESH.vertices, deep=True))
    offsets, corners = 3 * np.arange(len(MESH.faces) + 1), MESH.faces.ravel()
    cells.SetData(*(numpy_to_vtkIdTypeArray(numbers, deep=True) for numbers in (offsets, corners)))
    data.SetPoints(points)
    data.SetPolys(cells)
    strips = vtkStripper()
    strips.SetInputData(data)
    strips.Update()
    for name, mesh in (("mesh.vtp", data), ("strips.vtp", strips.GetOutput())):
        writer = vtkXMLPolyDataWriter()
        writer.SetFileName(str(tmp_path / name))
        writer.SetInputData(mesh)
        getattr(writer, f"SetDataModeTo{mode.removesuffix('Raw')}")()
        getattr(writer, f"SetCompressorTypeTo{compressor}")()
        writer.SetEncodeAppendedData(not mode.endswith("Raw"))
        writer.SetBlockSize(1024)
        writer.Write()
    if compressor == "LZ4" and mode != "Ascii":
        with pytest.raises(InputError, match="compressed by vtkLZ4DataCompressor; save it with zlib"):
            read_surface(tmp_path / "mesh.vtp")
        return
    assert np.array_equal(read_surface(tmp_path / "mesh.vtp").faces, MESH.faces)
    assert np.allclose(read_surface(tmp_path / "mesh.vtp").vertices, MESH.vertices, atol=1e-5)
    assert len(read_surface(tmp_path / "strips.vtp").faces) == len(MESH.faces)


def test_a_cloud_as_slicer_gets_it_is_no_surface(tmp_path):
    write_polydata(tmp_path / "points.vtp", MESH.vertices, {}, texts={})
    with pytest.raises(InputError, match="no triangle in it"):
        read_surface(tmp_path / "points.vtp")


@pytest.mark.parametrize("stated", [2**31, 2**62])
def test_blocks_that_would_not_fit_into_memory_are_refused(stated, tmp_path):
    blocks = zlib.compress(bytes(200_000_000), 9)
    head = np.array([1, stated, 0, len(blocks)], "<u8").tobytes()
    array = b'<DataArray type="Float64" format="appended" offset="0"/>'
    (tmp_path / "a.vtp").write_bytes(
        b'<VTKFile type="PolyData" header_type="UInt64" compressor="vtkZLibDataCompressor"><PolyData>'
        b'<Piece NumberOfPoints="8000000"><Points>' + array + b"</Points></Piece></PolyData>"
        b'<AppendedData encoding="raw">_' + head + blocks + b"</AppendedData></VTKFile>"
    )
    with pytest.raises(InputError, match="arrays much larger than the file"):
        read_surface(tmp_path / "a.vtp")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-16-le"])
def test_entities_are_refused_in_any_encoding(encoding, tmp_path):
    text = vtp().decode().replace("<VTKFile", "<!DOCTYPE VTKFile [<!ENTITY a '0 '>]>\n<VTKFile", 1)
    text = text.replace(
        '<?xml version="1.0"?>', "" if encoding == "utf-8" else '<?xml version="1.0" encoding="utf-16"?>'
    )
    (tmp_path / "a.vtp").write_bytes(text.replace("</DataArray>", "&a;</DataArray>").encode(encoding))
    with pytest.raises(InputError, match=r"cannot be read \(XML with definitions of its own\)"):
        read_surface(tmp_path / "a.vtp")


def test_numbers_written_out_are_no_more_than_stated_and_than_fit_the_file(tmp_path, monkeypatch):
    for name, text, says in (
        ("a.vtp", vtp().replace(b'NumberOfPoints="96"', b'NumberOfPoints="95"'), "more numbers than 285, as stated"),
        ("b.vtp", vtp().replace(b'NumberOfPolys="', b'NumberOfPolys="0'), ""),
        ("c.vtp", vtp().replace(b'NumberOfPolys="', b'NumberOfPolys="1" other="'), "more numbers than 1, as stated"),
    ):
        (tmp_path / name).write_bytes(text)
        if says:
            with pytest.raises(InputError, match=says):
                read_surface(tmp_path / name)
        else:
            assert len(read_surface(tmp_path / name).faces) == len(MESH.faces)
    monkeypatch.setattr(vtp_surface, "MOST_EXPANSION", 1)
    with pytest.raises(InputError, match="arrays much larger than the file"):
        read_surface(tmp_path / "b.vtp")


def test_many_arrays_at_one_place_do_not_read_it_again_without_end(tmp_path):
    array = b'<DataArray type="Float32" format="appended" offset="0"/>'
    piece = b'<Piece NumberOfPoints="0"><Points>' + array + b"</Points></Piece>"
    nothing = base64.b64encode(bytes(4 + 90_000))
    (tmp_path / "a.vtp").write_bytes(
        b'<VTKFile type="PolyData"><PolyData>' + 1000 * piece + b"</PolyData>"
        b'<AppendedData encoding="base64">_' + nothing + b"</AppendedData></VTKFile>"
    )
    with pytest.raises(InputError, match="arrays much larger than the file"):
        read_surface(tmp_path / "a.vtp")


def test_a_file_is_in_memory_once(tmp_path):
    """With what it holds: the numbers as they are needed, and what the triangles are found by."""
    count = 200_000
    points, corners = np.random.default_rng(0).random((count, 3)), np.arange(3 * (count // 3))
    parts = [np.array(a.nbytes, "<u8").tobytes() + a.tobytes() for a in (points, corners, corners[2::3] + 1)]
    places = np.cumsum([0, *map(len, parts)])
    point, corner, end = (
        f'<DataArray type="{kind}" Name="{name}" format="appended" offset="{place}"/>'
        for kind, name, place in zip(
            ("Float64", "Int64", "Int64"), ("Points", "connectivity", "offsets"), places[:3], strict=True
        )
    )
    path = tmp_path / "a.vtp"
    path.write_bytes(
        f'<VTKFile type="PolyData" header_type="UInt64"><PolyData><Piece NumberOfPoints="{count}">'
        f"<Points>{point}</Points><Polys>{corner}{end}</Polys></Piece></PolyData>"
        '<AppendedData encoding="raw">_'.encode()
        + b"".join(parts)
        + b"</AppendedData></VTKFile>"
    )
    tracemalloc.start()
    vertices, faces = read_vtp(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(vertices, points)
    assert np.array_equal(faces, corners.reshape(-1, 3))
    assert peak < 3 * path.stat().st_size


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.stl", b"solid\nfacet"),
        ("a.obj", b"v 1 2\nf 1 2 3\n"),
        ("a.vtk", b"# vtk DataFile Version 3.0\n\nASCII\nDATASET POLYDATA\nPOINTS 999999999999 float\n1 2 3"),
        ("b.vtk", b"# vtk DataFile Version 3.0\n\nASCII\nDATASET STRUCTURED_POINTS\n"),
        ("c.vtk", b"<VTKFile type='PolyData'>"),
        ("a.ply", b"ply\n"),
        ("a.vtp", b"# vtk DataFile Version 3.0\n"),
        ("b.vtp", b"<VTKFile type='UnstructuredGrid'/>"),
        ("c.vtp", vtp("binary", compressed=True).replace(b"ZLib", b"LZ4")),
        ("d.vtp", b"<!DOCTYPE a [<!ENTITY b 'c'>]><VTKFile type='PolyData'/>"),
        ("l.vtp", "<?xml version='1.0' encoding='UTF-16'?><!DOCTYPE a [<!ENTITY b 'c'>]>".encode("utf-16")),
        ("m.vtp", b"<?xml version='1.0' encoding='cp037'?>" + "<!DOCTYPE a><VTKFile type='PolyData'/>".encode("cp037")),
        ("e.vtp", b"<VTKFile type='PolyData'><PolyData/></VTKFile>"),
        ("f.vtp", vtp("appended")[:-400]),
        ("g.vtp", vtp("appended", compressed=True).replace(b"x", b"y")),
        ("h.vtp", vtp().replace(b'NumberOfPoints="96"', b'NumberOfPoints="97"')),
        ("i.vtp", vtp().replace(b" 95 ", b" 96 ")),
        ("j.vtp", vtp().replace(b" 95 ", b" 99999999999999999999 ")),
        (
            "k.vtp",
            vtp("binary").replace(b"<Points>", b"<Points><DataArray type='Float32' format='binary'>=</DataArray>"),
        ),
        ("a.xyz", b""),
    ],
)
def test_other_files_are_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="expected"):
        read_surface(tmp_path / name)
    with pytest.raises(InputError):
        read_surface(tmp_path / "missing.stl")

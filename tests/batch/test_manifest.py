"""What a manifest may hold, and what is said of one that cannot be used."""

import json

import pytest

from dd_sfm.batch.manifest import ManifestError, read_manifest
from dd_sfm.batch.names import labels, name_fault


def written(tmp_path, text, name="batch.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_yaml_lists_videos_with_options_of_their_own_and_common_ones(tmp_path):
    found = read_manifest(
        written(
            tmp_path,
            """
defaults: {quality: preview, options: {every: 2}}
videos:
  - {name: nose, source: nose.mp4, calibration: "1,1,2,2", options: {every: 3, max_frames: 40}}
  - {source: [a/first.mp4, /b/second.mp4], end: 1:02:30}
  - s3://bucket/colon.mp4
""",
        )
    )
    assert not found.faults
    assert found.defaults == {"quality": "preview", "every": 2}
    nose, joined, remote = found.entries
    assert nose.sources == (str(tmp_path / "nose.mp4"),)
    assert nose.options == {"calibration": "1,1,2,2", "every": 3, "max-frames": 40}
    assert joined.sources == (str(tmp_path / "a" / "first.mp4"), "/b/second.mp4")
    # A text, and not 3750, the number that YAML 1.1 reads to base 60.
    assert (joined.name, joined.options) == ("first", {"end": "1:02:30"})
    assert (remote.name, remote.sources) == ("colon", ("s3://bucket/colon.mp4",))


def test_json_is_read_as_well(tmp_path):
    path = written(tmp_path, json.dumps({"videos": [{"name": "a", "source": "a.mp4"}]}), "batch.json")
    assert [entry.name for entry in read_manifest(path).entries] == ["a"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_has_a_row_for_each_video_and_empty_cells_are_left_out(tmp_path, separator):
    rows = [["name", "source", "max_frames", "quality"], ["a", "a.mp4", "40", ""], ["", "b.mp4", "", "extreme"]]
    text = "\ufeff" + "\r\n".join(separator.join(row) for row in rows) + "\r\n\r\n"
    found = read_manifest(written(tmp_path, text, "videos.CSV"))
    assert not found.faults
    assert [(e.name, dict(e.options)) for e in found.entries] == [
        ("a", {"max-frames": "40"}),
        ("b", {"quality": "extreme"}),
    ]


def test_a_folder_has_videos_and_folders_of_images(tmp_path, tiny_clip):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.png").write_bytes(b"x")
    (tmp_path / "-c d.mp4").write_bytes(b"x")
    (tmp_path / "clip.mov").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.mp4").write_bytes(b"x")
    earlier = tmp_path / "out"
    (earlier / "pictures").mkdir(parents=True)
    found = read_manifest(str(tmp_path), str(earlier))
    assert [(entry.name, entry.sources[0].rpartition("/")[2]) for entry in found.entries] == [
        ("c d", "-c d.mp4"), ("b", "b"), ("clip", "clip.avi"), ("clip_2", "clip.mov"),
    ]  # fmt: skip
    assert "notes.txt" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("videos: [", "not YAML"),
        ("- a\n- b\n", "found list; expected a mapping with videos"),
        ("videos: []\n", "expected a list of one or more"),
        ("videos: nose.mp4\n", "expected a list of one or more"),
        ("video: [{source: a}]\n", "unknown key 'video'; did you mean 'videos'?"),
        ("defaults: 3\nvideos: [a]\n", "defaults is 3"),
        ("videos:\n- {name: a, source: a}\n- {name: A, source: b}\n", ":3: videos[1] 'A': name 'A' is that of"),
        ("videos:\n- {name: ../a, source: a}\n", ":2: videos[0]: name '../a' holds a slash"),
        ("videos:\n- {name: -rf, source: a}\n", "begins with '-'"),
        ('videos:\n- {name: "a\\nb", source: a}\n', "holds a line break"),
        ("videos:\n- {name: batch.json, source: a}\n", "calls a file of its own"),
        ("videos:\n- {name: 7, source: a}\n", "expected a text, in quotes"),
        ("videos:\n- {name: a}\n", "source is None; expected a video file"),
        ("videos:\n- {name: a, source: [a, 3]}\n", "source is ['a', 3]"),
        ("videos:\n- 5\n", "found 5; expected a mapping with a source"),
        ("videos:\n- {name: a, source: b, name: c}\n", ":2: 'name' stands twice"),
        ("videos:\n- {name: a, source: b, every: 2, options: {every: 3}}\n", "'every' is given twice"),
        ("videos:\n- {name: a, source: b, options: [1]}\n", "options is [1]"),
    ],
)  # fmt: skip
def test_faults_of_yaml_are_told_with_their_place(tmp_path, text, said):
    path = written(tmp_path, text)
    try:
        faults = read_manifest(path).faults
    except ManifestError as error:
        faults = error.lines
    assert any(said in fault for fault in faults), faults
    assert all("\n" not in fault and fault.startswith(path) for fault in faults)


def test_a_fault_of_yaml_names_the_line_of_its_key(tmp_path):
    text = """
defaults:
  every: 2
  options: [1]
colour: red
videos:
  - name: a
    # A remark.
    source: [a, 3]
  - source: b.mp4
    every: 2
    options:
      quality: preview
      every: 3
  - source: c.mp4
    name: ../c
  - source: d.mp4
    calibration: none
    options: 7
"""
    path = written(tmp_path, text)
    assert list(read_manifest(path).faults) == [
        f"{path}:5: unknown key 'colour'; known: videos, defaults",
        f"{path}:4: defaults: options is [1]; expected a mapping of options",
        f"{path}:9: videos[0] 'a': source is ['a', 3]; expected a video file, folder or URL, or a list",
        f"{path}:14: videos[1]: 'every' is given twice; expected it once",
        f"{path}:19: videos[3]: options is 7; expected a mapping of options",
        f"{path}:16: videos[2]: name '../c' holds a slash; expected a plain name of a folder",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,quality\na,b\n", "no column 'source'"),
        ("source\n", "no videos"),
        ("source,every,every\na,1,2\n", ":1: column 'every' stands twice"),
        ("source,every\na,1\nb\n", ":3: 1 cells; expected 2"),
        ('source,name\na,"x\ny"\nb\n', ":4: 1 cells; expected 2"),
        ('source,name\na,"x\ny"\n', ":2: name 'x\\ny' holds a line break"),
        ('source\n"a\n', "not a table"),
    ],
)
def test_faults_of_a_table_are_told_with_their_line(tmp_path, text, said):
    path = written(tmp_path, text, "videos.csv")
    try:
        faults = read_manifest(path).faults
    except ManifestError as error:
        faults = error.lines
    assert any(said in fault for fault in faults), faults


def test_aliases_that_would_grow_without_end_are_not_written_out(tmp_path):
    levels = "".join(f"l{k}: &l{k} [{', '.join([f'*l{k - 1}'] * 9)}]\n" for k in range(1, 12))
    path = written(tmp_path, f"l0: &l0 [x]\n{levels}videos:\n- {{name: a, source: *l11}}\n")
    with pytest.raises(ManifestError, match="aliases that stand for more"):
        read_manifest(path)


def test_what_is_no_manifest_is_named(tmp_path):
    with pytest.raises(ManifestError, match=r"not found; expected a \.yaml"):
        read_manifest(str(tmp_path / "none"))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(b"x")
    with pytest.raises(ManifestError, match="Its images are one source"):
        read_manifest(str(tmp_path / "images"))


def test_names_of_folders():
    assert [name_fault(name) for name in ("Müller 3", "<script>alert(1)<", "a.b", "0")] == [""] * 4
    assert all(
        name_fault(name) for name in ("", " a", "a/b", "..", "a\\b", "a\x00", "a\u202e", "x" * 121, "Batch.HTML")
    )
    assert labels(["a", "A", "../x", "-", "ü 1", "batch.json"]) == ["a", "A_2", "x", "video", "ü 1", "video_batch.json"]

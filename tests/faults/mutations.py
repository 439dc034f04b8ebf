"""Ways to spoil a valid file, at random: as bytes, as text, as a tree of values, as arrays, or as what it is not."""

import io
import json
import os
import pickle
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

NUMBERS = (
    "0", "-1", "1e308", "-1e308", "1e999", "nan", "inf", "-inf", "1e-320", "4294967296", "9223372036854775808",
    "99999999999999999999999999", "9" * 5000, "0x10", "1_000", "2147483647", "-2147483649", "0.0000001", "1000000",
)  # fmt: skip
INTEGERS = (0, 1, -1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 10**6, 10**8)
FLOATS = (0.0, -1.0, float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 1e-320)
SCRIPT = "<script>document.title='ran'</script>"
NAMES = (
    "../../../outside/secret", "../outside/secret.png", "{outside}/secret.png", "{outside}/victim", "a\nb", "-rf",
    "--overwrite", SCRIPT, "\0", "x" * 5000, "", ".", "..", "/dev/zero", "\x1b]0;title\x07", "\u202e", "\udce4",
    "%s%n{0}", "file:///etc/passwd", "C:\\x", "con", "~", "$(touch {outside}/ran)",
)  # fmt: skip
ANY = (None, True, False, [], {}, [[]], "", "text", 1, -1, 2**70, 1.5, [1, 2, 3], {"a": {"b": [1]}}, [None] * 3)
BOMB_BYTES = 4_000_000_000


class Ran:
    """Pickled, this makes a file when it is loaded: nothing may ever load it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch '{self.path}'",))


class Spoiler:
    """Spoils files with random numbers of its own; ``outside``: a folder that nothing may touch."""

    def __init__(self, rng: random.Random, outside: Path) -> None:
        self.rng, self.outside = rng, outside

    def name(self) -> str:
        """A name that leads elsewhere, or that nobody would choose."""
        return self.rng.choice(NAMES).replace("{outside}", str(self.outside))

    def spoil(self, path: Path) -> str:
        """Spoil a file in a way that suits it; returns what was done."""
        ways: list[Callable[[Path], str]] = [self.spoil_bytes, self.spoil_bytes]
        suffix = path.suffix.lower()
        if suffix in (".json", ".yaml", ".yml", ".txt", ".csv", ".xml", ".cfg"):
            ways = [self.spoil_text, self.spoil_text, self.spoil_bytes]
        if suffix in (".json", ".yaml", ".yml"):
            ways += [self.spoil_tree] * 5 + [self.nest]
        if suffix == ".npz":
            ways += [self.spoil_arrays] * 4
        if suffix == ".npy":
            ways += [self.spoil_array] * 3
        if suffix == ".ply":
            ways += [self.spoil_ply] * 3
        if suffix == ".png":
            ways += [self.claim_png_size]
        if suffix == ".safetensors":
            ways += [self.spoil_safetensors] * 3
        if suffix == ".db":
            ways += [self.spoil_database] * 3
        if suffix == ".dcm":
            ways += [self.spoil_dicom] * 3
        if self.rng.random() < 0.04:
            ways = [self.replace_by_special]
        return self.rng.choice(ways)(path)

    # As bytes

    def spoil_bytes(self, path: Path) -> str:
        """Flip, cut, repeat, remove and overwrite bytes."""
        data = bytearray(path.read_bytes())
        done = []
        for _ in range(self.rng.choice((1, 1, 2, 5))):
            way = self.rng.choice((self._flip, self._number, self._number, self._cut, self._repeat, self._remove))
            done.append(way(data))
        path.write_bytes(data)
        return f"{path.name}: {', '.join(done)}"

    def _at(self, data: bytearray, size: int = 1) -> int:
        # Heads of files hold what is claimed of the rest.
        most = max(0, len(data) - size)
        return self.rng.randint(0, min(most, 200) if self.rng.random() < 0.5 else most)

    def _flip(self, data: bytearray) -> str:
        for _ in range(self.rng.choice((1, 3, 30)) if data else 0):
            data[self._at(data)] ^= 1 << self.rng.randrange(8)
        return "bits flipped"

    def _number(self, data: bytearray) -> str:
        order, at = self.rng.choice("<>"), self._at(data, 8)
        if self.rng.random() < 0.3:
            value = self.rng.choice(FLOATS)
            kind = "d" if abs(value) == 1e308 else self.rng.choice("fd")
            new = struct.pack(order + kind, value)
        else:
            value = self.rng.choice(INTEGERS)
            size = self.rng.choice((1, 2, 4, 8))
            new = (value % 256**size).to_bytes(size, "little" if order == "<" else "big")
        data[at : at + len(new)] = new
        return f"{value} at {at}"

    def _cut(self, data: bytearray) -> str:
        at = self._at(data)
        del data[at:]
        return f"cut at {at}"

    def _block(self, data: bytearray) -> tuple[int, int]:
        at = self._at(data)
        return at, at + self.rng.choice((1, 4, 50, 1000))

    def _repeat(self, data: bytearray) -> str:
        at, end = self._block(data)
        data[at:at] = data[at:end] * self.rng.choice((1, 1, 20))
        return f"block at {at} repeated"

    def _remove(self, data: bytearray) -> str:
        at, end = self._block(data)
        del data[at:end]
        return f"block at {at} removed"

    def replace_by_special(self, path: Path) -> str:
        """Put a link, a pipe or a folder in a file's place."""
        path.unlink()
        kind = self.rng.choice(("secret", "zero", "loop", "pipe", "folder", "empty", "dangling", "victim"))
        targets = {
            "secret": self.outside / "secret.txt", "zero": Path("/dev/zero"), "loop": path,
            "dangling": self.outside / "new", "victim": self.outside / "victim",
        }  # fmt: skip
        if kind in targets:
            path.symlink_to(targets[kind])
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.write_bytes(b"")
        return f"{path.name}: {kind} in its place"

    # As text

    def spoil_text(self, path: Path) -> str:
        """Replace numbers and words, repeat and remove lines."""
        text = path.read_text(errors="surrogateescape")
        way = self.rng.choice(("number", "number", "word", "lines", "insert", "bomb", "tag"))
        if way in ("number", "word"):
            found = list(re.finditer(r"-?\d+\.?\d*(?:e[-+]?\d+)?" if way == "number" else r"[A-Za-z_]\w*", text))
            for match in sorted(self.rng.sample(found, min(len(found), self.rng.choice((1, 1, 5)))), reverse=True,
                                key=lambda m: m.start()):  # fmt: skip
                new = self.rng.choice(NUMBERS) if way == "number" else self.name()
                text = text[: match.start()] + new + text[match.end() :]
        elif way == "lines":
            lines = text.splitlines()
            if lines:
                at = self.rng.randrange(len(lines))
                lines[at : at + self.rng.choice((0, 1, 3))] = [lines[at]] * self.rng.choice((0, 2, 30))
            text = "\n".join(lines)
        elif way == "insert":
            at = self.rng.randint(0, len(text))
            text = text[:at] + self.rng.choice(("\0", "\ufeff", "[" * 5000, "{", ":", "\t", "%", "\r", "'", "<a", ",,"))
            text += text[at:]
        elif way == "bomb":
            text = f"{yaml_bomb()}{text if self.rng.random() < 0.5 else ''}"
        else:
            text += f"\nran: !!python/object/apply:os.system [\"touch '{self.outside}/ran'\"]\n"
        path.write_text(text, errors="surrogateescape")
        return f"{path.name}: text, {way}"

    def nest(self, path: Path) -> str:
        """Nest lists or objects deeper than a parser that calls itself can follow."""
        depth = self.rng.choice((500, 3000, 100_000))
        one = self.rng.choice(("[", '{"a":', "- "))
        end = {"[": "]", '{"a":': "}", "- ": ""}[one]
        text = one * depth + "1" + end * depth
        path.write_text(text if self.rng.random() < 0.5 else f'{{"stages": {text}, "frames": {text}}}')
        return f"{path.name}: {depth} x {one}"

    # As values

    def spoil_tree(self, path: Path) -> str:
        """Replace values of JSON or YAML by those of other kinds and sizes."""
        is_json = path.suffix == ".json"
        try:
            tree = json.loads(path.read_text()) if is_json else yaml.safe_load(path.read_text())
        except (ValueError, yaml.YAMLError):
            return self.spoil_bytes(path)
        holder = {"": tree}
        done = [self._spoil_value(holder) for _ in range(self.rng.choice((1, 1, 1, 4)))]
        try:
            text = json.dumps(holder[""]) if is_json else yaml.dump(holder[""])
        except ValueError:
            # A part of the tree was put into itself, which JSON cannot tell.
            return self.spoil_bytes(path)
        path.write_text(text.replace("Infinity", "1e999") if self.rng.random() < 0.5 else text)
        return f"{path.name}: {'; '.join(done)[:200]}"

    def _spoil_value(self, holder: Any) -> str:
        where, key, tried = holder, "", 0
        while isinstance(where[key], dict | list) and where[key] and (self.rng.random() < 0.9 or not tried):
            where, tried = where[key], tried + 1
            key = self.rng.choice(list(where)) if isinstance(where, dict) else self.rng.randrange(len(where))
        way = self.rng.random()
        if way < 0.1 and where is not holder:
            del where[key]
            return f"{key} removed"
        if way < 0.2 and isinstance(where, list):
            where[key:key] = [where[key]] * self.rng.choice((1, 100))
            return f"{key} repeated"
        choices = (
            lambda: self.rng.choice(ANY), lambda: self.rng.choice(INTEGERS), lambda: self.rng.choice(FLOATS), self.name,
        )  # fmt: skip
        new = self.rng.choice(choices)()
        if way < 0.25 and isinstance(where, dict):
            where[self.name()] = new
            return "a key more"
        where[key] = new
        return f"{key} = {str(new)[:40]!r}"

    # As arrays

    def spoil_arrays(self, path: Path) -> str:
        """Replace, remove and rename arrays of an archive; pack one that is far larger than the file."""
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        name = self.rng.choice(list(arrays))
        way = self.rng.choice(("values", "values", "shape", "kind", "remove", "pickle", "claim", "bomb", "rename"))
        members = {f"{n}.npy": npy_bytes(a) for n, a in arrays.items()}
        inside = f"{name}.npy"
        if way == "remove":
            del members[inside]
        elif way == "rename":
            members[f"{self.name()}.npy".replace("\0", "").replace("\udce4", "")] = members.pop(inside)
        elif way == "claim":
            members[inside] = claimed(members[inside], self.rng)
        elif way == "pickle":
            members[inside] = pickled(str(self.outside / "ran"))
        elif way != "bomb":
            members[inside] = npy_bytes(self._other_array(arrays[name], way))
        with zipfile.ZipFile(path, "w", self.rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            for member, data in members.items():
                if way != "bomb" or member != inside:
                    archive.writestr(member, data)
        if way == "bomb":
            write_bomb(path, inside)
        return f"{path.name}: {name}, {way}"

    def spoil_array(self, path: Path) -> str:
        """The same for a single array."""
        way = self.rng.choice(("values", "shape", "kind", "pickle", "claim"))
        if way == "pickle":
            path.write_bytes(pickled(str(self.outside / "ran")))
        elif way == "claim":
            path.write_bytes(claimed(path.read_bytes(), self.rng))
        else:
            path.write_bytes(npy_bytes(self._other_array(np.load(path), way)))
        return f"{path.name}: {way}"

    def _other_array(self, array: np.ndarray, way: str) -> np.ndarray:
        if way == "shape":
            change = self.rng.choice((
                lambda a: a.ravel(), lambda a: a[None], lambda a: a[:0] if a.ndim else a,
                lambda a: a[: len(a) // 2] if a.ndim else a,
                lambda a: np.concatenate([a, a]) if a.ndim else a[None], lambda a: a.T, lambda a: a.ravel()[:1],
            ))  # fmt: skip
            return change(array)
        if way == "kind":
            kind = self.rng.choice(("U3", "S3", "?", "c16", "f2", "i1", "u8", "M8[s]", "f8", ">i4", "V8"))
            return np.zeros(array.shape, kind)
        array = array.copy()
        if array.size and array.dtype.kind in "iufb":
            values = INTEGERS if array.dtype.kind in "iub" else FLOATS
            flat = array.reshape(-1)
            for _ in range(self.rng.choice((1, 10))):
                with np.errstate(all="ignore"):
                    flat[self.rng.randrange(len(flat))] = np.array(self.rng.choice(values)).astype(array.dtype)
            return flat.reshape(array.shape)
        if array.dtype.kind == "U":
            return np.array(self.rng.choice((self.name().replace("\0", ""), "[" * 5000, "null", "[{}]")))
        return array

    # As what they are

    def claim_png_size(self, path: Path) -> str:
        """State another size in a PNG, with the right sum of its head."""
        data = bytearray(path.read_bytes())
        width, height = (self.rng.choice((1, 30_000, 100_000, 2**31 - 1, 32_767)) for _ in "wh")
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
        path.write_bytes(data)
        return f"{path.name}: said to be {width}x{height}"

    def spoil_ply(self, path: Path) -> str:
        """Spoil the head of a PLY."""
        head, end, body = path.read_bytes().partition(b"end_header\n")
        text = path.with_suffix(".txt")
        text.write_bytes(head)
        if self.rng.random() < 0.3:
            count = self.rng.choice((b"0", b"-1", b"1000000000000", b"4000000000", b"nan"))
            text.write_bytes(re.sub(rb"(element \w+) \d+", rb"\1 " + count, head))
            done = f"{count!r} elements"
        elif self.rng.random() < 0.3:
            new = self.rng.choice(
                (
                    b"property list uchar int many\n",
                    b"property list int uchar x\n",
                    b"property double x\n",
                    b"comment \xff",
                )
            )
            lines = head.splitlines(keepends=True)
            lines[self.rng.randrange(len(lines))] = new
            text.write_bytes(b"".join(lines))
            done = f"{new!r}"
        else:
            done = self.spoil_text(text)
        path.write_bytes(text.read_bytes() + end + body)
        text.unlink()
        return f"{path.name}: head, {done}"

    def spoil_safetensors(self, path: Path) -> str:
        """Spoil the head of weights, whose length is then right."""
        data = path.read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        head = path.with_suffix(".json")
        head.write_bytes(data[8 : 8 + length])
        done = self.rng.choice((self.spoil_tree, self.spoil_tree, self._spoil_options, self.nest))(head)
        new = head.read_bytes()
        head.unlink()
        path.write_bytes(struct.pack("<Q", len(new)) + new + data[8 + length :])
        return f"{path.name}: {done}"

    def _spoil_options(self, head: Path) -> str:
        tree = json.loads(head.read_text())
        options = self.rng.choice((
            "[" * 50_000, "null", "[1]", '{"dim": 1e999}', '{"dim": -5}', '{"dim": 1000000000}', '{"dim": "x"}',
            '{"dim": 0}', '{"dim": null}', '{"dim": 100000}', '{"a": 1}', '{"dim": 2147483648}',
        ))  # fmt: skip
        tree["__metadata__"][self.rng.choice(("options", "training", "architecture"))] = options
        head.write_text(json.dumps(tree))
        return f"options {options[:30]}"

    def spoil_database(self, path: Path) -> str:
        """Replace values in the tables of a database."""
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(path)) as database:
            tables = {"images": ("name", "camera_id"), "cameras": ("width", "height", "model", "params")}
            tables |= dict.fromkeys(("keypoints", "matches", "two_view_geometries"), ("rows", "cols", "data"))
            table = self.rng.choice(list(tables))
            column = self.rng.choice(tables[table])
            value = self.rng.choice(
                (*INTEGERS[:-3], *FLOATS, None, b"", b"\xff" * 17, "text", "a/../../outside/secret")
            )
            way = self.rng.random()
            try:
                if way < 0.1:
                    database.execute(f"DROP TABLE {table}")
                elif way < 0.2:
                    database.execute(f"UPDATE {table} SET {column} = zeroblob(20000000) WHERE rowid = 1")
                else:
                    where = "" if way < 0.5 else " WHERE rowid = 2"
                    database.execute(f"UPDATE {table} SET {column} = ?{where}", (value,))
                database.commit()
            except (sqlite3.Error, OverflowError):
                return self.spoil_bytes(path)
        return f"{path.name}: {table}.{column} = {value!r}"

    def spoil_dicom(self, path: Path) -> str:
        """State other sizes, numbers and kinds in a DICOM file."""
        from pydicom import dcmread

        try:
            found = dcmread(path)
            tag, value = self.rng.choice((
                ("Rows", 65535), ("Columns", 65535), ("Rows", 0), ("NumberOfFrames", "2147483647"), ("BitsStored", 99),
                ("BitsAllocated", 32), ("BitsAllocated", 64), ("SamplesPerPixel", 4), ("SamplesPerPixel", 0),
                ("PhotometricInterpretation", "PALETTE COLOR"), ("PhotometricInterpretation", "YBR_FULL_422"),
                ("FrameTime", "-1"), ("FrameTime", "1e308"), ("NumberOfFrames", "-5"), ("PlanarConfiguration", 7),
                ("PixelRepresentation", 1), ("InstanceNumber", "-2147483648"), ("BitsStored", 0), ("CineRate", "0"),
                ("SeriesInstanceUID", "1.2.3"), ("RecommendedDisplayFrameRate", "-1"),
            ))  # fmt: skip
            setattr(found, tag, value)
            if tag in ("Rows", "Columns") and value and self.rng.random() < 0.5:
                found.Rows = found.Columns = 65535
            if self.rng.random() < 0.3:
                number = self.rng.choice(("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.5"))
                found.file_meta.TransferSyntaxUID = number
            found.save_as(path, enforce_file_format=False)
        except Exception:
            return self.spoil_bytes(path)
        return f"{path.name}: {tag} = {value}"


def yaml_bomb(levels: int = 12, width: int = 9) -> str:
    """YAML of a few lines that stands for a text of 9 ** 12 words."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    for k in range(1, levels):
        lines.append(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * width)}]")
    # Under names that readers look for.
    names = "frames", "match", "camera_matrix", "intrinsics", "train", "videos"
    lines += [f"{name}: *a{levels - 1}" for name in names]
    return "\n".join(lines) + "\n"


def npy_bytes(array: np.ndarray) -> bytes:
    """An array as a .npy file."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def pickled(path: str) -> bytes:
    """A .npy file of an object that makes a file when it is unpickled."""
    head = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + pickle.dumps([Ran(path)])


def claimed(data: bytes, rng: random.Random) -> bytes:
    """A .npy file that claims to hold far more than it does."""
    huge = "(1000000000000,)", "(2000000000,)", "(300000, 300000)", "(0, 99999999999999)", f"(1{'0' * 400},)"
    shape = rng.choice((*huge, "(-1,)"))
    length = struct.unpack("<H", data[8:10])[0]
    head = data[10 : 10 + length].decode("latin1")
    head = re.sub(r"'shape': \([^)]*\)", f"'shape': {shape}", head).rstrip() + "\n"
    return data[:8] + struct.pack("<H", len(head)) + head.encode("latin1") + data[10 + length :]


def write_bomb(path: Path, member: str) -> None:
    """Add an array of zeros to an archive, a thousand times larger than what it takes there."""
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({BOMB_BYTES // 8},), }}".ljust(117) + "\n"
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = pack.compress(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
    first += pack.flush(zlib.Z_FULL_FLUSH)
    # After a full flush the same zeros are packed to the same bytes, which are then only repeated.
    block = pack.compress(bytes(1_000_000)) + pack.flush(zlib.Z_FULL_FLUSH)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, first + block * (BOMB_BYTES // 1_000_000) + pack.flush())
        begin = archive.getinfo(member).header_offset
    data = bytearray(path.read_bytes())
    data[begin + 8 : begin + 10] = struct.pack("<H", zipfile.ZIP_DEFLATED)
    at = data.rfind(b"PK\x01\x02")
    data[at + 10 : at + 12] = struct.pack("<H", zipfile.ZIP_DEFLATED)
    data[at + 24 : at + 28] = struct.pack("<I", BOMB_BYTES + 128)
    path.write_bytes(data)

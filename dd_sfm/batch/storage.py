"""Where inputs and results lie: paths, and URLs of object stores and servers through fsspec."""

import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from dd_sfm.documents import regular
from dd_sfm.errors import DDSfMError, InputError, OutputError
from dd_sfm.io.atomic import output_error, write_bytes
from dd_sfm.io.links import check_is_no_link

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
FILE_SCHEME = "file://"
CREDENTIALS = re.compile(r"(://)[^/@\s]+@")
QUERY = re.compile(r"(https?://[^\s?'\"]+\?)[^\s'\"]+", re.IGNORECASE)
"""What follows may be a signature that lets anyone read the file."""
NOT_UPLOADED = ("descriptors",)
"""Caches of a run, which are as large as all else in it and can be made again."""
MOST_TEXT_BYTES = 50_000_000
FIRST_UPLOADED = "stages.json"
"""The record of a run, by which its folder is known as one even if the upload is broken off."""


def is_url(location: str) -> bool:
    """Whether a location is a URL, such as s3://bucket/clip.mp4, and not a path."""
    return SCHEME.match(location) is not None


def absolute(location: str, folder: str) -> str:
    """A location that may be relative to a folder, as a path from the root or a URL; file:// is a path."""
    if location.startswith(FILE_SCHEME):
        return location.removeprefix(FILE_SCHEME)
    if is_url(location):
        return location
    if is_url(folder):
        return f"{folder.rstrip('/')}/{location}"
    return str(Path(folder, _from_home(location)).absolute())


def _from_home(location: str) -> str:
    """A path whose ~ is the home folder; as it is where the name after ~ is of a file and not of a user."""
    try:
        return str(Path(location).expanduser())
    except (RuntimeError, ValueError):
        return location


def is_there(path: str) -> bool:
    """Whether a path leads to something; not for a text that is no path, as one that is too long."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def inside(folder: str, *names: str) -> str:
    """The location of something in a folder."""
    return "/".join((folder.rstrip("/"), *names)) if is_url(folder) else str(Path(folder, *names))


def without_secrets(text: str) -> str:
    """A text in which no URL shows a password, key or signature."""
    return QUERY.sub(r"\1***", CREDENTIALS.sub(r"\1***@", text))


def filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
        InputError: If what reads such URLs is not installed, or refuses this one.
    """
    try:
        import fsspec

        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        scheme = url.partition("://")[0]
        raise InputError(
            f"{without_secrets(url)}: {scheme}:// needs a package ({without_secrets(str(error))}); for s3:// "
            "pip install 'dd-sfm[s3]', for others the package that fsspec names"
        ) from error
    except Exception as error:
        raise unreachable(url, error) from error


def unreachable(url: str, error: Exception) -> InputError:
    """The error for a URL that cannot be read or written; stores raise errors of many kinds."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{without_secrets(url)}: cannot be reached ({without_secrets(reason)})")


def identity(location: str) -> list[Any]:
    """What tells a file or folder from another without reading it: names, sizes, times or tags of content.

    Raises:
        FileNotFoundError: If it is not there.
        InputError: If it cannot be reached.
    """
    if not is_url(location):
        path = Path(location)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        found = [(f, f.stat()) for f in files if f == path or f.is_file()]
        return [[str(f), s.st_size, s.st_mtime_ns] for f, s in found]
    files_system, path_inside = filesystem(location)
    try:
        info = files_system.info(path_inside)
        found_infos = files_system.find(path_inside, detail=True).values() if info["type"] == "directory" else [info]
        return [[item["name"], item.get("size"), _tag(item)] for item in found_infos]
    except FileNotFoundError:
        raise
    except Exception as error:
        raise unreachable(location, error) from error


def _tag(info: dict[str, Any]) -> str:
    return str(info.get("ETag") or info.get("etag") or _changed_s(info))


def _changed_s(info: dict[str, Any]) -> float:
    """When a file was changed, in seconds; 0 where the store does not say."""
    for key in ("LastModified", "last_modified", "mtime", "modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0


def read_text(location: str) -> str:
    """Read a text, whose lines may end in any way.

    Raises:
        InputError: If it is missing, cannot be reached, or is no text in UTF-8.
    """
    where = without_secrets(location)
    try:
        if is_url(location):
            files, path = filesystem(location)
            return str(files.cat_file(path).decode("utf-8-sig"))
        if Path(location).stat().st_size > MOST_TEXT_BYTES:
            raise InputError(f"{where}: larger than {MOST_TEXT_BYTES // 10**6} MB; expected YAML or CSV")
        return regular(Path(location)).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: no text in UTF-8 ({error.reason}); expected YAML or CSV") from error
    except FileNotFoundError as error:
        raise InputError(f"{where}: not found; expected YAML, CSV, or a folder of videos") from error
    except DDSfMError:
        raise
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror or without_secrets(str(error))})") from error
    except Exception as error:
        raise unreachable(location, error) from error


def fetch(url: str, folder: Path) -> Path:
    """Copy a file or folder of a URL into a folder; what is there already with the same size and time is kept.

    Raises:
        InputError: If it is missing, cannot be reached, or holds names that lead out of the folder.
        OutputError: If the folder cannot be written.
    """
    files, path = filesystem(url)
    try:
        info = files.info(path)
        # Without what follows a question mark: a signature is not for file names and the records of runs.
        top = PurePosixPath(files._strip_protocol(path).partition("?")[0]).name or "source"
        if info["type"] != "directory":
            return _fetch_file(files, info, folder / top)
        for name, found in files.find(path, detail=True).items():
            relative = PurePosixPath(name).relative_to(PurePosixPath(info["name"]))
            if ".." in relative.parts or relative.is_absolute():
                raise InputError(
                    f"{without_secrets(url)}: holds {relative}, which leads out of it; expected plain names"
                )
            _fetch_file(files, found, folder / top / relative)
        return folder / top
    except FileNotFoundError as error:
        raise InputError(f"{without_secrets(url)}: not found; expected a video file or a folder of images") from error
    except DDSfMError:
        raise
    except OSError as error:
        raise output_error(folder, error) if error.errno else unreachable(url, error) from error
    except Exception as error:
        raise unreachable(url, error) from error


def _fetch_file(files: Any, info: dict[str, Any], target: Path) -> Path:
    """Copy one file; it gets the time of the original, by which a repeated run knows it as the same."""
    size, changed_s = info.get("size"), _changed_s(info)
    if target.is_file() and target.stat().st_size == size and abs(target.stat().st_mtime - changed_s) < 1e-3:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    files.get_file(info["name"], str(partial))
    os.utime(partial, (changed_s, changed_s))
    partial.replace(target)
    return target


@dataclass(frozen=True)
class Store:
    """The folder that a batch writes to, as a path or a URL."""

    location: str

    @property
    def shown(self) -> str:
        """The location as it may be printed."""
        return without_secrets(self.location)

    def read(self, name: str) -> bytes | None:
        """The content of a file; None without one.

        Raises:
            OutputError: If the folder cannot be reached.
        """
        place = inside(self.location, name)
        try:
            if is_url(place):
                files, path = filesystem(place)
                return bytes(files.cat_file(path))
            return regular(Path(place)).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._error(error) from error
        except Exception as error:
            raise self._error(error) from error

    def write(self, name: str, content: bytes) -> None:
        """Write a file, which is there as a whole or not at all as far as the store allows.

        Raises:
            OutputError: If it cannot be written, or only to where a link leads.
        """
        place = inside(self.location, *name.split("/"))
        if not is_url(place):
            for folder in PurePosixPath(name).parents[:-1]:
                check_is_no_link(Path(self.location), Path(self.location, folder))
        try:
            if is_url(place):
                files, path = filesystem(place)
                files.makedirs(files._parent(path), exist_ok=True)
                files.pipe_file(path, content)
                return
            Path(place).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._error(error) from error
        except Exception as error:
            raise self._error(error) from error
        write_bytes(Path(place), content)

    def has(self, *names: str) -> bool:
        """Whether there is a file.

        Raises:
            OutputError: If the folder cannot be reached.
        """
        place = inside(self.location, *names)
        if not is_url(place):
            return Path(place).exists()
        try:
            files, path = filesystem(place)
            return bool(files.exists(path))
        except Exception as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> OutputError:
        if isinstance(error, OSError) and not is_url(self.location):
            return output_error(Path(self.location), error)
        reason = without_secrets(" ".join(str(error).split()) or type(error).__name__)
        return OutputError(f"{self.shown}: cannot be reached ({reason}); choose another folder with -o")


def upload(folder: Path, url: str) -> None:
    """Copy a run to a URL in place of an older one there, without its caches.

    Raises:
        OutputError: If what is there is no run, or it cannot be written.
    """
    store = Store(url)
    try:
        files, path = filesystem(url)
        if files.exists(path):
            if not any(PurePosixPath(name).name == FIRST_UPLOADED for name in files.find(path)):
                raise OutputError(f"{store.shown}: holds files that are not of a dd-sfm run; choose another -o")
            files.rm(path, recursive=True)
        for source, name in _uploaded(folder):
            target = inside(url, *name.parts)
            inner = files._strip_protocol(target)
            files.makedirs(files._parent(inner), exist_ok=True)
            files.put_file(str(source), inner)
    except DDSfMError:
        raise
    except Exception as error:
        raise store._error(error) from error


def _uploaded(folder: Path) -> Iterable[tuple[Path, PurePosixPath]]:
    """The files of a run that are uploaded, and their names in it, the record of its stages first."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        is_left_out = any(part in NOT_UPLOADED for part in name.parts) or path.name.startswith(".")
        if path.is_file() and not path.is_symlink() and not is_left_out:
            found.append((path, PurePosixPath(name.as_posix())))
    return sorted(found, key=lambda item: item[0].name != FIRST_UPLOADED)


def scratch_folder(root: Path | None, *parts: str) -> Path:
    """Make a folder for what is only needed while a video is worked on, which no other user can write to.

    Raises:
        OutputError: If it cannot be made, or is somebody else's.
    """
    import tempfile

    top = root or Path(tempfile.gettempdir()) / f"dd-sfm-{os.getuid()}"
    try:
        top.mkdir(mode=0o700, parents=root is not None, exist_ok=True)
        if root is None and (top.is_symlink() or top.stat().st_uid != os.getuid()):
            raise OutputError(f"{top}: is not of this user; remove it, or name another folder with --scratch")
        folder = top.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    except OSError as error:
        raise output_error(top, error) from error


def remove(folder: Path) -> None:
    """Remove a scratch folder, and the one that it is in when it was the last."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()

"""dd-sfm doctor: what this machine has."""

import importlib.util
import platform
import subprocess
import sys
from importlib import metadata

APT_LINE = "apt-get install -y libusb-1.0-0 libgl1 libegl1 libx11-6 libudev1 libidn2-0"


def doctor() -> None:
    """Say what this machine has: processor, GPU, codecs, weights, and what viewing would need.

    Example: dd-sfm doctor
    """
    import av
    import cv2
    import psutil
    import torch

    from dd_sfm import __version__
    from dd_sfm.config import RuntimeConfig
    from dd_sfm.features.weights import list_weights, load_weights
    from dd_sfm.runtime import cpu_has_bfloat16, cpu_threads

    cpu, memory = torch.device("cpu"), psutil.virtual_memory()
    rows = [
        ("dd-sfm", __version__),
        ("python", platform.python_version()),
        ("packages", ", ".join(f"{p} {metadata.version(p)}" for p in ("torch", "pycolmap", "numpy"))),
        ("opencv", cv2.__version__),
        ("video", f"FFmpeg {av.ffmpeg_version_info} by PyAV {av.__version__}"),
        ("processor", f"{cpu_threads(RuntimeConfig())} threads, bfloat16 {'yes' if cpu_has_bfloat16() else 'no'}"),
        (
            "memory",
            f"{memory.total / 1e9:.1f} GB, {memory.available / 1e9:.1f} GB free",
        ),
        ("GPU", _gpu()),
    ]
    for name in list_weights():
        network = load_weights(name, cpu)
        count = sum(p.numel() for p in network.parameters())
        rows.append(("weights", f"{name}: {count / 1e6:.2f} M parameters"))
    if not list_weights():
        rows.append(("weights", "none found: the installation is incomplete"))
    rows += [("viewing", _viser()), ("window", _open3d())]
    for label, text in rows:
        print(f"{label:<10} {text}")


def _gpu() -> str:
    import torch

    from dd_sfm.mvs.device import why_not_on_gpu

    if not torch.cuda.is_available():
        return "none: the CPU does the work"
    problem = why_not_on_gpu()
    dense = f"the CPU ({problem}); dd-sfm[cuda12] or [cuda13] has what numba needs" if problem else "it"
    return f"{torch.cuda.get_device_name()}; the dense search runs on {dense}"


def _viser() -> str:
    from dd_sfm.viz.window.viewer import lacks_display

    try:
        version = metadata.version("viser")
    except metadata.PackageNotFoundError:
        return "viser, which comes with dd-sfm, is not installed (pip install 'viser>=1.1'); dd-sfm view needs it"
    return f"viser {version}, in a browser" + ("; no display here: view says how to look from afar" * lacks_display())


def _open3d() -> str:
    from dd_sfm.viz.window.viewer import lacks_display

    problem = open3d_problem()
    if problem:
        return f"{problem}; nothing but view --window needs it"
    return f"open3d {_open3d_version()}" + ("; no display here for view --window" if lacks_display() else "")


def _open3d_version() -> str:
    """Its version, by the name of the build without CUDA or of the whole one."""
    for name in ("open3d-cpu", "open3d"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "of unknown version"


def open3d_problem() -> str:
    """Why open3d cannot be imported and what to do, empty when it can.

    Tried in a process of its own: a missing library may end it.
    """
    if importlib.util.find_spec("open3d") is None:
        return f"open3d, which comes with dd-sfm, is not installed (pip install open3d; on Debian also {APT_LINE})"
    tried = subprocess.run([sys.executable, "-c", "import open3d"], capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return ""
    reason = (tried.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    return f"open3d cannot start ({reason}); on Debian: {APT_LINE}"

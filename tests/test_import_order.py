"""The layers of the package: left never imports right, and heavy libraries stay where they belong."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dd_sfm"
LAYERS = {
    "errors": 0, "progress": 0, "resources": 0, "notes": 0, "documents": 0,
    "config_values": 1, "config": 1, "config_checks": 1,
    "presets": 1,
    "ops.coordinates": 1, "cameras": 2,
    "structures": 3, "runtime": 3, "ops": 4, "io": 5, "sfm": 6, "mvs": 7, "features": 8, "pipeline": 9, "synthetic": 9,
    "training": 9, "evaluation": 9, "export": 9, "benchmark": 10,
    "calibration": 10, "registration": 10, "viz": 11, "api_values": 11, "api_files": 11,
    "api_joining": 12, "api": 12,
    "batch": 13, "cli": 14,
}  # fmt: skip
SIDE_BY_SIDE = {"synthetic", "training", "pipeline", "evaluation", "export"}
COLMAP_USERS = ("sfm.mapping", "sfm.mappers", "sfm.registration", "sfm.bundle_adjustment", "features.sift")
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.name not in ("__init__.py", "__main__.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def layer(module: str) -> tuple[str, int]:
    """The part of the package that a module belongs to, and its layer."""
    for part in (module, module.split(".")[0]):
        if part in LAYERS:
            return part, LAYERS[part]
    raise AssertionError(f"{module} has no layer")


def imports(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_left_never_imports_right(path):
    part, own = layer(name_of(path))
    for module in imports(ast.parse(path.read_text())):
        if not module.startswith("dd_sfm."):
            continue
        other_part, other = layer(module.removeprefix("dd_sfm."))
        assert other <= own, f"{name_of(path)} imports {module}"
        if part in SIDE_BY_SIDE and other_part in SIDE_BY_SIDE:
            assert part == other_part, f"{name_of(path)} imports {module} beside it"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_heavy_libraries_stay_where_they_belong(path):
    tree = ast.parse(path.read_text())
    roots = {module.split(".")[0] for module in imports(tree)}
    # Importing it replaces handlers of signals, which io.colmap puts back; the other one is a process of its own.
    assert "pycolmap" not in roots or name_of(path) in ("io.colmap", "io.colmap_poisson")
    if "dd_sfm.io.colmap" in imports(tree):
        assert name_of(path).startswith("io.") or name_of(path) in COLMAP_USERS
    top = {m.split(".")[0] for node in tree.body for m in imports(ast.Module([node], [])) if not _is_body(node)}
    assert "open3d" not in top
    if "open3d" in roots:
        assert name_of(path).startswith(("viz.window", "synthetic", "cli.doctor"))


def _is_body(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef)

"""Files and functions that a reader takes in at once."""

import ast
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dd_sfm"
MODULE_LINES, FUNCTION_LINES = 400, 60


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_modules_and_functions_are_short(path):
    text = path.read_text()
    assert text.count("\n") <= MODULE_LINES
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno - f.lineno + 1 > FUNCTION_LINES}
    assert long == {}


def test_test_files_have_names_of_their_own():
    """Test folders are no packages, so that two files of one name cannot be collected in one run."""
    files = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, count in files.items() if count > 1] == []

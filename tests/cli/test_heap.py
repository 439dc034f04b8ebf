import subprocess
import sys

import pytest

MEASURE = """
import sys
import numpy as np
from dd_sfm.cli.heap import give_back_large_blocks

def resident():
    return int(open('/proc/self/statm').read().split()[1]) * 4096 / 1e6

if sys.argv[1] == 'set':
    give_back_large_blocks()
np.ones(25 << 20, np.uint8)
before = resident()
kept = []
for _ in range(8):
    large = np.ones(24 << 20, np.uint8)
    kept.append(np.ones(2 << 20, np.uint8))
    del large
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_arrays_are_given_back():
    grown = [float(subprocess.check_output([sys.executable, "-c", MEASURE, how])) for how in ("set", "not")]
    # What is kept is 17 MB.
    assert grown[0] < 25
    assert grown[0] <= grown[1]

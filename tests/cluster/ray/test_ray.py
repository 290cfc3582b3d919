"""A real Ray, started in a namespace of its own: see the suites beside this file."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import namespace
import pytest

HERE = Path(__file__).parent

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="needs the extra ray"),
]


@pytest.mark.parametrize(
    "suite", ["ray_executor_suite.py", "ray_sweeps_suite.py", "ray_local_suite.py"]
)
def test_inside(suite, tmp_path):
    if why := namespace.why_not():
        pytest.skip(why)
    path = os.pathsep.join([str(HERE.parent.parent), str(HERE), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        namespace.wrapped(
            [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-rs",
             "--durations=5", "-m", "cluster", str(HERE / suite)]
        ),
        env={**os.environ, "LLT_NAMESPACE": "1", "PYTHONPATH": path},
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]

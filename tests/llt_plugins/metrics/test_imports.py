"""Listing and planning metrics never waits for a numerical library."""

from __future__ import annotations

import subprocess
import sys

HEAVY = "torch torchvision scipy pandas sklearn matplotlib powerlaw"
CODE = f"""
import importlib, pkgutil, sys
import llt_plugins.metrics as metrics
names = [found.name for found in pkgutil.iter_modules(metrics.__path__)]
assert "cka" in names
for name in names:
    importlib.import_module(f"llt_plugins.metrics.{{name}}")
sys.exit(", ".join(set("{HEAVY}".split()) & set(sys.modules)) or None)
"""


def test_the_modules_of_metrics_import_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

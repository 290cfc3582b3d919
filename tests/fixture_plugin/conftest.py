"""Lets llt's own suite run this package's tests without installing it; a copy needs no conftest."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

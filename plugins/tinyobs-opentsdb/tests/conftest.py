"""The plugin's tests run from the checkout, whether it is installed or not."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3] / "tests")]

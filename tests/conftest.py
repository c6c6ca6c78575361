"""Settings for all tests."""

import os

from hypothesis import settings

# How long an example takes says more of the machine than of the code; in CI the examples are the same every time.
settings.register_profile("tinyobs", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("tinyobs")

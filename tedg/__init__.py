"""tedg: Hydra-configured ablations of neuro-symbolic reinforcement learning on NetHack."""

import os

__version__ = "0.1.0"

# Before torch loads OpenMP: waiting threads sleep instead of spinning. Spinning gains little here, and on
# a machine that runs anything else beside it makes training several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

"""tedg: Hydra-configured ablations of neuro-symbolic reinforcement learning on NetHack."""

__version__ = "0.1.0"

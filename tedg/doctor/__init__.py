"""`python -m tedg.doctor`: what of this machine and installation would stop or slow a run."""

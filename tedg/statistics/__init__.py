"""The statistics of comparing two variants trained with the same seeds: numbers in, figures and verdicts out.

The unit is the training seed, never the episode. Nothing here reads a file or knows how a score came about.
"""

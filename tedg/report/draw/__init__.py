"""Figures, in one style for screen and print."""

"""Measures how fast the system is, how much memory it takes, and how far it is from what is possible."""

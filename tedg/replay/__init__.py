"""Recorded games as pages to look at and to send on."""

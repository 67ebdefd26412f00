"""The checker that conftest.py puts on every annotated function of tedg."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

# A whole number is a fine float, as for every static checker (PEP 484).
check = beartype(conf=BeartypeConf(is_pep484_tower=True))

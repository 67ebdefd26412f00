"""Compiled kernels are found again on disk, unless any source they may depend on has changed."""

from __future__ import annotations

from numba import config

from tedg.envs import compiled


def test_any_change_of_the_package_has_a_cache_of_its_own(tmp_path):
    (tmp_path / "kernel.py").write_text("import layout")
    (tmp_path / "layout.py").write_text("FIRST, SECOND = 0, 1")
    directory = compiled._cache_directory.__wrapped__  # without its memory
    before = directory(tmp_path)
    assert directory(tmp_path) == before
    (tmp_path / "layout.py").write_text("FIRST, SECOND = 1, 0")
    assert directory(tmp_path) != before


def test_other_users_of_numba_keep_their_cache():
    before = config.CACHE_DIR
    assert compiled.kernel(lambda x: x + 1)(1) == 2
    assert before == config.CACHE_DIR

"""Compiled kernels are found again on disk, unless any source they may depend on has changed."""

from __future__ import annotations

import os
import runpy
import tempfile

from numba import config

from tedg import compiled


def cache_of(folder, layout):
    """Name of the cache of a kernel in a new `folder`, beside a file that says `layout`."""
    folder.mkdir()
    (folder / "layout.py").write_text(layout)
    (folder / "kernel.py").write_text("def double(x):\n    return 2 * x\n")
    double = runpy.run_path(str(folder / "kernel.py"))["double"]
    assert compiled.kernel(double)(2) == 4
    (cache,) = (folder / "__pycache__").iterdir()
    assert list(cache.rglob("*.nbi"))
    return cache.name


def test_any_change_of_the_package_has_a_cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "CACHE_DIR", "")
    before = cache_of(tmp_path / "one", "FIRST, SECOND = 0, 1")
    assert cache_of(tmp_path / "same", "FIRST, SECOND = 0, 1") == before
    assert cache_of(tmp_path / "other", "FIRST, SECOND = 1, 0") != before


def test_a_change_of_the_sizes_in_envs_counts_for_kernels_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr(compiled, "PACKAGE", tmp_path)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "sizes.py").write_text("CROP = 9")
    before = cache_of(tmp_path / "models", "ANY = 1")
    (tmp_path / "envs" / "sizes.py").write_text("CROP = 7")
    assert cache_of(tmp_path / "other", "ANY = 1") != before


def test_where_the_sources_cannot_be_written_the_cache_is_elsewhere(tmp_path, monkeypatch):
    """A file stands where the folder would be made: that stops root too."""
    monkeypatch.setattr(config, "CACHE_DIR", "")
    source = tmp_path / "sources"
    source.mkdir()
    (source / "__pycache__").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    place = compiled._cache_directory.__wrapped__
    assert place(source).parent == tmp_path / "home" / "tedg" / "sources"
    monkeypatch.setenv("XDG_CACHE_HOME", str(source / "__pycache__"))
    (tmp_path / "temporary").mkdir()
    shared = tmp_path / "temporary" / f"tedg-{os.getuid()}"
    assert place(source).parent == shared / "sources"
    shared.chmod(0o777)  # anybody could have put code there
    assert place(source) is None
    (source / "kernel.py").write_text("def triple(x):\n    return 3 * x\n")
    triple = runpy.run_path(str(source / "kernel.py"))["triple"]
    assert compiled.kernel(triple)(2) == 6


def test_other_users_of_numba_keep_their_cache():
    before = config.CACHE_DIR
    assert compiled.kernel(lambda x: x + 1)(1) == 2
    assert before == config.CACHE_DIR

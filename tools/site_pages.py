"""MkDocs' hook of mkdocs.yml: pages of the repository outside docs/, and links that work here and there.

In the repository a page links to `../CONTRIBUTING.md` or `docs/sweeps.md`; in the site both are pages of
one folder. So README.md becomes the site's first page, the others keep their places, and their links are
turned. A link to a file that is no page, such as a YAML file, becomes its words: the site has only pages.
Where the words are the name of the page's file, the site has its title. A link to nothing stays, and
MkDocs, which `make docs` calls with --strict, refuses it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
FIRST = "README.md"
BESIDE = (
    FIRST,
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "experiments").glob("**/README.md")),
)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages outside docs/."""
    for name in BESIDE:
        files.append(File.generated(config, _in_site(name), abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Turn the links of a page."""
    here = _in_repository(page.file.src_uri)

    def turned(link: re.Match[str]) -> str:
        image, words, address = link.groups()
        path, mark, anchor = address.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return link[0]
        target = normpath(join(dirname(here), path))
        if not (ROOT / target).exists():
            return link[0]
        if target.startswith("docs/") or target in BESIDE:
            to = relpath(_in_site(target), dirname(page.file.src_uri) or ".")
            linked = files.get_file_from_path(_in_site(target))
            if words in (path, f"docs/{path}") and linked is not None and linked.page is not None:
                words = str(linked.page.title)
            return f"{image}[{words}]({to}{mark}{anchor})"
        return words

    return _LINK.sub(turned, markdown)


def _in_site(path: str) -> str:
    return "index.md" if path == FIRST else path.removeprefix("docs/")


def _in_repository(uri: str) -> str:
    return FIRST if uri == "index.md" else uri if uri in BESIDE else os.path.join("docs", uri)

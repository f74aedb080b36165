"""Hook of mkdocs: what the documentation site shows of files that lie outside of docs/.

The pages of `PAGES` are taken from the top of the repository. Another file that a page links to is
copied into the site, so that the link works there as it does in the repository. A folder has no
page; its link becomes its path. Where a page says ``::: fgaf.dataset``, the reference shows every
public name of that package under the module that defines it; ``__init__.pyi`` lists them.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

HERE = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages from the top of the repository, and what they are called in the site."""
COPIES = "repository"
"""The site's folder of copied files."""
_SOURCES = {page: source for source, page in PAGES.items()}
_REFERENCE = re.compile(r"^::: fgaf\.(?P<package>\S+)$", re.MULTILINE)
_LINK = re.compile(r"(?P<start>!?\[(?P<text>[^\]]*)\]\()(?P<path>[^)#:\s]+)(?P<end>(#[^)]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from the top of the repository, and every file that a page links to."""
    from mkdocs.structure.files import File

    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(HERE / source)))
    linked = {
        target
        for page in files.documentation_pages()
        for target in _links(page.content_string, page.src_uri)
        if _site_path(target) == f"{COPIES}/{target}" and (HERE / target).is_file()
    }
    for target in sorted(linked):
        path = str(HERE / target)
        files.append(File.generated(config, _site_path(target), abs_src_path=path))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Point the links of a page to where their targets lie in the site."""
    here = page.file.src_uri

    def moved(link: re.Match[str]) -> str:
        target = _target(link["path"], here)
        if (HERE / target).is_dir():
            return f"{link['text']} (`{target}`)"
        if not (HERE / target).is_file():
            return link[0]
        path = posixpath.relpath(_site_path(target), posixpath.dirname(here) or ".")
        return f"{link['start']}{path}{link['end']}"

    return _LINK.sub(moved, _REFERENCE.sub(_public_names, markdown))


def _public_names(reference: re.Match[str]) -> str:
    """Write a block of the reference for every public name of a package."""
    stub = HERE / reference["package"].replace(".", "/") / "__init__.pyi"
    if not stub.is_file():
        return reference[0]
    lines = []
    for line in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(line, ast.ImportFrom):
            lines.append(f"## {line.module}")
            lines += [f"{reference[0]}.{name.name}" for name in line.names]
    return "\n\n".join(lines)


def _links(markdown: str, page: str) -> Iterator[str]:
    return (_target(link["path"], page) for link in _LINK.finditer(markdown))


def _target(path: str, page: str) -> str:
    """Where in the repository a link of a page of the site leads."""
    source = _SOURCES.get(page, f"docs/{page}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), path))


def _site_path(target: str) -> str:
    """Where in the site a file of the repository is."""
    if target in PAGES:
        return PAGES[target]
    return target.removeprefix("docs/") if target.startswith("docs/") else f"{COPIES}/{target}"

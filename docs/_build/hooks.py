"""Hooks of mkdocs: pages that live beside their code, links that work on both sides, lists.

Pages link to each other as they do in a checkout. Of such links, those to pages of the site stay
links, those to images under examples/ bring the image along, and those to source files become
plain text: the site has no copy of them.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from mkdocs.structure.files import File, Files
from sources import REPO, code_list, command_help

# In the repository -> in the site.
PAGES = {
    "edgecap/bundle/SPEC.md": "spec.md",
    "benchmarks/LOG.md": "log.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "conformance/README.md": "conformance.md",
    "examples/tour.md": "examples/tour.md",
    **{
        f"examples/claims/{p.name}": f"examples/claims/{p.name}"
        for p in sorted((REPO / "examples/claims").glob("*.md"))
    },
}
SOURCES = {site: repo for repo, site in PAGES.items()}
GENERATED = {"<!-- error codes -->": code_list, "<!-- command help -->": command_help}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s:]*)(#[^)\s]*)?\)")
INLINE = re.compile(r"<code>[^<]*</code>")
OPTION = re.compile(r"--?[a-z][\w-]*")
FENCE = re.compile(r"(^```.*?^```$)", re.M | re.S)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and images that do not lie in docs/."""
    for repo, site in PAGES.items():
        files.append(File.generated(config, site, content=(REPO / repo).read_text()))
    for image in sorted((REPO / "examples").rglob("*.png")):
        site = str(image.relative_to(REPO))
        files.append(File.generated(config, site, abs_src_path=str(image)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what is generated, and turn links of the repository into links of the site."""
    for mark, make in GENERATED.items():
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    here = page.file.src_uri
    source = SOURCES.get(here, f"docs/{here}")
    parts = FENCE.split(markdown)
    for i in range(0, len(parts), 2):
        parts[i] = LINK.sub(lambda match: _link(match, source, here), parts[i])
    return "".join(parts)


def on_page_content(html: str, **_: Any) -> str:
    """Keep an option of a command in one line: a browser would break it behind its dashes."""
    return INLINE.sub(lambda m: OPTION.sub(r'<span class="option">\g<0></span>', m[0]), html)


def _link(match: re.Match[str], source: str, here: str) -> str:
    image, text, target, anchor = match.group(1), match.group(2), match.group(3), match.group(4)
    if not target:
        return match.group()
    repo = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if repo in PAGES:
        site = PAGES[repo]
    elif repo.startswith("docs/") and repo.endswith(".md"):
        site = repo.removeprefix("docs/")
    elif image and repo.startswith("examples/"):
        site = repo
    else:
        return text
    relative = posixpath.relpath(site, posixpath.dirname(here) or ".")
    return f"{image}[{text}]({relative}{anchor or ''})"

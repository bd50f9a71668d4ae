"""What the documents show is true: commands parse, links resolve, snippets run, lists are whole."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image, ImageOps

from edgecap.bundle.files import FileEntry
from edgecap.bundle.manifest import Function, manifest_to_json
from edgecap.bundle.schema1 import FUNCTIONS
from edgecap.cli.app import COMMANDS, app
from edgecap.core.formats import FORMATS, INT8, PRECISIONS
from edgecap.exporters.spec import ExportRequest
from edgecap.mil.ops import KERNELS
from edgecap.models.loading import load
from edgecap.models.registry import FAMILIES
from edgecap.reference.config import SIZES
from edgecap.reference.manifest import build_manifest
from edgecap.reference.model.weights import resolve
from edgecap.reference.train.qat import QatSpec, tuned_weights
from edgecap.runtime import mentions

REPO = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "conformance/*.md")
    for path in REPO.glob(pattern)
)
PAGES += [REPO / "edgecap/bundle/SPEC.md", *sorted((REPO / "examples").rglob("*.md"))]
# The log keeps commands as they were run on their day.
CURRENT = [page for page in PAGES if page.name != "LOG.md"]
SCRIPTS = [REPO / "Makefile", *sorted((REPO / "examples").glob("*.sh"))]
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)


def sources() -> ModuleType:
    """docs/_build/sources.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("sources", REPO / "docs/_build/sources.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_of(name: str) -> str:
    return (REPO / name).read_text()


# ------------------------------------------------------------------ commands


def shown_commands() -> list[tuple[str, str]]:
    """(document, command): a line of its own, or in backticks within a line."""
    found = []
    for path in [*CURRENT, *SCRIPTS]:
        for line in path.read_text().replace("\\\n", " ").splitlines():
            whole = line.strip().removeprefix("$(BIN)/").removeprefix("$ ")
            whole = re.sub(r"^run '(.*)'$", r"\1", whole)  # of tour.sh
            found += [(path.name, text) for text in (whole, *re.findall(r"`([^`]+)`", line))]
    return [(name, text) for name, text in found if re.match(r"edgecap [a-z]+( |$)", text)]


@pytest.mark.parametrize(("document", "line"), sorted(set(shown_commands())))
def test_shown_command_parses(document: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    _, name, *args = shlex.split(line, comments=True)
    group = typer.main.get_command(app)
    with group.make_context("edgecap", [name, *args]) as context:
        command = group.get_command(context, name)  # type: ignore[attr-defined]
        if args:  # a bare name is a mention
            with command.make_context(name, args, parent=context):
                pass


def test_shown_modules_exist() -> None:
    shown = {m for page in CURRENT for m in re.findall(r"python -m ([\w.]+)", page.read_text())}
    ours = {name for name in shown if name.startswith("edgecap.")}
    assert ours and [name for name in sorted(ours) if importlib.util.find_spec(name) is None] == []


def test_shown_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.M))
    shown = {t for page in CURRENT for t in re.findall(r"`make ([a-z-]+)`", page.read_text())}
    assert shown and shown <= targets


def test_the_commands_page_shows_every_command() -> None:
    shown = {line.split()[1] for name, line in shown_commands() if name == "cli.md"}
    assert shown == set(COMMANDS)


def test_bundles_are_named_as_export_names_them() -> None:
    name, _ = resolve(ExportRequest().model)
    requests = [ExportRequest(precision=precision) for precision in (INT8, *PRECISIONS)]
    names = {str(one.directory(name, format_)) for one in requests for format_ in FORMATS}
    pattern = rf"\bcaptioner-[\w./-]*-(?:{'|'.join(FORMATS)})\b[\w-]*"
    written = [page for page in PAGES if "examples" not in page.parts]  # by hand, in whole lines
    shown = {one for page in written for one in re.findall(pattern, page.read_text())}
    assert shown and shown <= names


def test_the_weights_of_qat_are_named_as_it_names_them() -> None:
    name, _ = resolve(QatSpec.model)
    shown = re.findall(r"[\w./-]+-qat\.[a-z]+", text_of("docs/quantisation.md"))
    assert shown and {Path(one) for one in shown} == {tuned_weights(Path("qat"), name)}


# --------------------------------------------------------------------- links


def anchor(heading: str) -> str:
    """A heading's anchor as code hosts make it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", heading).lower()
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", plain).strip())


def anchors(page: Path) -> list[str]:
    return [anchor(h) for h in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.M)]


def dead_links(page: Path) -> list[str]:
    """Relative links of a page to what is not there: files, or headings of pages."""
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (heading and heading not in anchors(file)):
            dead.append(target)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_links_resolve(page: Path) -> None:
    assert dead_links(page) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A b\n[a](page.md#a-b) [b](gone.md) [c](#gone) [d](https://example.org)\n")
    assert dead_links(page) == ["gone.md", "#gone"]


def test_headings_that_are_linked_to_are_unique() -> None:
    """Code hosts and the site number equal headings differently."""
    linked = [REPO / "edgecap/bundle/SPEC.md", REPO / "benchmarks/LOG.md"]
    assert all(len(set(anchors(page))) == len(anchors(page)) for page in linked)


def test_named_source_files_exist() -> None:
    pattern = r"`((?:edgecap|exporters|benchmarks|tests|docs|conformance|examples)/[\w./-]+\.\w+)`"
    named = {
        name
        for page in CURRENT
        if page.name != "CHANGELOG.md" and "examples" not in page.parts
        for name in re.findall(pattern, page.read_text())
    }
    assert named and [name for name in sorted(named) if not (REPO / name).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = text_of("mkdocs.yml").split("nav:\n", 2)[-1]
    pages = {str(path.relative_to(REPO / "docs")) for path in (REPO / "docs").rglob("*.md")}
    claims = {f"examples/claims/{p.name}" for p in (REPO / "examples/claims").glob("*.md")}
    assert [page for page in sorted(pages | claims) if f": {page}\n" not in navigation] == []


# ------------------------------------------------------------------ contents


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").splitlines()) <= 150


def in_an_app() -> str:
    """README's snippet of the runtime."""
    section = text_of("README.md").split("## In an app")[1]
    return section.split("```python")[1].split("```")[0]


def test_the_snippet_for_apps_runs(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tiny_bundle.parent
    tiny_bundle.rename(here / "captioner")
    (here / "edgecap").symlink_to(REPO / "edgecap")
    monkeypatch.chdir(here)
    names: dict[str, Any] = {}
    exec(in_an_app(), names)
    assert "Caption(text=" in capsys.readouterr().out
    assert names["cosines"].shape == (len(names["folder"]), 2)
    methods = ("caption", "caption_many", "stream", "embed_images", "embed_texts", "attention")
    assert [one for one in methods if f"captioner.{one}(" not in in_an_app()] == []


def test_the_evaluator_is_described_as_it_is() -> None:
    kinds = f"{len(KERNELS)} kinds of operation"
    assert all(kinds in text_of(n) for n in ("CONTRIBUTING.md", "docs/coreml-without-mac.md"))


def test_every_family_of_models_is_in_the_guide() -> None:
    guide = text_of("docs/adapters.md")
    assert [family for family in FAMILIES if f"`{family}`" not in guide] == []


def test_the_rooms_are_those_of_the_layer_test() -> None:
    table = text_of("tests/test_layering.py").split("MAY_IMPORT: ")[1].split("}\n")[0]
    rooms = set(re.findall(r'^    "([\w.]+)":', table, re.M))
    described = text_of("CONTRIBUTING.md").replace("edgecap/", "").replace("/", ".")
    assert rooms and [room for room in sorted(rooms) if f"`{room}" not in described] == []


# -------------------------------------------------------------------- errors


PORTS = {".c", ".h", ".js", ".kt", ".swift"}  # suffixes of the runtimes in other languages


def test_codes_that_are_explained_exist() -> None:
    found = sources().error_codes()
    explained = re.findall(
        r"^\| (`[^|]+`) \|", text_of("docs/errors.md").split("## Common")[1], re.M
    )
    codes = [code for cell in explained for code in re.findall(r"`([\w.]+)`", cell)]
    ports = [path for path in (REPO / "edgecap/embed").rglob("*.*") if path.suffix in PORTS]
    elsewhere = "".join(path.read_text() for path in ports)
    lost = [code for code in codes if code not in found and f'"{code}"' not in elsewhere]
    assert len(codes) > 40 and lost == []


def test_codes_are_found_however_they_are_made() -> None:
    found = sources().error_codes()
    made = {"image.missing": "InputError", "language.unknown": "InputError"}  # as text, by pick
    made |= {"image.truncated": "InputError", "parity.failed": "GateError"}  # chosen before
    assert made.items() <= found.items()
    assert "sampling.*" in found  # a part is known only at run time


def test_generated_parts_have_their_place() -> None:
    assert "<!-- error codes -->" in text_of("docs/errors.md")
    assert "<!-- command help -->" in text_of("docs/cli.md")
    shown = re.findall(r"^### ([a-z]+)$", sources().command_help(), re.M)
    assert shown == list(COMMANDS)
    assert "`bundle.altered`" in sources().code_list()


# ------------------------------------------------------- the specification


def worked_example() -> str:
    return text_of("edgecap/bundle/SPEC.md").split("## Worked example")[1].split("## Schema 2")[0]


def _by_layer(tensors: tuple[str, ...], layers: int) -> dict[str, str]:
    """The names of a graph's tensors, those of the cache for each layer."""
    cached = {"k": "k", "v": "v", "k_new": "new_k", "v_new": "new_v"}
    every = [[f"{cached[n]}_{i}" for i in range(layers)] if n in cached else [n] for n in tensors]
    return {name: name for names in every for name in names}


def _first_layer(value: Any) -> Any:
    """JSON values without the state of the other layers, which the specification leaves out."""

    def other(name: object) -> bool:
        return re.fullmatch(r"(new_)?[kv]_[1-9]\d*", str(name)) is not None

    if isinstance(value, dict):
        return {name: _first_layer(one) for name, one in value.items() if not other(name)}
    if isinstance(value, list):
        kept = (one for one in value if not (isinstance(one, dict) and other(one.get("name"))))
        return [_first_layer(one) for one in kept]
    return value


def test_the_manifest_of_the_specification_is_one() -> None:
    value = json.loads(worked_example().split("```json")[1].split("```")[0])
    (prompt,) = value["prompts"].values()
    layers = SIZES["S"].layers
    written = build_manifest(
        SIZES["S"],
        name=value["name"],
        model=value["model"]["source"],
        format=value["format"],
        precision=value["precision"],
        functions={
            name: Function(f"{name}.onnx", name, *(_by_layer(part, layers) for part in tensors))
            for name, tensors in FUNCTIONS.items()
        },
        tools=value["tools"],
        weights=value["model"]["weights"],
    )
    entries = {name: FileEntry(**entry) for name, entry in value["files"].items()}
    made = json.loads(json.dumps(manifest_to_json(written.with_files(entries))))
    assert all({**one, "begin": prompt["begin"]} == prompt for one in made["prompts"].values())
    assert len(made["prompts"]) == 40 and made["prompts"].items() > value["prompts"].items()
    assert {**_first_layer(made), "prompts": value["prompts"]} == value
    interface = written.interface
    cache = interface.sizes(interface.state[0].shape, 1)
    assert f"{'·'.join(str(n) for n in cache if n > 1)} floats" in " ".join(
        worked_example().split()
    )


def test_the_trace_of_the_specification_is_what_the_model_does() -> None:
    """Its rows: position, token fed, states, token chosen, text, log-probability."""
    (caption,) = load("S").caption(["edgecap/reference/data/sample.png"])
    rows = re.findall(
        r"^\| (\d+) \| (\d+)[^|]*\| ([^|]+) \| (\d+) \| `([^`]+)` \| −([\d.]+) \|$",
        worked_example(),
        re.M,
    )
    assert [int(row[0]) for row in rows] == [1, 2, 3, 4, 5, 6, 7, 49]
    assert len(caption.tokens) == 48  # <eos> is chosen at position 49
    for position, _, _, chosen, _, score in rows[:-1]:
        step = int(position) - 1
        assert caption.tokens[step] == int(chosen)
        assert abs(caption.scores[step] + float(score)) < 0.001
    for before, after in zip(rows[:6], rows[1:7], strict=True):
        assert after[1] == before[3]  # what is chosen is fed next
    assert caption.text in " ".join(worked_example().split())
    assert caption.mentions[0].boxes == ((4.0, 56.0, 68.0, 104.0),)


def test_the_orientations_of_the_specification_are_those_of_exif() -> None:
    table = text_of("edgecap/bundle/SPEC.md").split("### Resize")[0]
    cells = re.findall(r"\| (\d) \| `in(\[\S+\]\[\S+\])`", table)
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)  # [h,w]
    h, w = pixels.shape
    assert sorted(int(n) for n, _ in cells) == list(range(1, 9))
    for n, index in cells:
        image = Image.fromarray(pixels)
        image.getexif()[0x0112] = int(n)
        upright = np.asarray(ImageOps.exif_transpose(image))
        rows, columns = upright.shape
        names = {"pixels": pixels, "h": h, "w": w}
        made = [
            [eval(f"pixels{index}", names | {"x": x, "y": y}) for x in range(columns)]
            for y in range(rows)
        ]
        assert np.array_equal(np.array(made), upright)


def test_the_words_of_phrases_are_those_of_the_specification() -> None:
    section = text_of("edgecap/bundle/SPEC.md").split("conjunctions and leads")[1]
    rows = re.findall(r"^\| (\w\w) \| ([^|]+) \| ([^|]*)\|$", section.split("## Manifest")[0], re.M)
    leads = {lang: words for lang, words in mentions._LEADS.items() if lang != "ja"}
    assert {lang for lang, _, _ in rows} == {
        *mentions._CONJUNCTIONS,
        *mentions._DETERMINERS,
        *leads,
    }
    for lang, first, determiners in rows:
        words = mentions._CONJUNCTIONS.get(lang, ()) + leads.get(lang, ())
        assert first.replace(",", "").split() == list(words)
        assert determiners.split() == mentions._DETERMINERS.get(lang, "").split()

"""A format that nobody here knows: its row comes in through an entry point, and everything works.

The toy format keeps graphs and weights in one file, `model.toy`, and runs them on a session of its
own, as a wrapper around a vendor's engine does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tiny_export import SHALLOW, write_weights

REPO = Path(__file__).resolve().parents[1]

ROW = """
from edgecap.core.formats import Backend, Format, Package

FORMAT = Format(
    name="toy",
    suffix=".toy",
    aliases=("plaything",),
    precisions=("fp32",),
    converter="toyformat.convert:export",
    options="toyformat.convert:ToyOptions",
    tools=(Package("toyformat", "toyformat", "pip install toyformat"),),
    needs=("toyformat", "torch", "onnx", "onnxscript"),
    engine="onnxruntime",
    batch=None,
    inspector="toyformat.inspect:read",
    install="pip install toyformat",
    backends=(
        Backend(
            "toyengine",
            "toyformat.session:open_session",
            (Package("toyformat", "toyformat", "pip install toyformat"),),
            takes_threads=False,
        ),
    ),
)
"""
CONVERT = '''
"""Writes model.toy: a zip of what the ONNX exporter wrote, each graph with its weights."""

import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from edgecap.core.errors import UnsupportedError
from edgecap.exporters.onnx import convert


@dataclass(frozen=True)
class ToyOptions:
    level: int = 3

    def check(self, precision):
        if self.level > 9:
            raise UnsupportedError("toy.level", f"level {self.level} is more than 9.")


def export(model, spec, directory, plan=None):
    assert plan is None and spec.options == ToyOptions(5), spec
    print("toy: converting")
    with tempfile.TemporaryDirectory() as scratch:
        functions = convert.export(model, spec, Path(scratch), plan)
        with zipfile.ZipFile(directory / "model.toy", "w") as archive:
            for file in Path(scratch).iterdir():
                archive.write(file, file.name)
    return {name: replace(place, file="model.toy") for name, place in functions.items()}
'''
SESSION = '''
"""Runs model.toy."""

import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime

from edgecap.runtime.backends.single import FunctionSession


class ToySession(FunctionSession):
    batch = None

    def __init__(self, bundle):
        self._functions = bundle.manifest.functions
        self._scratch = tempfile.TemporaryDirectory()
        zipfile.ZipFile(bundle.file("model.toy")).extractall(self._scratch.name)
        self._graphs = {}

    def run(self, name, inputs):
        if name not in self._graphs:
            path = str(Path(self._scratch.name) / f"{self._functions[name].entry}.onnx")
            self._graphs[name] = onnxruntime.InferenceSession(path)
        graph = self._graphs[name]
        feed = {k: np.ascontiguousarray(v) for k, v in inputs.items()}
        outputs = self._functions[name].outputs
        return dict(zip(outputs, graph.run(list(outputs.values()), feed), strict=True))


def open_session(bundle, threads):
    return ToySession(bundle)
'''
INSPECT = '''
"""Reads model.toy without running it."""

import zipfile

from edgecap.inspection.contents import Contents, FunctionInfo, Weights


def read(path):
    with zipfile.ZipFile(path) as archive:
        names = sorted(n.removesuffix(".onnx") for n in archive.namelist() if n.endswith(".onnx"))
    functions = tuple(FunctionInfo(name, (), (), (), {"Toy": 1}) for name in names)
    size = path.stat().st_size
    return Contents("toy", "1", "toyformat", size, functions, (Weights("fp32", 1, 1, size, 1.0),))
'''


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors", SHALLOW)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A directory for sys.path that holds the package as pip would have installed it."""
    site = tmp_path / "site"
    package = site / "toyformat"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(ROW)
    for name, source in (("convert", CONVERT), ("session", SESSION), ("inspect", INSPECT)):
        (package / f"{name}.py").write_text(source)
    info = site / "toyformat-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toyformat\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text("[edgecap.formats]\ntoy = toyformat:FORMAT\n")
    return site


def python(site: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh process that finds the package."""
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_a_format_from_outside_exports_verifies_captions_and_inspects(
    tiny: Path, installed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    done = python(
        installed,
        """
        import sys
        from pathlib import Path
        from edgecap.exporters import job
        from edgecap.exporters.spec import ExportRequest
        from toyformat.convert import ToyOptions
        request = ExportRequest(
            model=sys.argv[1], formats=("toy",), output=Path(sys.argv[2]), scenes=4,
            options=(ToyOptions(5),),
        )
        exported = job.export(request)
        print(exported.certificate.verdict, exported.certificate.target)
        """,
        str(tiny),
        str(out),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "pass toyformat 1.5 fp32"  # the gate's process finds it
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["format"] == "toy" and manifest["tools"]["toyformat"] == "1.5"
    assert "model.toy" in manifest["files"]
    assert json.loads((out / "parity.json").read_text())["versions"]["toyformat"] == "1.5"

    command = "import sys; from edgecap.cli.app import main; sys.exit(main(sys.argv[1:]))"
    verified = python(installed, command, "verify", str(out), "--backend", "toyengine")
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.splitlines()[-1] == "verified"
    image = str(REPO / "edgecap" / "reference" / "data" / "sample.png")
    captioned = python(installed, command, "caption", image, "--bundle", str(out), "--json", "-")
    assert captioned.returncode == 0, captioned.stderr
    inspected = python(installed, command, "inspect", str(out), "--json", "-")
    assert inspected.returncode == 0, inspected.stderr
    contents = json.loads(inspected.stdout)["contents"]["model.toy"]
    assert contents["producer"] == "toyformat"
    assert [f["name"] for f in contents["functions"]] == ["decode", "encode_image", "encode_text"]
    doctor = python(installed, command, "doctor", "--json", "-")
    assert "toyengine (toy)" in {one["serves"] for one in json.loads(doctor.stdout)["backends"]}

    # Where the package is not installed, the bundle is refused by name.
    refused = python(tmp_path, command, "verify", str(out))
    assert refused.returncode == 2 and "[backend.format]" in refused.stderr
    assert "a toy bundle" in refused.stderr


def test_its_aliases_and_refusals_are_those_of_any_format(
    tiny: Path, installed: Path, tmp_path: Path
) -> None:
    command = "import sys; from edgecap.cli.app import main; sys.exit(main(sys.argv[1:]))"
    refused = python(installed, command, "export", "-m", str(tiny), "-f", "plaything", "--fp16")
    assert refused.returncode == 2
    assert "[export.combination] toy has no fp16; it has fp32." in refused.stderr
    unknown = python(tmp_path, command, "export", "-m", str(tiny), "-f", "plaything")
    assert unknown.returncode == 2 and "[format.unknown]" in unknown.stderr
    options = python(
        installed,
        """
        import sys
        from edgecap.core.errors import UnsupportedError
        from edgecap.exporters.job import prepare
        from edgecap.exporters.spec import ExportRequest
        from toyformat.convert import ToyOptions
        for formats, level in ((("toy",), 10), (("onnx",), 1)):
            try:
                options = (ToyOptions(level),)
                prepare(ExportRequest(model=sys.argv[1], formats=formats, options=options))
            except UnsupportedError as error:
                print(error.code)
        """,
        str(tiny),
    )
    assert options.stdout.split() == ["toy.level", "export.options"], options.stderr


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("raise RuntimeError('it is broken')", "it is broken"),
        ("FORMAT = 3", "not a Format named 'toy'"),
        (ROW.replace('"plaything"', '"ort"'), "ort is already used by format onnx"),
        (ROW.replace('".toy"', '".tflite"'), ".tflite is already used by format tflite"),
        (ROW.replace('"toyengine"', '"auto"'), "may not be called auto or torch"),
    ],
)
def test_a_row_that_cannot_be_used_is_said_and_spoils_nothing(
    installed: Path, row: str, said: str
) -> None:
    (installed / "toyformat" / "__init__.py").write_text(row)
    done = python(installed, "from edgecap.core.formats import FORMATS; print(*FORMATS)")
    assert done.returncode == 0
    assert done.stdout.split() == ["onnx", "tflite", "coreml"]
    assert "edgecap: format toy from toyformat:FORMAT is ignored" in done.stderr
    assert said in done.stderr


def test_our_own_formats_look_for_no_others(installed: Path) -> None:
    """What runs a bundle of ours reads no entry point and imports no foreign code."""
    (installed / "toyformat" / "__init__.py").write_text("raise SystemExit(3)")
    code = "from edgecap.core.formats import FORMATS; print(FORMATS['tflite'].suffix)"
    done = python(installed, code)
    assert (done.returncode, done.stdout) == (0, ".tflite\n")

"""`edgecap doctor`: what this machine can run and convert, or what exports of a model need."""

from __future__ import annotations

import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

import edgecap
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json
from edgecap.core.cores import usable_cores
from edgecap.core.formats import FORMATS


@dataclass(frozen=True)
class Part:
    """A package that some command needs."""

    serves: str
    package: str  # its name for pip
    module: str  # its name for import
    need: str  # what to run where it is missing
    platform: str | None = None  # sys.platform of the only system it works on
    engine: bool = True  # False: works, and at no device's speed


# Where several packages serve the same backend, the first that is installed is used. Modules are
# those that the runtime imports.
BACKENDS = (
    *(
        Part(
            one.name if one.name == row.name else f"{one.name} ({row.name})",
            package.name,
            package.module,
            package.install,
            one.platform,
            engine=not one.evaluator,
        )
        for row in FORMATS.values()
        for one in row.backends
        for package in one.packages
    ),
    Part("torch", "torch", "torch", "pip install 'edgecap[torch]'"),
)
MACOS_NEED = "macOS; elsewhere mlprogram evaluates the same bundles: numerically correct, not timed"
TOOLS = (
    Part("weights", "safetensors", "safetensors", "pip install 'edgecap[torch]'"),
    *(
        Part(f"export {row.name}", tool.name, tool.module, row.install)
        for row in FORMATS.values()
        for tool in row.tools
        if tool.name != "torch"
    ),
    Part("search, large", "usearch", "usearch.index", "pip install 'edgecap[search]'"),
    Part("train", "tokenizers", "tokenizers", "pip install 'edgecap[train]'"),
    Part("train plots", "matplotlib", "matplotlib", "pip install 'edgecap[train]'"),
)
FONT_NEED = "apt-get install fonts-noto-color-emoji (only for drawing new scenes)"

# What makes int8 and 16-bit arithmetic fast, by the names of /proc/cpuinfo.
CPU_FEATURES = {
    "avx2": "AVX2",
    "fma": "FMA",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI (int8)",
    "avx512_bf16": "AVX-512 BF16",
    "avx_vnni": "AVX-VNNI (int8)",
    "amx_int8": "AMX int8",
    "asimd": "NEON",
    "asimddp": "NEON dot product (int8)",
    "asimdhp": "NEON fp16",
    "i8mm": "int8 matrix product",
    "bf16": "bf16 arithmetic",
    "sve": "SVE",
}


DETAILS = """
With MODEL, lists for every format and precision whether it can be exported, the expected size, and
the memory and temporary disk space that the export needs. Nothing is converted.

Without MODEL, lists engines, converters, versions and CPU features, and how to install what is
missing. Each engine is imported in its own process, because a package built for another CPU may
crash.

The exit code is 1 if no engine works. The evaluator of CoreML bundles always works and does not
count as an engine.
"""


def run(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A model to export: the shipped model S, a .safetensors file of its kind, or a "
            "Hugging Face checkpoint.",
        ),
    ] = None,
    json_: Json = None,
) -> None:
    if model is not None:
        from edgecap.cli._forecast import print_forecast
        from edgecap.exporters.forecast import survey

        forecast = survey(model)
        write_json(forecast.to_json(), json_)
        if json_ != STANDARD_OUTPUT:
            print_forecast(forecast)
        return
    report = examine()
    write_json(report, json_)
    if json_ != STANDARD_OUTPUT:
        _print(report)
    if not any(part["works"] and part["engine"] for part in report["backends"]):
        raise typer.Exit(1)


def examine() -> dict[str, Any]:
    """The report as plain data: edgecap, python, system, cpu, backends, tools, fonts."""
    with ThreadPoolExecutor(len(BACKENDS)) as pool:
        backends = list(pool.map(_examine_backend, BACKENDS))
    served = {part["serves"] for part in backends if part["works"]}
    for part in backends:
        if part["version"] is None and part["serves"] in served:
            part["need"] = None  # another package does its work
    return {
        "edgecap": edgecap.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": examine_cpu(),
        "backends": backends,
        "tools": [_examine_tool(part) for part in TOOLS],
        "fonts": _examine_font(),
    }


def examine_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """Model, usable cores and the features that matter; model and features need /proc."""
    fields: dict[str, str] = {}
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip().lower(), value.strip())
    flags = set(fields.get("flags", fields.get("features", "")).split())
    return {
        "model": fields.get("model name") or platform.processor() or "unknown",
        "cores": usable_cores(),
        "features": [name for flag, name in CPU_FEATURES.items() if flag in flags],
    }


def _examine_backend(part: Part) -> dict[str, Any]:
    report = _examine_tool(part)
    if part.platform not in (None, sys.platform):
        return report | {"works": False, "need": MACOS_NEED}
    if report["version"] is None:
        return report | {"works": False}
    code = f"import {part.module}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, errors="replace"
    )
    if done.returncode == 0:
        return report | {"works": True}
    lines = done.stderr.strip().splitlines()
    problem = lines[-1] if lines else f"died with exit status {done.returncode}"
    return report | {"works": False, "need": f"{code} fails: {problem}"}


def _examine_tool(part: Part) -> dict[str, Any]:
    try:
        found: str | None = version(part.package)
    except PackageNotFoundError:
        found = None
    report = asdict(part) | {"version": found, "need": None if found else part.need}
    del report["module"], report["platform"]
    return report


def _examine_font() -> dict[str, Any]:
    from edgecap.reference.scenes.font import font_path

    found = font_path()
    return {"emoji": found and str(found), "need": None if found else FONT_NEED}


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    cpu = report["cpu"]
    console.print(
        f"edgecap {report['edgecap']}, Python {report['python']}, {report['system']}",
        f"{cpu['model']}, {cpu['cores']} cores: {', '.join(cpu['features']) or 'unknown features'}",
        sep="\n",
        highlight=False,
        markup=False,
    )
    for title in ("backends", "tools"):
        table = Table("for", "package", "version", "needs", title=title, title_justify="left")
        for part in report[title]:
            table.add_row(part["serves"], part["package"], part["version"] or "–", _need(part))
        console.print(table)
    fonts = report["fonts"]
    line = f"emoji font: {fonts['emoji'] or 'missing: ' + _need(fonts)}"
    console.print(line, highlight=False, markup=False)


def _need(part: dict[str, Any]) -> str:
    from rich.markup import escape

    return escape(part["need"] or "")

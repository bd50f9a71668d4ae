"""Rows in the form of `litertlm_manifest.json` 0.1.3, which LiteRT's community reads.

That manifest describes `.litertlm` files of language models. Its variants carry the file's identity
and `measured` rows; quality stays out of it by design, so parity lies beside them, under `parity`.
A bundle has no prompt to prefill but an image: `prefill_tps` and `max_num_tokens` are left out, and
`ttft_s` is the time from an image file to the first token.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from edgecap.core.formats import backends

if TYPE_CHECKING:
    from edgecap.benchmarks.report import Report
    from edgecap.benchmarks.runner import Row

FORM = "0.1.3"


def manifest_rows(report: Report) -> dict[str, Any]:
    """`variants`, one for each measured target, with one measured row and its parity."""
    return {
        "manifest_schema": FORM,
        "generated": str(report.machine["date"])[:10],
        "generator": "edgecap bench",
        "variants": [_variant(row, report) for row in report.rows if row.times and not row.error],
    }


def _variant(row: Row, report: Report) -> dict[str, Any]:
    return {
        "file": row.name,
        "size_bytes": None if row.size_mb is None else round(row.size_mb * 1e6),
        "backends": ["cpu"],
        "measured": [_measured(row, report)],
        "parity": {"same_captions": row.same_captions, **row.parity},
    }


def _measured(row: Row, report: Report) -> dict[str, Any]:
    machine = report.machine
    first = row.times.get("first_token_ms")
    tokens = row.about.get("caption_tokens") or [0]
    values = {
        "device": machine["cpu"],
        "backend": "cpu",
        "runtime": _runtime(str(row.about.get("backend")), machine["versions"]),
        "decode_tokens": round(median(tokens)),
        "decode_tps": row.tokens_per_s and round(row.tokens_per_s, 1),
        "ttft_s": first and round(first.p50 / 1e3, 4),
        "cache": "no",
        "runs": len(row.rounds),
        "load_s": row.cold_start_ms and round(row.cold_start_ms / 1e3, 3),
        "peak_memory_mb": row.peak_rss_mb and round(row.peak_rss_mb * 1.048576, 1),
        "date": str(machine["date"])[:10],
        "source": f"edgecap bench, {report.plan.threads} thread(s), interleaved rounds",
    }
    return {key: value for key, value in values.items() if value is not None}


def _runtime(backend: str, versions: dict[str, str]) -> str:
    """The engine and its version; the backend's name where it is no package of ours."""
    known = backends().get(backend)
    for package in known.packages if known else ():
        if package.name in versions:
            return f"{package.name} {versions[package.name]}"
    return f"torch {versions['torch']}" if "torch" in versions and backend == "torch" else backend

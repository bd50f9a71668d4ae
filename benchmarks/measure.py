"""One bench from its options to its report: what `edgecap bench` and `edgecap.bench` do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgecap.benchmarks import baseline, peers, report, runner, targets
from edgecap.benchmarks.machine import machine
from edgecap.benchmarks.process import Target
from edgecap.benchmarks.protocol import QUICK, BenchPlan
from edgecap.bundle.io import Bundle
from edgecap.core.atomic import atomic_dir
from edgecap.core.choices import pick
from edgecap.core.errors import EdgecapError, InputError, UnsupportedError
from edgecap.reference.scenes.grammar import picked_languages
from edgecap.runtime.loading import as_schema2

TARGETS = ("python", "c")


@dataclass(frozen=True)
class Options:
    """The options of a bench; see `edgecap bench --help`."""

    output: Path | None = None
    overwrite: bool = False
    quick: bool = False
    scenes: int | None = None  # 0: no accuracy
    lang: str = "en"
    threads: int = 1
    model: str | None = None
    duration_s: float | None = None
    target: str = "python"
    peers: bool = False
    remote: str | None = None
    remote_python: str = "python3"
    baseline: Path | None = None
    max_regression: float = 0.05
    profile: bool = False
    limits: bool = False

    def plan(self) -> BenchPlan:
        """How often everything is measured; InputError for an unknown language."""
        plan = replace(
            QUICK if self.quick else BenchPlan(),
            languages=picked_languages(self.lang),
            threads=self.threads,
            duration_s=self.duration_s,
        )
        return plan if self.scenes is None else replace(plan, scenes=self.scenes)


def measure(bundles: Sequence[Path], options: Options, say: Callable[[str], None]) -> report.Report:
    """Measure bundles beside PyTorch and, where requested, other engines.

    Args:
        bundles: bundle directories; none: those in the working directory.
        options: the other options.
        say: receives notes, such as that there is nothing to compare with.

    Raises:
        BundleError and InputError for what cannot be measured, UnsupportedError for options that
        exclude each other. A target that fails while it is measured has `error` in its row.
    """
    plan = options.plan()
    _check(options)
    old = None if options.baseline is None else baseline.read(options.baseline)
    opened = targets.bundles(bundles, Path())
    for one in opened:
        known = as_schema2(one).manifest.languages  # none: it has other prompts
        for language in plan.languages if known else ():
            pick("language", language, known)
    with ExitStack() as stack:
        # The place of the report is taken first: a refusal after ten minutes of work helps nobody.
        directory = (
            None
            if options.output is None
            else stack.enter_context(atomic_dir(options.output, options.overwrite, report.MARKER))
        )
        files = stack.enter_context(targets.images())
        chosen, left_out, measured_on = _chosen(opened, options, files, stack, say)
        if old is not None:
            names = [target.name for target in chosen]
            baseline.check_comparable(old, names, measured_on["cpu"])
        measured = runner.bench(chosen, plan)
        result = report.Report(
            measured,
            plan,
            measured_on,
            left_out,
            _limits(opened, options, left_out) if options.limits else None,
            _profiles(opened, options, left_out) if options.profile else None,
        )
        if old is not None:
            result = replace(
                result,
                changes=baseline.changes(old, report.to_json(result), options.max_regression),
            )
        if directory is not None:
            report.write_files(directory, result)
    return result


def _check(options: Options) -> None:
    pick("target", options.target, TARGETS)
    if options.remote is not None and (
        options.peers or options.profile or options.limits or options.target != "python"
    ):
        raise UnsupportedError(
            "bench.remote_targets",
            "a remote bench measures bundles with the Python runtime; peers, the C core, profiles "
            "and limits are of this machine.",
            "Leave out --peers, --target, --profile and --limits, or run edgecap bench there.",
        )
    if options.scenes == 1:
        raise InputError(
            "bench.scenes", "an accuracy of 1 scene says nothing; allowed: 0, or 2 to 128."
        )
    if options.duration_s is not None and options.duration_s <= 0:
        raise InputError(
            "bench.duration", f"a duration must be above 0 s, got {options.duration_s:g}."
        )


def _chosen(
    opened: Sequence[Bundle],
    options: Options,
    files: Sequence[Path],
    stack: ExitStack,
    say: Callable[[str], None],
) -> tuple[list[Target], dict[str, str], dict[str, Any]]:
    """The targets, those that were left out with the reason, and the machine they run on."""
    if options.remote is not None:
        from edgecap.benchmarks.remote import Remote

        remote = stack.enter_context(Remote(options.remote, options.remote_python))
        return remote.targets(opened, files, options.threads), {}, remote.machine()
    chosen = targets.targets(opened, options.model, files, options.threads)
    if not any(target.reference for target in chosen):
        say(
            "no PyTorch, or not the weights that were exported (--model FILE): nothing to "
            "compare with"
        )
    left_out: dict[str, str] = {}
    if options.target == "c" or options.peers:
        from edgecap.benchmarks import c_core

        added, missing = c_core.targets(opened, files, options.threads, stack)
        if missing and not options.peers:
            name, why = next(iter(missing.items()))
            raise UnsupportedError("bench.target_c", f"{name} cannot be measured: {why}")
        chosen, left_out = chosen + added, left_out | missing
    if options.peers:
        added, missing = peers.targets(opened, options.model, files, options.threads)
        chosen, left_out = chosen + added, left_out | missing
    return chosen, left_out, machine()


def _limits(
    opened: Sequence[Bundle], options: Options, left_out: dict[str, str]
) -> dict[str, Any] | None:
    """What the machine can do; where that cannot be measured, the bench is kept, and the reason."""
    from edgecap.benchmarks import limits

    try:
        return limits.measure([one.path for one in opened], options.threads)
    except EdgecapError as error:
        left_out["limits"] = error.message
        return None


def _profiles(
    opened: Sequence[Bundle], options: Options, left_out: dict[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """Time per operation, by bundle; failures as in `_limits`."""
    from edgecap.benchmarks import profile

    found = {}
    for one in opened:
        name = one.path.resolve().name
        try:
            found[name] = profile.profile(one.path, options.threads)
        except EdgecapError as error:
            left_out[f"profile of {name}"] = error.message
    return found

"""Energy of the processor, where Linux reports it (RAPL)."""

from __future__ import annotations

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class Meter:
    """Joules of all processor packages since it was made; None where it has none."""

    def __init__(self, root: Path = POWERCAP) -> None:
        # A package is one colon deep (intel-rapl:0); its parts (intel-rapl:0:1) are in its sum.
        self._zones = [zone for zone in sorted(root.glob("*rapl:*")) if zone.name.count(":") == 1]
        self._last = self._read()
        self._joules = 0.0

    def joules(self) -> float | None:
        """Energy so far. Ask at least once a minute: the counters wrap around."""
        now = self._read()
        if self._last is None or now is None:
            return None
        for zone, before, after in zip(self._zones, self._last, now, strict=True):
            wrapped = int((zone / "max_energy_range_uj").read_text()) if after < before else 0
            self._joules += (after - before + wrapped) / 1e6
        self._last = now
        return self._joules

    def _read(self) -> list[int] | None:
        try:
            values = [int((zone / "energy_uj").read_text()) for zone in self._zones]
        except (OSError, ValueError):  # since 2020 only root may read it
            return None
        return values or None

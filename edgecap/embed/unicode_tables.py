"""Make c/unicode_tables.c from Python's unicodedata: `python -m edgecap.embed.unicode_tables`.

What NFC needs and no more: canonical decompositions, the pairs that compose, and combining classes.
Hangul is arithmetic and stands in unicode.c. Characters that exist never change theirs (Unicode's
stability policy), so a later Python makes the same tables with rows added.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

TARGET = Path(__file__).parent / "c" / "unicode_tables.c"
_HANGUL = range(0xAC00, 0xD7A4)


def decompositions() -> list[tuple[int, int, int]]:
    """(code point, first, second or 0), one step each, ascending."""
    rows = []
    for code in range(0x110000):
        mapping = unicodedata.decomposition(chr(code))
        if mapping and not mapping.startswith("<") and code not in _HANGUL:
            first, second = (*(int(part, 16) for part in mapping.split()), 0)[:2]
            rows.append((code, first, second))
    return rows


def compositions(rows: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """(first, second, composed), ascending: the pairs that NFC puts together."""
    pairs = [
        (first, second, code)
        for code, first, second in rows
        if second and unicodedata.normalize("NFC", chr(first) + chr(second)) == chr(code)
    ]
    return sorted(pairs)


def classes() -> list[tuple[int, int, int]]:
    """(first, last, combining class) of runs that are not 0, ascending."""
    rows: list[tuple[int, int, int]] = []
    for code in range(0x110000):
        kind = unicodedata.combining(chr(code))
        if not kind:
            continue
        if rows and rows[-1][1:] == (code - 1, kind):
            rows[-1] = (rows[-1][0], code, kind)
        else:
            rows.append((code, code, kind))
    return rows


def source() -> str:
    rows = decompositions()
    tables = {"decompositions": rows, "compositions": compositions(rows), "classes": classes()}
    parts = [
        "/* unicode_tables.c: made by embed/unicode_tables.py; do not edit.\n"
        f" * Unicode {unicodedata.unidata_version}. Rows ascend by what is looked up. */\n"
        '#include "unicode.h"\n'
    ]
    for name, table in tables.items():
        cells = [f"{{0x{a:X}, 0x{b:X}, 0x{c:X}}}" for a, b, c in table]
        lines = [", ".join(cells[i : i + 4]) for i in range(0, len(cells), 4)]
        body = ",\n    ".join(lines)
        parts.append(
            f"\nconst size_t ec_{name}_count = {len(cells)};\n"
            f"const uint32_t ec_{name}[][3] = {{\n    {body}}};\n"
        )
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(source(), encoding="ascii")
    print(f"{TARGET.name}: Unicode {unicodedata.unidata_version}")

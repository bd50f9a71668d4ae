"""Language tags of phones and browsers: BCP 47, matched by the Lookup scheme of RFC 4647."""

from __future__ import annotations

from collections.abc import Iterable

from edgecap.core.choices import pick

# Subtags that a plain language does not match: "zh" is Chinese in simplified characters, so a
# request for traditional ones is refused instead of answered in the wrong script.
_OTHER_SCRIPT = {"zh": frozenset({"hant", "tw", "hk", "mo"})}


def resolve_language(tag: str, allowed: Iterable[str]) -> str:
    """The allowed language that matches a BCP 47 tag: "pt-BR" and "pt_BR" match "pt".

    The whole tag is compared first, then the tag without its last subtag, and so on, ignoring case.
    Raises InputError (language.unknown), with the allowed names, if none matches.
    """
    names = list(allowed)
    if tag in names:
        return tag
    by_lower = {name.lower(): name for name in names}
    subtags = tag.strip().lower().replace("_", "-").split("-")
    for length in range(len(subtags), 0, -1):
        name = by_lower.get("-".join(subtags[:length]))
        if name is None:
            continue
        if _OTHER_SCRIPT.get(name, frozenset()) & set(subtags[length:]) and ("hans" not in subtags):
            break
        return name
    return pick("language", tag, names)

"""Language tags as phones and browsers give them: BCP 47, matched as RFC 4647 (Lookup) says."""

from __future__ import annotations

from collections.abc import Iterable

from edgecap.core.choices import pick

# What a bare language does not stand for: "zh" is Chinese in simplified characters, so a request
# for traditional ones is refused, not answered in the wrong script.
_OTHER_SCRIPT = {"zh": frozenset({"hant", "tw", "hk", "mo"})}


def resolve_language(tag: str, allowed: Iterable[str]) -> str:
    """The allowed language that a BCP 47 tag asks for: "pt-BR" and "pt_BR" ask for "pt".

    The tag is compared whole first, then without its last subtag, and so on, in any case. Raises
    InputError (language.unknown), with the allowed names, where none of these is allowed.
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

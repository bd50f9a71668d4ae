"""Chinese: number, classifier, colour with 的, noun. A definite thing is the bare noun phrase."""

from __future__ import annotations

from edgecap.reference.scenes.grammar.base import Rules, rules
from edgecap.reference.scenes.graph import Name
from edgecap.reference.scenes.lexicon import load

_NUMBERS = ("一", "两", "三", "四", "五", "六", "七")

_LISTS = (
    "{0:nom}",
    "图|中|有|{0:nom}",
    "画面|里|有|{0:nom}",
    "这里|能|看到|{0:nom}",
)

_RELATIONS = {
    "left": ("{0}|在|{1}|的|左边", "{0}|位于|{1}|的|左侧"),
    "right": ("{0}|在|{1}|的|右边", "{0}|位于|{1}|的|右侧"),
    "above": ("{0}|在|{1}|的|上方", "{0}|位于|{1}|的|上方"),
    "below": ("{0}|在|{1}|的|下方", "{0}|位于|{1}|的|下方"),
    "between": ("{0}|在|{1}|和|{2}|之间", "{0}|位于|{1}|和|{2}|之间"),
    "biggest": ("{0}|是|最大|的|物体", "最大|的|物体|是|{0}"),
    "smallest": ("{0}|是|最小|的|物体", "最小|的|物体|是|{0}"),
}


def chinese() -> Rules:
    """The rules of Chinese, in simplified characters."""
    lexicon = load("zh")

    def phrase(name: Name, count: int, definite: bool, case: str) -> str:
        noun = lexicon.noun(name.noun)
        color = lexicon.colors[name.color].singular if name.color else ""
        if definite:
            # Without 的, which would pile up before the 的 of the relation.
            return f"{color}|{noun.singular}" if color else noun.singular
        counted = f"{_NUMBERS[count - 1]}|{noun.counter}|"
        return counted + (f"{color}|的|" if color else "") + noun.singular

    return rules("zh", phrase, ("、", "和", "。", ""), _LISTS, _RELATIONS)

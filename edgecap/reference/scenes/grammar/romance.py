"""Spanish, French, Italian and Portuguese: one shape of noun phrase, four tables.

Article, noun, agreeing colour. Cases: nom, and de (the preposition, contracted with the article).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from edgecap.reference.scenes.grammar.base import Rules, rules
from edgecap.reference.scenes.graph import Name
from edgecap.reference.scenes.lexicon import Entry, load

_VOWELS = tuple("aeiouàèéìòù")


@dataclass(frozen=True)
class Articles:
    """Determiners for one class of nouns, up to the noun: with their space or apostrophe."""

    indefinite: str
    definite: str
    of: str  # de, di + definite article


@dataclass(frozen=True)
class Language:
    """The tables of one Romance language. Numbers are masculine; `feminine_numbers` overrides."""

    code: str
    numbers: tuple[str, ...]
    feminine_numbers: tuple[str, ...]
    articles: Callable[[Entry], Articles]
    conjunction: str
    lists: Sequence[str]
    relations: Mapping[str, Sequence[str]]


def _by_gender(table: Mapping[str, Articles], noun: Entry) -> Articles:
    return table[noun.gender]


_IT_PLAIN = {"m": Articles("un ", "il ", "del "), "f": Articles("una ", "la ", "della ")}
_IT_LO = Articles("uno ", "lo ", "dello ")
_IT_VOWEL = {"m": Articles("un ", "l'", "dell'"), "f": Articles("un'", "l'", "dell'")}


def _italian_articles(noun: Entry) -> Articles:
    word = noun.singular
    # A written h is silent: l'hamburger.
    if word.removeprefix("h").startswith(_VOWELS):
        return _IT_VOWEL[noun.gender]
    impure_s = word[0] == "s" and not word[1:].startswith(_VOWELS)
    if noun.gender == "m" and (impure_s or word.startswith(("z", "gn", "ps", "pn", "x", "y"))):
        return _IT_LO
    return _IT_PLAIN[noun.gender]


_SPANISH = Language(
    "es",
    ("dos", "tres", "cuatro", "cinco", "seis", "siete"),
    (),
    partial(
        _by_gender,
        {
            "m": Articles("un ", "el ", "del "),
            "f": Articles("una ", "la ", "de la "),
            "f'": Articles("un ", "el ", "del "),  # before a stressed a: el ancla
        },
    ),
    " y ",
    (
        "{0:nom}",
        "una imagen con {0:nom}",
        "la imagen muestra {0:nom}",
        "aquí vemos {0:nom}",
    ),
    {
        "left": ("{0} está a la izquierda {1:de}", "{0} se encuentra a la izquierda {1:de}"),
        "right": ("{0} está a la derecha {1:de}", "{0} se encuentra a la derecha {1:de}"),
        "above": ("{0} está por encima {1:de}", "{0} está más arriba que {1}"),
        "below": ("{0} está por debajo {1:de}", "{0} está más abajo que {1}"),
        "between": ("{0} está entre {1} y {2}", "{0} se encuentra entre {1} y {2}"),
        "biggest": ("{0} es el objeto más grande", "el objeto más grande es {0}"),
        "smallest": ("{0} es el objeto más pequeño", "el objeto más pequeño es {0}"),
    },
)

_FR_ELIDED = {"m'": "un ", "f'": "une "}
_FRENCH = Language(
    "fr",
    ("deux", "trois", "quatre", "cinq", "six", "sept"),
    (),
    partial(
        _by_gender,
        {
            "m": Articles("un ", "le ", "du "),
            "f": Articles("une ", "la ", "de la "),
            **{gender: Articles(un, "l'", "de l'") for gender, un in _FR_ELIDED.items()},
        },
    ),
    " et ",
    (
        "{0:nom}",
        "une image avec {0:nom}",
        "l'image montre {0:nom}",
        "ici, on voit {0:nom}",
    ),
    {
        "left": ("{0} est à gauche {1:de}", "{0} se trouve à gauche {1:de}"),
        "right": ("{0} est à droite {1:de}", "{0} se trouve à droite {1:de}"),
        "above": ("{0} est au-dessus {1:de}", "{0} se trouve au-dessus {1:de}"),
        "below": ("{0} est en dessous {1:de}", "{0} se trouve en dessous {1:de}"),
        "between": ("{0} est entre {1} et {2}", "{0} se trouve entre {1} et {2}"),
        "biggest": ("{0} est l'objet le plus grand", "l'objet le plus grand est {0}"),
        "smallest": ("{0} est l'objet le plus petit", "l'objet le plus petit est {0}"),
    },
)

_ITALIAN = Language(
    "it",
    ("due", "tre", "quattro", "cinque", "sei", "sette"),
    (),
    _italian_articles,
    " e ",
    (
        "{0:nom}",
        "un'immagine con {0:nom}",
        "l'immagine mostra {0:nom}",
        "qui vediamo {0:nom}",
    ),
    {
        "left": ("{0} è a sinistra {1:de}", "{0} si trova a sinistra {1:de}"),
        "right": ("{0} è a destra {1:de}", "{0} si trova a destra {1:de}"),
        "above": ("{0} è sopra {1}", "{0} si trova sopra {1}"),
        "below": ("{0} è sotto {1}", "{0} si trova sotto {1}"),
        "between": ("{0} è tra {1} e {2}", "{0} si trova tra {1} e {2}"),
        "biggest": ("{0} è l'oggetto più grande", "l'oggetto più grande è {0}"),
        "smallest": ("{0} è l'oggetto più piccolo", "l'oggetto più piccolo è {0}"),
    },
)

_PORTUGUESE = Language(
    "pt",
    ("dois", "três", "quatro", "cinco", "seis", "sete"),
    ("duas", "três", "quatro", "cinco", "seis", "sete"),
    partial(
        _by_gender,
        {"m": Articles("um ", "o ", "do "), "f": Articles("uma ", "a ", "da ")},
    ),
    " e ",
    (
        "{0:nom}",
        "uma imagem com {0:nom}",
        "a imagem mostra {0:nom}",
        "aqui vemos {0:nom}",
    ),
    {
        "left": ("{0} está à esquerda {1:de}", "{0} fica à esquerda {1:de}"),
        "right": ("{0} está à direita {1:de}", "{0} fica à direita {1:de}"),
        "above": ("{0} está acima {1:de}", "{0} fica acima {1:de}"),
        "below": ("{0} está abaixo {1:de}", "{0} fica abaixo {1:de}"),
        "between": ("{0} está entre {1} e {2}", "{0} fica entre {1} e {2}"),
        "biggest": ("{0} é o maior objeto", "o maior objeto é {0}"),
        "smallest": ("{0} é o menor objeto", "o menor objeto é {0}"),
    },
)


def romance(language: Language) -> Rules:
    """The rules of one Romance language."""
    lexicon = load(language.code)

    def phrase(name: Name, count: int, definite: bool, case: str) -> str:
        noun = lexicon.noun(name.noun)
        feminine = noun.gender.startswith("f")
        color = ""
        if name.color:
            forms = lexicon.colors[name.color]
            if count > 1:
                color = " " + (forms.feminine_plural if feminine else forms.plural)
            else:
                color = " " + (forms.feminine if feminine else forms.singular)
        if count > 1:
            numbers = feminine and language.feminine_numbers or language.numbers
            return f"{numbers[count - 2]} {noun.plural}{color}"
        articles = language.articles(noun)
        if definite:
            return (articles.of if case == "de" else articles.definite) + noun.singular + color
        return articles.indefinite + noun.singular + color

    punctuation = (", ", language.conjunction, ".", " ")
    return rules(language.code, phrase, punctuation, language.lists, language.relations)


ROMANCE: dict[str, Callable[[], Rules]] = {
    language.code: partial(romance, language)
    for language in (_SPANISH, _FRENCH, _ITALIAN, _PORTUGUESE)
}

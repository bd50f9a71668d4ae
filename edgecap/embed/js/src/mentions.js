/**
 * Where the phrase before a box begins, by language: the text since the last separator, without a
 * leading conjunction, from its determiner or number word on.
 */
const SEPARATOR = /[.,;:!?、。，；：！？「」()"]/gu;
const CONJUNCTIONS = {
  en: ["and"], es: ["y", "e"], fr: ["et"], de: ["und"], it: ["e", "ed"], pt: ["e"], nl: ["en"], ko: ["그리고"],
};
const DETERMINERS = Object.fromEntries(
  Object.entries({
    en: "a an the two three four five six seven",
    es: "un una el la los las dos tres cuatro cinco seis siete",
    fr: "un une le la les deux trois quatre cinq six sept",
    de: "ein eine einen einem einer der die das den dem zwei drei vier fünf sechs sieben",
    it: "un uno una il lo la i gli le due tre quattro cinque sei sette",
    pt: "um uma o a os as dois duas três quatro cinco seis sete",
    nl: "een de het twee drie vier vijf zes zeven",
  }).map(([language, words]) => [language, words.split(" ")]),
);
const LEADS = { ko: ["그림에", "여기에"], ja: ["ここに"] };
const ELIDED = ["un'", "un’", "l'", "l’"];

/** Where the phrase that ends `text` begins, in UTF-16 units. */
export function phraseStart(text, language) {
  let start = 0;
  for (const match of text.matchAll(SEPARATOR)) start = match.index + match[0].length;
  if (language === "zh") {
    for (const word of "和与及") start = Math.max(start, text.lastIndexOf(word) + 1);
    // The first: what follows may be a 三角形, "a shape of three corners".
    const numbers = [..."一两三四五六七"].map((number) => text.indexOf(number, start)).filter((at) => at >= 0);
    return numbers.length ? Math.min(...numbers) : start;
  }
  if (language === "ja") {
    while (start < text.length && "とや".includes(text[start])) start += 1;
    return start + (LEADS.ja.find((lead) => text.startsWith(lead, start))?.length ?? 0);
  }
  let words = [...text.slice(start).matchAll(/\S+/gu)].map((m) => [m.index, m[0].toLowerCase()]);
  const skipped = [...(CONJUNCTIONS[language] ?? []), ...(LEADS[language] ?? [])];
  if (words.length && skipped.includes(words[0][1])) words = words.slice(1);
  const determiners = DETERMINERS[language] ?? [];
  const begins = words.filter(([, word]) => determiners.includes(word) || ELIDED.some((e) => word.startsWith(e)));
  if (begins.length) return start + begins.at(-1)[0];
  return words.length ? start + words[0][0] : text.length;
}

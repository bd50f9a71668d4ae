"""What pycocoevalcap says, in an interpreter that has it: JSON in, JSON out.

In: {"texts": [...], "candidates": [tokens joined], "references": [[tokens joined], ...]}
Out: {"tokens": [[...]] (null without Java), "cider_d", "bleu_4", "rouge_l"}
"""

import json
import shutil
import sys

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer


def main() -> None:
    given = json.load(sys.stdin)
    truth = dict(enumerate(given["references"]))
    said = {i: [text] for i, text in enumerate(given["candidates"])}
    result = {
        "cider_d": float(Cider().compute_score(truth, said)[0]),
        "bleu_4": float(Bleu(4).compute_score(truth, said, verbose=0)[0][3]),
        "rouge_l": float(Rouge().compute_score(truth, said)[0]),
        "tokens": None,
    }
    if shutil.which("java"):
        texts = {i: [{"caption": text}] for i, text in enumerate(given["texts"])}
        tokens = PTBTokenizer().tokenize(texts)
        result["tokens"] = [tokens[i][0].split() for i in texts]
    json.dump(result, sys.stdout)


main()

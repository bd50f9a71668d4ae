#!/usr/bin/env bash
# The images of the documents, made anew from the shipped weights and scenes of the test split.
set -euo pipefail
cd "$(dirname "$0")/.."
sample=edgecap/reference/data/sample.png
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT

edgecap caption "$sample" --bundle S --draw examples/captioned.png
edgecap ground "$sample" "the white star left of the monkey" --bundle S --draw examples/grounded.png
edgecap explain "$sample" --bundle S -o examples/explained.png
edgecap scenes --output "$scratch/scenes" --n 200 --split test --lang en
edgecap index "$scratch/scenes/images" --bundle S --output "$scratch/index"
edgecap search "$scratch/index" "a monkey" --bundle S --sheet examples/hits.png

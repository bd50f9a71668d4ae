#!/usr/bin/env bash
# Run the commands once and write what they print to examples/tour.md.
# Takes about a quarter of an hour. What trains for long (train, finetune, qat, --max-drop) is in
# docs/reference-model.md and docs/quantisation.md.
set -euo pipefail
cd "$(dirname "$0")/.."
page=$PWD/examples/tour.md
images=$PWD/examples/tour
sample=$PWD/edgecap/reference/data/sample.png
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
mkdir -p "$images"
cd "$scratch"
cp "$sample" sample.png
export COLUMNS=100

say() { printf '%s\n\n' "$*" >>"$scratch/page"; }

# Run a command line and put it and its output on the page; what a terminal would not show is not.
run() {
	printf '$ %s\n' "$1" >&2
	{
		printf '```console\n$ %s\n' "$1"
		eval "$1" 2>&1 | sed "/^INFO: Created TensorFlow/d; s#$scratch/##g; s/ *\$//"
		printf '```\n\n'
	} >>"$scratch/page"
}

# Put an image that a command has left on the page; those of images.sh are there already.
show() {
	cp "$1" "$images/$(basename "$1")"
	say "![$2](tour/$(basename "$1"))"
}

say "# A tour of the commands"
say "Commands with their output, made by \`examples/tour.sh\` from the shipped weights," \
	"$(date +%F), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), two cores. Progress" \
	"bars are for terminals and not shown. Numbers of scenes are small to keep it quick; docs/reference-model.md has the accuracy."

say "## From a model to bundles"
run 'edgecap doctor'
run 'edgecap doctor S'
run 'edgecap export S --format onnx,tflite --int8'
run 'edgecap export S --format coreml --fp16'
run 'edgecap verify captioner-S-tflite-int8'
run 'edgecap inspect captioner-S-coreml-fp16'

say "## Images to words and boxes"
run 'edgecap caption sample.png --bundle captioner-S-tflite-int8 --draw captioned.png'
say '![The sample with a labelled box on each thing named](captioned.png)'
run 'edgecap caption sample.png --bundle captioner-S-onnx-int8 --lang ja --beams 4'
run 'edgecap ground sample.png "the white star left of the monkey" --draw grounded.png --bundle captioner-S-onnx-int8'
say '![A box on the white star](grounded.png)'
run 'edgecap rank sample.png "The pencil is below the butterfly." "The pencil is above the butterfly." --bundle captioner-S-onnx-int8'
run 'edgecap explain sample.png -o explained.png --bundle captioner-S-onnx-int8'
say '![A heat map over the image for each word](explained.png)'

say "## Many images"
run 'edgecap scenes --output scenes --n 60 --split test --lang en'
run 'edgecap classify sample.png --labels "a monkey,a dog,a white star,a red star" --bundle captioner-S-onnx-int8'
run 'edgecap index scenes/images --output index --bundle captioner-S-onnx-int8'
run 'edgecap search index "three ducks" -k 4 --sheet hits.png'
show hits.png "A contact sheet of the images found"

say "## For an app"
run 'edgecap pack captioner-S-tflite-int8 -o captioner.edgecap'
run 'edgecap caption sample.png --bundle captioner.edgecap'
run 'edgecap embed --target c -o app captioner-S-tflite-int8'

say "## Accuracy and speed"
run 'edgecap bench captioner-S-onnx-int8 captioner-S-tflite-int8 --quick --output bench'
run 'edgecap compare captioner-S-onnx-int8 captioner-S-tflite-int8 --n 16 --draw worst.png'
show worst.png "The scenes in which two bundles differ most, with the boxes of both"
run 'edgecap eval captioner-S-onnx-int8 --n 32 --lang en,ja'
run 'edgecap eval captioner-S-onnx-int8 --data scenes/captions.jsonl --n 32'
run 'edgecap faithfulness captioner-S-onnx-int8 --n 4'
cp "$scratch/page" "$page"

#!/usr/bin/env bash
# From the shipped weights to verified TFLite and CoreML bundles, a captioned image and a bench.
set -euo pipefail
cd "$(dirname "$0")/.."
out=demo
tflite=$out/captioner-tflite-int8
coreml=$out/captioner-coreml-fp16
mkdir -p "$out"

edgecap doctor
edgecap export --format tflite --int8 -o "$tflite" --overwrite
edgecap verify "$tflite"
edgecap caption edgecap/reference/data/sample.png --bundle "$tflite" --draw "$out/captioned.png"
edgecap export --format coreml --fp16 -o "$coreml" --overwrite
edgecap bench "$tflite" "$coreml" --quick --output "$out/bench" --overwrite

echo
echo "bundles:           $tflite  $coreml"
echo "captioned image:   $out/captioned.png"
echo "report:            $out/bench/report.html"
echo
echo "CoreML was converted and proven here by evaluating the package in NumPy. No Mac has run it:"
echo "the report shows its words and boxes, and no latency."

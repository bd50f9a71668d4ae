#!/usr/bin/env bash
# From the shipped weights to a verified int8 TFLite bundle, a captioned picture and a bench.
set -euo pipefail
cd "$(dirname "$0")/.."
out=demo
bundle=$out/captioner-tflite-w8
mkdir -p "$out"

edgecap doctor
edgecap export --format tflite --int8 -o "$bundle" --overwrite
edgecap verify "$bundle"
edgecap caption edgecap/data/sample.png --bundle "$bundle" --draw "$out/captioned.png"
edgecap bench "$bundle" --quick --out "$out/bench" --overwrite

echo
echo "bundle:            $bundle"
echo "captioned picture: $out/captioned.png"
echo "report:            $out/bench/report.md"

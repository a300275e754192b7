#!/usr/bin/env bash
# Makes models/tamis-small again, byte for byte: make-tamis-small.sh DENSE DATA [OUTPUT [OPTION OF tamis lift...]]
# DENSE is the folder of all-MiniLM-L6-v2, DATA the folder with train/*.jsonl.zst; TAMIS names the program.
set -euo pipefail
dense=$1 data=$2 output=${3:-models/tamis-small}
tamis=${TAMIS:-target/release/tamis}
texts=("$data"/train/{qa_pairs,wiki-section,arxiv_every5th,techdocs}.jsonl.zst)
"$tamis" lift --dense "$dense" --notes "$(dirname "$0")/tamis-small.notes.md" -o "$output" \
  --queries "${texts[@]}" --max-queries 150000 --background "${texts[@]}" --max-background 200000 "${@:4}"
"$tamis" model verify "$output" --write

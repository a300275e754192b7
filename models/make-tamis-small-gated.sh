#!/usr/bin/env bash
# Makes a candidate for the next tamis-small, gated and tuned: make-tamis-small-gated.sh DENSE DATA WORK OUTPUT
# DENSE is the folder of all-MiniLM-L6-v2, DATA the folder with train/*.jsonl.zst, WORK a new folder for what comes in between;
# TAMIS names the program. A run that was stopped in the training goes on where it was. What it brings: models/README.md.
set -euo pipefail
dense=$1 data=$2 work=$3 output=$4
tamis=${TAMIS:-target/release/tamis}
make=$(dirname "$0")/make-tamis-small.sh
held_out=(wikiqa-pos covidfact healthver covidqa-draft trecqa-pos)
mkdir -p "$work"

[ -d "$work/lifted" ] || "$make" "$dense" "$data" "$work/lifted" --factor 0
[ -d "$work/dev" ] ||
  "$tamis" hold-out --pairs "$data/train/qa_pairs.jsonl.zst" "${held_out[@]/#/--source=}" --output "$work/dev"

# Questions that only make sense beside their passage, or that many passages answer, count less.
if [ -d "$work/run" ]; then
  "$tamis" train --resume --output "$work/run"
else
  "$tamis" train --preset gated-lift --model "$work/lifted" --teacher "$dense" --precision int8 \
    --data "$data"/train/{qa_pairs,arxiv_every5th,techdocs}.jsonl.zst "${held_out[@]/#/--exclude-source=}" \
    --set 'data.file_weights={"arxiv_every5th.jsonl.zst"=0.3,"techdocs.jsonl.zst"=0.3}' \
    --set 'data.source_weights={policyqa=0.1,subjqa=0.3,squadshifts-amazon-reviews=0.5,squadshifts-reddit=0.5,fairytaleqa=0.5,movies-title=0.5}' \
    --dev "${held_out[@]/#/$work/dev/}" --output "$work/run"
fi

"$make" "$work/run/model/dense" "$data" "$output" --gate "$work/run/model"

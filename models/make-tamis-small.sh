#!/usr/bin/env bash
# Makes models/tamis-small again, byte for byte on a processor with AVX-512 and VNNI: make-tamis-small.sh DENSE DATA WORK [OUTPUT]
# DENSE is the folder of all-MiniLM-L6-v2 (named `model`, as in its wheel: the card says so), DATA that with train/*.jsonl.zst, WORK a
# new folder for what comes in between; TAMIS names the program. A run that was stopped in the training goes on where it was. 15 minutes
# on two cores.
set -euo pipefail
dense=$1 data=$2 work=$3 output=${4:-models/tamis-small}
tamis=${TAMIS:-target/release/tamis}
texts=("$data"/train/{qa_pairs,wiki-section,arxiv_every5th,techdocs}.jsonl.zst)
held_out=(wikiqa-pos covidfact healthver covidqa-draft trecqa-pos)
lift=("$tamis" lift --dense "$dense" "${held_out[@]/#/--exclude-source=}" --queries "${texts[@]}" --max-queries 150000
  --background "${texts[@]}" --max-background 200000)
mkdir -p "$work"

# The lexical weights alone, in which gates are learned; their queries are weighed by the texts alone.
[ -d "$work/stems" ] || "${lift[@]}" --factor 0 --query-share 1 --long truncate --output "$work/stems"
[ -d "$work/dev" ] ||
  "$tamis" hold-out --pairs "$data/train/qa_pairs.jsonl.zst" "${held_out[@]/#/--source=}" --output "$work/dev"

# Questions that only make sense beside their passage, or that many passages answer, count less.
if [ -d "$work/run" ]; then
  "$tamis" train --resume --output "$work/run" --precision int8
else
  "$tamis" train --preset gated-lift --model "$work/stems" --teacher "$work/stems/dense" --precision int8 \
    --data "$data"/train/{qa_pairs,arxiv_every5th,techdocs}.jsonl.zst "${held_out[@]/#/--exclude-source=}" \
    --set 'data.file_weights={"arxiv_every5th.jsonl.zst"=0.3,"techdocs.jsonl.zst"=0.3}' \
    --set 'data.source_weights={policyqa=0.1,subjqa=0.3,squadshifts-amazon-reviews=0.5,squadshifts-reddit=0.5,fairytaleqa=0.5,movies-title=0.5}' \
    --dev "$work"/dev/{covidfact,covidqa-draft,healthver,trecqa-pos,wikiqa-pos} --output "$work/run"
fi

"${lift[@]}" --gate "$work/run/model" --notes "$(dirname "$0")/tamis-small.notes.md" --output "$output"
"$tamis" model verify "$output" --write

#!/usr/bin/env bash
# FLOPS, the l0 mask and the l0 activation at three strengths each, from a warm start: run.sh DENSE DATA IDF WORK [DEVICE]
# DENSE is the folder of a dense sentence encoder in single precision, DATA that with train/ and public/, IDF an idf.json of its
# word pieces, WORK a new folder; DEVICE cuda makes it minutes. TAMIS names the program. Ends with the curves in WORK/curves.
set -euo pipefail
dense=$1 data=$2 idf=$3 work=$4 device=${5:-cpu}
tamis=${TAMIS:-target/release/tamis}
recipe=$(dirname "$0")/recipe.toml
held_out=(covidfact wikiqa-pos covidqa-draft trecqa-pos)
pairs=$data/train/qa_pairs.jsonl.zst
mkdir -p "$work"
[ -d "$work/dev" ] || "$tamis" hold-out --pairs "$pairs" "${held_out[@]/#/--source=}" --output "$work/dev"

# run NAME MODEL STEPS [OPTION...]
run() {
  [ -d "$work/$1/model" ] && return
  "$tamis" train --config "$recipe" --model "$2" --idf "$idf" --teacher "$dense" --device "$device" --data "$pairs" \
    "${held_out[@]/#/--exclude-source=}" --dev "${held_out[@]/#/$work/dev/}" "$data/public/cranfield.tar.zst" \
    --set 'data.source_weights={movies-title=0,reuters-title=0,wikinews-title=0.3,policyqa=0.1}' \
    --set "trainer.steps=$3" --set "evaluation.every=$3" --output "$work/$1" "${@:4}"
}
# flops WEIGHT SHARE [MASK]: the penalty, reached after that share of the steps
flops() { echo "trainer.penalties=[{side=\"document\",regulariser={flops={${3:-}}},weight=$1,schedule={quadratic={length={share=$2}}}}]"; }

# A new head gives every text all terms; its bias learns fast, or it takes thousands of steps to let them go.
first=(--set "$(flops 0.02 0.5)"
  --set 'trainer.optimiser.groups=[{patterns=["*predictions.bias"],rate_factor=400.0},{patterns=["*predictions*"],rate_factor=20.0}]')
run warm "$dense" 320 "${first[@]}"
rest=(--set trainer.learning_rate.peak=4e-5 --set 'trainer.optimiser.groups=[{patterns=["*predictions*"],rate_factor=5.0}]')
for weight in 0.01 0.04 0.16; do run "flops-$weight" "$work/warm/model" 160 --set "$(flops $weight 0.3)" "${rest[@]}"; done
for weight in 0.04 0.16 0.64; do
  run "mask-$weight" "$work/warm/model" 160 --set "$(flops $weight 0.3 row_threshold=100)" "${rest[@]}"
done
# The activation takes the logarithm twice, from the start on; weights are larger as what it leaves is smaller.
twice=(--set model.checkpoint.document.norm=log1p_log1p)
run warm-l0 "$dense" 320 "${first[@]}" "${twice[@]}"
for weight in 0.16 0.64 2.56; do
  run "l0-$weight" "$work/warm-l0/model" 160 --set "$(flops $weight 0.3 row_threshold=100)" "${rest[@]}" "${twice[@]}"
done
"$tamis" train --curves "$work"/flops-* "$work"/mask-* "$work"/l0-* --output "$work/curves"

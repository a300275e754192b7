"""Opens what examples/export_round_trip.rs exported with sentence-transformers, and compares every vector.

    cargo run -p tamis-encoder --example export_round_trip -- OUT
    python export_round_trip.py OUT

Weights of special tokens are left out of documents whose model drops them ("special_tokens": "zero_columns"):
SpladePooling has no such setting, and no query asks for them. Prints the largest difference of each export.
"""

import json
import sys
from pathlib import Path

import torch
from sentence_transformers import SparseEncoder
from transformers import AutoModelForMaskedLM


def named(model, vector, dropped):
    tokenizer = model.tokenizer
    vector = vector.to_dense() if vector.is_sparse else vector
    weights = {tokenizer.convert_ids_to_tokens(at): float(x) for at, x in enumerate(vector) if x > 0}
    return {token: weight for token, weight in weights.items() if token not in dropped}


def check(folder):
    model = SparseEncoder(str(folder), device="cpu")
    settings = json.loads((folder / "tamis.json").read_text())
    worst = 0.0
    for case in json.loads((folder / "vectors.json").read_text()):
        encode = model.encode_document if case["kind"] == "document" else model.encode_query
        zero = settings[case["kind"]]["special_tokens"] == "zero_columns"
        dropped = set(model.tokenizer.all_special_tokens) if zero else set()
        found = named(model, encode(case["text"]), dropped)
        for token in found.keys() | case["tokens"].keys():
            worst = max(worst, abs(found.get(token, 0.0) - case["tokens"].get(token, 0.0)))
    return worst


def main():
    torch.set_num_threads(1)
    failed = False
    for folder in sorted(path.parent for path in Path(sys.argv[1]).glob("*/vectors.json")):
        worst = check(folder)
        plain = (folder / "config.json").exists()
        if plain:
            AutoModelForMaskedLM.from_pretrained(folder)
        failed |= worst > 1e-4
        print(f"{folder.name}: largest difference {worst:.2e}" + (", opens with transformers too" if plain else ""))
    sys.exit(failed)


if __name__ == "__main__":
    main()

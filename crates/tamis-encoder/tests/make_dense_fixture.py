"""The fixture of lifted models, written by make_fixtures.py together with all others, or alone: a dense sentence encoder.

A tiny randomly initialised BERT with Pooling and Normalize, saved by sentence-transformers, plus expected.json:
    {"reference": who computed it, "cases": [{"text": ..., "vector": [...]}]}
and gates.json, the gates 2 sigmoid(weights h + bias) of the last hidden states h of each piece, by its first byte:
    {"reference": ..., "weights": [...], "bias": ..., "cases": [{"text": ..., "pieces": [[byte, gate], ...]}]}
"""

import json
import math
import shutil

import torch

from make_fixtures import TEXTS, alone_and_together, bert_config, fresh, keep_only_used, randomise, tokenizer
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import AutoTokenizer, BertModel

NAME = "dense-lift"


def main():
    tok = tokenizer()
    model = randomise(BertModel(bert_config(len(tok))), 15)
    folder = fresh(NAME)
    base = folder / "base"
    model.save_pretrained(base)
    tok.save_pretrained(base)
    transformer = Transformer(str(base))
    encoder = SentenceTransformer(modules=[transformer, Pooling(16, pooling_mode="mean"), Normalize()], device="cpu")
    encoder.save(str(folder), create_model_card=False)
    shutil.rmtree(base)
    keep_only_used(folder)
    vectors = alone_and_together(lambda texts: encoder.encode(texts, convert_to_tensor=True), TEXTS)
    cases = [
        {"text": text, "vector": [float(f"{value:.7g}") for value in vector.tolist()]}
        for text, vector in zip(TEXTS, vectors)
    ]
    expected = {"reference": "sentence-transformers SentenceTransformer", "cases": cases}
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n")
    write_gates(folder)


def write_gates(folder):
    weights, bias = [0.5 * math.cos(at) for at in range(16)], 0.25
    tok = AutoTokenizer.from_pretrained(folder)
    model = BertModel.from_pretrained(folder).eval()
    cases = []
    for text in TEXTS:
        inputs = tok(text, return_tensors="pt", return_offsets_mapping=True, truncation=True)
        places = inputs.pop("offset_mapping")[0].tolist()
        with torch.no_grad():
            hidden = model(**inputs).last_hidden_state[0]
        gates = (2 * torch.sigmoid(hidden @ torch.tensor(weights) + bias)).tolist()
        pieces = [
            [len(text[:start].encode()), float(f"{gate:.7g}")]
            for (start, end), gate in zip(places, gates)
            if end > start
        ]
        cases.append({"text": text, "pieces": pieces})
    expected = {"reference": "transformers BertModel", "weights": weights, "bias": bias, "cases": cases}
    (folder / "gates.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    from make_fixtures import HERE

    shutil.rmtree(HERE / NAME, ignore_errors=True)
    main()

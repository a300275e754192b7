"""The fixture of lifted models, written by make_fixtures.py together with all others, or alone: a dense sentence encoder.

A tiny randomly initialised BERT with Pooling and Normalize, saved by sentence-transformers, plus expected.json:
    {"reference": who computed it, "cases": [{"text": ..., "vector": [...]}]}
"""

import json
import shutil

from make_fixtures import TEXTS, alone_and_together, bert_config, fresh, keep_only_used, randomise, tokenizer
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertModel

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


if __name__ == "__main__":
    from make_fixtures import HERE

    shutil.rmtree(HERE / NAME, ignore_errors=True)
    main()

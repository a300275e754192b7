"""The fixtures of dense sentence encoders, written by make_fixtures.py together with all others.

    dense-mean  mean pooling and Normalize, a prompt for queries; the configuration in the flags of older libraries
    dense-cls   the first token, not normalised; the configuration as it is written now
    dense-max   the largest of each dimension, normalised; the flags again

expected.json is as that of the others, with "values" in place of "tokens".
"""

import json
import shutil

from make_fixtures import (
    HERE,
    MAX_LENGTH,
    TEXTS,
    alone_and_together,
    bert_config,
    fresh,
    keep_only_used,
    randomise,
    tokenizer,
)
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertModel

# Names of poolings in older configurations.
FLAGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


def dense(name, mode, seed, normalised, flags, prompts=None):
    tok = tokenizer()
    model = randomise(BertModel(bert_config(len(tok))), seed)
    source = fresh("source")
    model.save_pretrained(source)
    tok.save_pretrained(source)
    transformer = Transformer(str(source))
    modules = [transformer, Pooling(model.config.hidden_size, mode)] + [Normalize()] * normalised
    folder = HERE / name
    SentenceTransformer(modules=modules, device="cpu", prompts=prompts).save(str(folder))
    shutil.rmtree(source)
    path = folder / "1_Pooling" / "config.json"
    assert json.loads(path.read_text())["pooling_mode"] == mode
    if flags:
        old = {"word_embedding_dimension": model.config.hidden_size}
        old |= {flag: mode == known for known, flag in FLAGS.items()}
        path.write_text(json.dumps(old, indent=2) + "\n")
    encoder = SentenceTransformer(str(folder), device="cpu")
    cases = []
    for kind, encode in [("document", encoder.encode_document), ("query", encoder.encode_query)]:
        prompt = encoder.prompts.get(kind) or ""
        texts = TEXTS if kind == "document" else TEXTS[:4]
        for text, vector in zip(texts, alone_and_together(lambda texts: encode(texts, convert_to_tensor=True), texts)):
            whole = len(encoder.tokenizer(prompt + text)["input_ids"])
            cases.append(
                {
                    "kind": kind,
                    "text": text,
                    "num_tokens": min(whole, MAX_LENGTH),
                    "truncated": whole > MAX_LENGTH,
                    "values": [float(f"{value:.7g}") for value in vector.tolist()],
                }
            )
    expected = {"reference": "sentence_transformers.SentenceTransformer", "cases": cases}
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, separators=(",", ":")) + "\n")
    keep_only_used(folder)
    print(f"{name}: {len(cases)} cases of {len(cases[0]['values'])} values")


def main():
    dense("dense-mean", "mean", 71, normalised=True, flags=True, prompts={"query": "what is ", "document": ""})
    dense("dense-cls", "cls", 72, normalised=False, flags=False)
    dense("dense-max", "max", 73, normalised=True, flags=True)

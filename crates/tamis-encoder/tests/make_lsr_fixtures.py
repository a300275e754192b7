"""The fixtures of the LSR framework, EPIC's among them, written by make_head_fixtures.py together with all others.

References: the framework's published formulas over models of transformers.
"""

import json

import torch
from make_fixtures import fresh, randomise, tokenizer, write_expected
from make_head_fixtures import SOME, bag, batch_of, both_sides, pooled, small_distilbert, store, tamis
from transformers import DistilBertForMaskedLM, DistilBertModel


def lsr_folder(name, tok, shared):
    folder = fresh(name)
    (folder / "config.json").write_text(json.dumps({"model_type": "DualEncoder", "shared": shared}) + "\n")
    tok.save_pretrained(folder / "tokenizer")
    return folder


def lsr_encoder(folder, name, model, config, base):
    encoder = folder / name
    encoder.mkdir()
    (encoder / "config.json").write_text(json.dumps({"tf_base_model_name_or_dir": "tiny", **config}) + "\n")
    if base is not None:
        names = "model_type vocab_size dim n_layers n_heads hidden_dim activation max_position_embeddings".split()
        fields = {name: getattr(base, name) for name in names}
        (encoder / "base_config.json").write_text(json.dumps(fields) + "\n")
    store(encoder, model)


class Wrapped(torch.nn.Module):
    """Backbone or language model under `model`, and the framework's own layers beside it."""

    def __init__(self, model, **layers):
        super().__init__()
        self.model = model
        for name, layer in layers.items():
            setattr(self, name, layer)


class EpicLayer(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = torch.nn.Linear(width, 1)


def lsr_mlm(wrapped, tok, activation, importance=False, quality=False):
    def encode(texts):
        batch = batch_of(tok, texts)
        with torch.no_grad():
            out = wrapped.model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
            )
            hidden = out.hidden_states[-1]
            logits = out.logits * batch["attention_mask"].unsqueeze(-1) * (1 - batch["special_tokens_mask"]).unsqueeze(-1)
            if importance:
                logits = logits * torch.log1p(torch.nn.functional.softplus(wrapped.term_importance.linear(hidden)))
            weights = torch.log1p(activation(logits)).max(dim=1).values
            if quality:
                weights = weights * torch.sigmoid(wrapped.doc_quality.linear(hidden[:, 0, :]))
        return weights

    return encode


def lsr_mlp(wrapped, tok, activation, norm, how):
    def encode(texts):
        batch = batch_of(tok, texts)
        with torch.no_grad():
            hidden = wrapped.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
            weights = norm(activation(wrapped.linear(hidden).squeeze(-1)))
        weights = weights * batch["attention_mask"] * (1 - batch["special_tokens_mask"])
        return torch.stack(
            [pooled(ids.tolist(), row, len(tok), how) for ids, row in zip(batch["input_ids"], weights)]
        )

    return encode


softplus = torch.nn.functional.softplus


def epic():
    """A sum of softplus over query tokens; documents with importance and quality, and 0.5266 in every column."""
    tok = tokenizer()
    config = small_distilbert(len(tok))
    folder = lsr_folder("lsr-epic", tok, False)
    document = randomise(
        Wrapped(DistilBertForMaskedLM(config), term_importance=EpicLayer(8), doc_quality=EpicLayer(8)), 115
    )
    query = randomise(Wrapped(DistilBertModel(config), linear=torch.nn.Linear(8, 1)), 116)
    functions = {"activation": "softplus", "norm": "log1p"}
    parts = {"term_importance": "epic", "doc_quality": "epic"}
    lsr_encoder(folder, "doc_encoder", document, {"model_type": "MLM", "pool": "max", **functions, **parts}, config)
    lsr_encoder(folder, "query_encoder", query, {"model_type": "MLP", "scale": 1.0, **functions}, config)
    tamis(folder, preset="epic")
    few = SOME[:2] + SOME[3:5] + SOME[6:]
    cases = both_sides(
        tok,
        lsr_mlm(document, tok, softplus, importance=True, quality=True),
        lsr_mlp(query, tok, softplus, torch.log1p, "sum"),
        texts=few,
    )
    empty = next(case for case in cases if case["kind"] == "document" and case["text"] == "")
    assert len(empty["tokens"]) == len(tok), "masked positions leave log(1 + log 2) times the quality everywhere"
    write_expected(folder, "EPIC as in the LSR framework", cases)


def lsr_binary_mlp():
    """uniCOIL's document side with binary queries and their learned scale: counts, not sets."""
    tok = tokenizer()
    config = small_distilbert(len(tok))
    folder = lsr_folder("lsr-binary", tok, False)
    document = randomise(Wrapped(DistilBertModel(config), linear=torch.nn.Linear(8, 1)), 117)
    functions = {"activation": "relu", "norm": "no"}
    lsr_encoder(folder, "doc_encoder", document, {"model_type": "MLP", "scale": 1.0, **functions}, config)
    binary = torch.nn.Module()
    binary.scale = torch.nn.Parameter(torch.tensor(0.27))
    lsr_encoder(folder, "query_encoder", binary, {"model_type": "BINARY", "scale": 0.3, "vocab_size": len(tok)}, None)
    cases = both_sides(
        tok,
        lsr_mlp(document, tok, torch.relu, lambda x: x, "max"),
        bag(tok, counts=True, scale=0.27),
        special=(True, False),
    )
    write_expected(folder, "MLP and BINARY of the LSR framework", cases)


def lsr_shared_mlm():
    tok = tokenizer()
    config = small_distilbert(len(tok))
    folder = lsr_folder("lsr-mlm", tok, True)
    model = randomise(Wrapped(DistilBertForMaskedLM(config)), 118)
    functions = {"activation": "relu", "norm": "log1p"}
    lsr_encoder(folder, "shared_encoder", model, {"model_type": "MLM", "pool": "max", **functions}, config)
    rows = lsr_mlm(model, tok, torch.relu)
    write_expected(folder, "MLM of the LSR framework, shared", both_sides(tok, rows, rows))


def lsr_cls_mlm():
    tok = tokenizer()
    config = small_distilbert(len(tok))
    folder = lsr_folder("lsr-clsmlm", tok, True)
    model = randomise(Wrapped(DistilBertForMaskedLM(config)), 119)
    functions = {"activation": "relu", "norm": "log1p"}
    lsr_encoder(folder, "shared_encoder", model, {"model_type": "CLS_MLM", **functions}, config)

    def rows(texts):
        batch = batch_of(tok, texts)
        with torch.no_grad():
            logits = model.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return torch.log1p(torch.relu(logits[:, 0, :]))

    write_expected(folder, "CLS_MLM of the LSR framework", both_sides(tok, rows, rows))


def main():
    epic()
    lsr_binary_mlp()
    lsr_shared_mlm()
    lsr_cls_mlm()

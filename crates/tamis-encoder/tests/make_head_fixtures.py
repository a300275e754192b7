"""The fixtures of published families and layouts, written by make_fixtures.py together with all others.

References are the published formulas over models of transformers, and sentence-transformers where it has the class.
Every vector is computed for the text alone and in a padded batch; the two agree. Models are of one layer and eight
dimensions, so that a fixture is some kilobytes.
"""

import json
import re
import shutil

import torch
from make_fixtures import (
    HERE,
    MAX_LENGTH,
    TEXTS,
    alone_and_together,
    case,
    fresh,
    keep_only_used,
    randomise,
    tokenizer,
    write_expected,
)
from safetensors.torch import load_file, save_file
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import Router, SparseStaticEmbedding, SpladePooling, Transformer
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
)

# Few, to keep files small: plain, marks, foreign letters, none, special tokens spelled out, repeated, too long.
SOME = [TEXTS[1], TEXTS[2], TEXTS[4], "", TEXTS[7], TEXTS[8], TEXTS[9]]


def small_bert(rows, **more):
    return BertConfig(
        vocab_size=rows,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=MAX_LENGTH,
        **more,
    )


def small_distilbert(rows, **more):
    return DistilBertConfig(
        vocab_size=rows, dim=8, n_layers=1, n_heads=2, hidden_dim=16, max_position_embeddings=MAX_LENGTH, **more
    )


def tamis(folder, **settings):
    """The limit of length too: presets have those of published models, which no text here would reach."""
    settings["max_length"] = MAX_LENGTH
    (folder / "tamis.json").write_text(json.dumps(settings) + "\n")


def store(folder, model):
    """The tensors of a module as its own code saves them."""
    state = {key: value.contiguous() for key, value in model.state_dict().items() if "position_ids" not in key}
    # A tied decoder is not stored, as transformers leaves it out.
    of_memory = {value.data_ptr(): key for key, value in state.items() if "decoder" not in key and "projector" not in key}
    state = {key: value for key, value in state.items() if of_memory.get(value.data_ptr(), key) == key}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def batch_of(tok, texts):
    return tok(texts, padding=True, truncation=True, return_tensors="pt", return_special_tokens_mask=True)


def both_sides(tok, document, query, texts=SOME, special=(True, True)):
    cases = []
    for kind, encode, with_special in [("document", document, special[0]), ("query", query, special[1])]:
        for text, vector in zip(texts, alone_and_together(encode, texts)):
            cases.append(case(tok, kind, text, vector, special=with_special))
    return cases


def frame_ids(tok):
    return [tok.pad_token_id, tok.cls_token_id, tok.sep_token_id]


def splade_rows(model, tok, pool="max"):
    """naver's formula: a(z) m, pooled."""

    def encode(texts):
        batch = batch_of(tok, texts)
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        weights = torch.log1p(torch.relu(logits)) * batch["attention_mask"].unsqueeze(-1)
        return weights.max(dim=1).values if pool == "max" else weights.sum(dim=1)

    return encode


def bag(tok, counts=False, hide=(), scale=1.0):
    """Pieces of the texts themselves, without special tokens around."""

    def encode(texts):
        vectors = torch.zeros(len(texts), len(tok))
        for row, text in enumerate(texts):
            for at in tok(text, add_special_tokens=False, truncation=True)["input_ids"]:
                vectors[row, at] = vectors[row, at] + 1 if counts else 1
            vectors[row, list(hide)] = 0
        return vectors * scale

    return encode


def masked_lm(name, seed, preset, **more):
    tok = tokenizer()
    model = randomise(DistilBertForMaskedLM(small_distilbert(len(tok))), seed)
    folder = fresh(name)
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    tamis(folder, preset=preset, **more)
    return tok, model, folder


def splade_v1():
    tok, model, folder = masked_lm("splade-v1", 101, "splade-v1")
    rows = splade_rows(model, tok, pool="sum")
    write_expected(folder, "naver's formula, aggregated by the sum", both_sides(tok, rows, rows))


def splade_v3():
    """Stands for max, ++ and v3, whose formulas are the same."""
    tok, model, folder = masked_lm("splade-v3", 102, "splade-v3")
    rows = splade_rows(model, tok)
    write_expected(folder, "naver's formula", both_sides(tok, rows, rows))


def splade_doc():
    """Queries are sets of pieces; [UNK] and [MASK] keep their columns."""
    tok, model, folder = masked_lm("splade-doc", 103, "splade-doc")
    query = bag(tok, hide=frame_ids(tok))
    cases = both_sides(tok, splade_rows(model, tok), query, special=(True, False))
    assert any("[UNK]" in case["tokens"] for case in cases if case["kind"] == "query")
    write_expected(folder, "naver's SpladeDoc", cases)


def splade_lexical():
    tok, model, folder = masked_lm("splade-lexical", 104, "splade-lexical")
    rows = splade_rows(model, tok)

    def query(texts):
        ids = batch_of(tok, texts)["input_ids"]
        present = torch.zeros(len(texts), len(tok)).scatter_(1, ids, torch.ones(ids.shape))
        present[:, frame_ids(tok) + [tok.mask_token_id]] = 0
        return rows(texts) * present

    write_expected(folder, "naver's SpladeLexical on queries", both_sides(tok, rows, query))


def splade_topk():
    tok, model, folder = masked_lm("splade-topk", 105, "splade-topk")
    rows = splade_rows(model, tok)

    def top(k):
        def encode(texts):
            dense = rows(texts)
            values, at = dense.topk(k, dim=1)
            return torch.zeros_like(dense).scatter_(1, at, values)

        return encode

    write_expected(folder, "naver's SpladeTopK", both_sides(tok, top(32), top(5)))


def efficient_splade():
    """A pair of directories: the document encoder names the query encoder, which is smaller."""
    tok, model, folder = masked_lm("efficient-splade-doc", 106, "efficient-splade", query_model="../efficient-splade-query")
    query_model = randomise(BertForMaskedLM(small_bert(len(tok))), 107)
    query_folder = fresh("efficient-splade-query")
    query_model.save_pretrained(query_folder)
    tok.save_pretrained(query_folder)
    keep_only_used(query_folder)
    cases = both_sides(tok, splade_rows(model, tok), splade_rows(query_model, tok))
    write_expected(folder, "naver's formula, two encoders", cases)


class PerToken(torch.nn.Module):
    """A backbone with one number a token, by the names of a code base."""

    def __init__(self, config, name, deep=False, backbone=BertModel, wrapper="bert"):
        super().__init__()
        more = {"add_pooling_layer": False} if backbone is BertModel else {}
        setattr(self, wrapper, backbone(config, **more))
        width = config.hidden_size
        head = torch.nn.Linear(width, 1)
        if deep:
            # Dropout and ReLU have no tensors, but places in the numbering.
            head = torch.nn.Sequential(
                torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(width, 1)
            )
        setattr(self, name, head)
        self.names = (wrapper, name)
        self.config = config

    def forward(self, ids, mask):
        backbone, head = (getattr(self, name) for name in self.names)
        with torch.no_grad():
            hidden = backbone(input_ids=ids, attention_mask=mask).last_hidden_state
            return head(hidden).squeeze(-1)


def per_token(name, seed, head, preset, bias=0.8, deep=False, **more):
    tok = tokenizer()
    model = randomise(PerToken(small_bert(len(tok), **more), head, deep), seed)
    with torch.no_grad():
        getattr(model, head)[-1].bias.fill_(bias) if deep else getattr(model, head).bias.fill_(bias)
    folder = fresh(name)
    store(folder, model)
    model.config.save_pretrained(folder)
    tok.save_pretrained(folder)
    tamis(folder, preset=preset)
    return tok, model, folder


def pooled(ids, weights, size, how, skip=lambda at, position: False):
    vector = torch.zeros(size)
    for position, (at, weight) in enumerate(zip(ids, weights)):
        if not skip(at, position):
            vector[at] = torch.maximum(vector[at], weight) if how == "max" else vector[at] + weight
    return vector


def padded(tok, lists):
    """Lists of ids as a batch."""
    longest = max(len(ids) for ids in lists)
    ids = torch.tensor([ids + [tok.pad_token_id] * (longest - len(ids)) for ids in lists])
    mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in lists])
    return ids, mask


EXPANDED = [
    "the miller sifts flour [SEP] what is a sieve mill flour flour",
    "wheat and rye [SEP] ",
    "no expansion here",
    "grinding stones " * 8 + "[SEP] mill wheel and a sieve of silk",
    "[SEP] mill wheel",
    "",
]


def expanded_ids(tok, text, text_pieces, pieces, new_only):
    """[CLS] text [SEP] expansion [SEP], within the limit of length."""
    if "[SEP]" not in text:
        ids = tok(text, truncation=True)["input_ids"]
        return ids, len(tok(text)["input_ids"]) > len(ids)
    text, expansion = text.split("[SEP]", 1)
    whole_text = tok(text, add_special_tokens=False)["input_ids"]
    whole_expansion = tok(expansion, add_special_tokens=False)["input_ids"]
    of_text, of_expansion = whole_text[:text_pieces], whole_expansion[:pieces]
    cut = len(of_text) < len(whole_text) or len(of_expansion) < len(whole_expansion)
    if new_only:
        # The published code takes a set, whose order is that of the interpreter; here it is that of the text.
        of_expansion = [at for at in dict.fromkeys(of_expansion) if at not in of_text]
    body = of_text + [tok.sep_token_id] + of_expansion
    room = MAX_LENGTH - 2
    return [tok.cls_token_id] + body[:room] + [tok.sep_token_id], cut or len(body) > room


def expanded_cases(tok, model, limits, hide=lambda token: False):
    def encode(texts):
        lists = [expanded_ids(tok, text, *limits)[0] for text in texts]
        ids, mask = padded(tok, lists)
        weights = torch.relu(model(ids, mask))
        rows = []
        for row, own in enumerate(lists):
            skip = lambda at, position: position == 0 or hide(tok.convert_ids_to_tokens(at))
            rows.append(pooled(own, weights[row], len(tok), "max", skip))
        return torch.stack(rows)

    cases = []
    for text, vector in zip(EXPANDED, alone_and_together(encode, EXPANDED)):
        ids, cut = expanded_ids(tok, text, *limits)
        cases.append({**case(tok, "document", text, vector), "num_tokens": len(ids), "truncated": cut})
    return cases


def unicoil_query(tok, model):
    def encode(texts):
        batch = batch_of(tok, texts)
        weights = torch.relu(model(batch["input_ids"], batch["attention_mask"])) * batch["attention_mask"]
        return torch.stack(
            [
                pooled(ids.tolist(), row, len(tok), "sum", lambda at, position: position == 0)
                for ids, row in zip(batch["input_ids"], weights)
            ]
        )

    return encode


def unicoil_expanded():
    tok, model, folder = per_token("unicoil-expanded", 108, "tok_proj", "unicoil-expanded")
    cases = expanded_cases(tok, model, (400, 100, True))
    query = unicoil_query(tok, model)
    for text, vector in zip(SOME, alone_and_together(query, SOME)):
        cases.append(case(tok, "query", text, vector))
    write_expected(folder, "pyserini's pooling over transformers BertModel, with expansions", cases)


# What the tiny vocabulary has of TILDE's list.
STOP = set("the a and of to in is for with on under over through s t d m o y i".split())


def hidden_by_tilde(token):
    if token == "##s" or token in STOP or token in ["[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"]:
        return True
    return not token.startswith("##") and not re.match(r"^[A-Za-z0-9_-]*$", token)


def tildev2():
    tok, model, folder = per_token("tildev2", 109, "tok_proj", "tildev2")
    cases = expanded_cases(tok, model, (512, 512, False), hidden_by_tilde)
    hide = [at for token, at in tok.get_vocab().items() if hidden_by_tilde(token)]
    query = bag(tok, counts=True, hide=hide)
    for text, vector in zip(SOME, alone_and_together(query, SOME)):
        cases.append(case(tok, "query", text, vector, special=False))
    write_expected(folder, "TILDEv2's formula over transformers BertModel", cases)


def clean_document(text):
    """DeepImpact's rules, restated: see METHODS of the project."""
    kept = "".join(c.lower() if re.match(r"[0-9A-Za-z.\-]", c) else " , " if c == "," else " " for c in text).split()
    words = []
    for word in kept:
        if "." in word:
            parts = word.split(".")
            word = (" . " if max(map(len, parts)) > 1 else "").join(parts)
        words += word.split()
    spread = []
    for word in words:
        spread += (word.replace("-", "") + " ( " + word.replace("-", " ") + " )").split() if "-" in word else [word]
    return spread


IMPACT_TEXTS = [
    "The U.S. miller sifts the flour, the finest flour.",
    "a state-of-the-art mill: 3.5 unbelievable sieves",
    "Élan 東京",
    "",
    TEXTS[9],
]


def deepimpact():
    tok, model, folder = per_token("deepimpact", 110, "impact_score_encoder", "deepimpact", deep=True, bias=2.5)
    cases = []
    everything = []
    for text in IMPACT_TEXTS:
        words = clean_document(text)
        pieces = [tok.tokenize(word) for word in words]
        starts, at = [], 1
        for piece in pieces:
            starts.append(at)
            at += len(piece)
        ids = [tok.cls_token_id] + tok.convert_tokens_to_ids([p for piece in pieces for p in piece])
        whole = len(ids) + 1
        ids = ids[: MAX_LENGTH - 1] + [tok.sep_token_id]
        everything.append((text, words, starts, ids, whole))
    ids, mask = padded(tok, [entry[3] for entry in everything])
    together = torch.relu(model(ids, mask))
    for row, (text, words, starts, ids, whole) in enumerate(everything):
        alone = torch.relu(model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long)))[0]
        assert torch.allclose(alone, together[row, : len(ids)], atol=2e-5)
        tokens = {}
        for word, start in zip(words, starts):
            if start < len(ids) - 1 and word not in tokens:
                tokens[word] = float(f"{alone[start]:.7g}")
        tokens = {word: weight for word, weight in tokens.items() if weight > 0}
        cases.append(
            {"kind": "document", "text": text, "num_tokens": len(ids), "truncated": whole > len(ids), "tokens": tokens}
        )
    for text, words, pieces in [
        ("What is the U.S. flour mill's price?", ["what", "us", "flour", "mill", "s", "price"], None),
        ("well-known e-mail mill mill", ["known", "email", "mill"], None),
        ("", [], None),
    ]:
        cleaned = {"What": "what is the us flour mill s price", "well": "well known email mill mill"}.get(text[:4], "")
        length = len(tok(cleaned, add_special_tokens=False)["input_ids"])
        cases.append(
            {
                "kind": "query",
                "text": text,
                "num_tokens": length,
                "truncated": False,
                "tokens": {word: 1.0 for word in words},
            }
        )
    write_expected(folder, "DeepImpact's formula over transformers BertModel", cases)


def deepct():
    """A token classifier with one label; weights of words, negative ones dropped."""
    tok, model, folder = per_token("deepct", 111, "classifier", "deepct", bias=0.3)

    def words_of(text):
        encoding = tok(text, truncation=True, return_offsets_mapping=False)
        ids, of = encoding["input_ids"], encoding.word_ids()
        words = []
        for at, (piece, word) in enumerate(zip(ids, of)):
            if word is None:
                continue
            token = tok.convert_ids_to_tokens(piece)
            if at > 0 and of[at - 1] == word:
                words[-1][1] += token.removeprefix("##")
                words[-1][2] |= piece in tok.all_special_ids
            else:
                words.append([at, token, piece in tok.all_special_ids])
        return ids, [(at, word) for at, word, unknown in words if not unknown]

    cases = []
    texts = SOME
    lists = [words_of(text)[0] for text in texts]
    ids, mask = padded(tok, lists)
    together = model(ids, mask)
    for row, text in enumerate(texts):
        ids, words = words_of(text)
        alone = model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long))[0]
        assert torch.allclose(alone, together[row, : len(ids)], atol=2e-5)
        tokens = {}
        for at, word in words:
            tokens[word] = max(tokens.get(word, 0.0), float(f"{alone[at]:.7g}"))
        tokens = {word: weight for word, weight in tokens.items() if weight > 0}
        whole = len(tok(text)["input_ids"])
        cases.append(
            {"kind": "document", "text": text, "num_tokens": len(ids), "truncated": whole > len(ids), "tokens": tokens}
        )
    for text in ["mill wheel mill", "the unbelievable sieves", ""]:
        encoding = tok(text, add_special_tokens=False)
        tokens = {}
        for word in text.split():
            tokens[word] = tokens.get(word, 0) + 1.0
        length = len(encoding["input_ids"])
        cases.append({"kind": "query", "text": text, "num_tokens": length, "truncated": False, "tokens": tokens})
    write_expected(folder, "DeepCT's formula over transformers BertModel", cases)


def sparta():
    """Hidden states against the input embeddings; no head in the checkpoint."""
    tok = tokenizer()
    model = randomise(BertModel(small_bert(len(tok)), add_pooling_layer=False), 112)
    folder = fresh("sparta")
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    tamis(folder, preset="sparta")

    def document(texts):
        batch = batch_of(tok, texts)
        words = model.embeddings.word_embeddings.weight.clone().detach()
        words[tok.all_special_ids] = 0
        with torch.no_grad():
            hidden = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        scores = hidden @ words.T
        scores[batch["attention_mask"] == 0] = -torch.inf
        return torch.log1p(torch.relu(scores.max(dim=1).values))

    query = bag(tok, counts=True, hide=tok.all_special_ids)
    write_expected(folder, "SPARTA's formula as in BEIR's code", both_sides(tok, document, query, special=(True, False)))


def li_lsr():
    """Query weights are relu of a linear map of the static embeddings, here not yet frozen to a table."""
    tok = tokenizer()
    model = randomise(DistilBertForMaskedLM(small_distilbert(len(tok))), 113)
    head = randomise(torch.nn.Linear(8, 1), 114, spread=1.0)
    folder = fresh("li-lsr")
    model.config.save_pretrained(folder)
    state = {key: value for key, value in model.state_dict().items() if key != "vocab_projector.weight"}
    save_file(
        {**state, "linear.weight": head.weight.detach(), "linear.bias": head.bias.detach()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    tok.save_pretrained(folder)
    tamis(folder, preset="li-lsr")
    with torch.no_grad():
        table = torch.relu(head(model.distilbert.embeddings.word_embeddings.weight)).squeeze(-1)
    words = bag(tok, hide=frame_ids(tok))
    query = lambda texts: words(texts) * table
    cases = both_sides(tok, splade_rows(model, tok), query, special=(True, False))
    write_expected(folder, "Li-LSR's formula over transformers DistilBertForMaskedLM", cases)


# OpenSearch and sentence-transformers.


def opensearch_v3():
    """The logarithm twice, pruned at a tenth of the largest weight; the table as text, with tokens left out."""
    tok = tokenizer()
    model = randomise(DistilBertForMaskedLM(small_distilbert(len(tok))), 120)
    folder = fresh("opensearch-v3")
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    tamis(folder, preset="opensearch-doc-v3", document={"prune_ratio": 0.5})
    generator = torch.Generator().manual_seed(121)
    table = {token: round(float(torch.rand(1, generator=generator)) * 9, 6) for token in sorted(tok.get_vocab())}
    del table["wheel"]
    (folder / "query_token_weights.txt").write_text("".join(f"{token}\t{weight}\n" for token, weight in table.items()))

    def document(texts):
        batch = batch_of(tok, texts)
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        values = (logits * batch["attention_mask"].unsqueeze(-1)).max(dim=1).values
        values = torch.log1p(torch.log1p(torch.relu(values)))
        values[:, tok.all_special_ids] = 0
        return values * (values > 0.5 * values.max(dim=1, keepdim=True).values)

    words = bag(tok, hide=tok.all_special_ids)
    weights = torch.tensor([table.get(token, 1.0) for token in tok.convert_ids_to_tokens(range(len(tok)))])
    query = lambda texts: words(texts) * weights
    write_expected(folder, "OpenSearch's formula, doc-v3", both_sides(tok, document, query, special=(True, False)))


def st_lexical():
    """A SparseStaticEmbedding behind the pooling: weights of the text's own tokens, times a table."""
    tok = tokenizer()
    model = randomise(DistilBertForMaskedLM(small_distilbert(len(tok))), 122)
    source = fresh("source")
    model.save_pretrained(source)
    tok.save_pretrained(source)
    transformer = Transformer(str(source), transformer_task="fill-mask")
    table = torch.rand(len(tok), generator=torch.Generator().manual_seed(123)) * 3
    static = SparseStaticEmbedding(tokenizer=tok, weight=table, frozen=True)
    encoder = SparseEncoder(modules=[transformer, SpladePooling("max"), static], device="cpu")
    folder = HERE / "st-lexical"
    encoder.save(str(folder))
    shutil.rmtree(source)
    encoder = SparseEncoder(str(folder), device="cpu")
    dense = lambda texts: encoder.encode_document(texts, convert_to_sparse_tensor=False, convert_to_tensor=True)
    write_expected(folder, "sentence_transformers.SparseEncoder", both_sides(tok, dense, dense))


def main():
    import make_lsr_fixtures  # Which imports this file.

    splade_v1()
    splade_v3()
    splade_doc()
    splade_lexical()
    splade_topk()
    efficient_splade()
    unicoil_expanded()
    tildev2()
    deepimpact()
    deepct()
    sparta()
    li_lsr()
    make_lsr_fixtures.main()
    opensearch_v3()
    st_lexical()


if __name__ == "__main__":
    # These alone; make_fixtures.py writes them with all others.
    for name in """splade-v1 splade-v3 splade-doc splade-lexical splade-topk efficient-splade-doc efficient-splade-query
        unicoil-expanded tildev2 deepimpact deepct sparta li-lsr lsr-epic lsr-binary lsr-mlm lsr-clsmlm opensearch-v3
        st-lexical""".split():
        shutil.rmtree(HERE / name, ignore_errors=True)
    torch.manual_seed(0)
    main()

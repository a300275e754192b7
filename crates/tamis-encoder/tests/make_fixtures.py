"""Writes tests/fixtures: tiny randomly initialised checkpoints and the vectors that their reference libraries give.

Run from anywhere: python make_fixtures.py. Rewrites the folder fixtures/ beside this file, the same each time.

Requirements (the versions that the committed files were written with):
    torch==2.15.0 transformers==5.24.0 sentence-transformers==6.2.0 safetensors==0.8.0
    tokenizers==0.23.3

Each fixture is a checkpoint directory as its library saves it, plus expected.json:
    {"reference": who computed it, "cases": [{"kind": "document" | "query", "text": ..., "num_tokens": n,
     "truncated": bool, "tokens": {token: weight}}]}
Every expected vector was computed for the text alone and in one padded batch of all texts; the two agree.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import Router, SparseStaticEmbedding, SpladePooling, Transformer
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertForMaskedLM,
)

HERE = Path(__file__).parent / "fixtures"
MAX_LENGTH = 24

WORDS = """the a of and to in is for with on sieve mesh flour mill water wheel stone grain wheat rye oat baker bread
oven dough yeast salt sugar honey milk butter cream egg tamis fine coarse dust bran germ husk hull screen
wire silk horse hair bolt cloth bolting shake sift grind ground turn fall fell through under over river stream
wind sail gear shaft cog miller town old new long short round square hand wood iron steel drum paddle hopper
sack cart road market price weight pound measure year first last when where why how what which who""".split()
PIECES = "s es ed er ing ly est ness less ful able ion al ment y ish".split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MARKS = list(".,;:!?'\"()-/%&")

TEXTS = [
    "sieve",
    "The miller sifts the flour through a fine silk mesh.",
    "WHEAT, rye & oats: 12% bran!",
    "Élan naïve café — crème brûlée",
    "東京 the 🌾 wheel \u200b\u00a0of\ttime\r\n",
    "",
    "   ",
    "a [SEP] b [MASK] [CLS] unbelievable",
    "water water water wheel wheel stone",
    "The old mill by the river ground wheat and rye for every baker of the town, and the miller measured each sack by "
    "hand on an iron weight before the cart took it over the long road to the market.",
    "grinding grinders groundless sifting sifters shortest",
    "x" * 120 + " oven",
]


def vocabulary(cased):
    tokens = SPECIAL + MARKS + list("0123456789") + list(LETTERS) + ["##" + letter for letter in LETTERS]
    if cased:
        tokens += list(LETTERS.upper()) + ["The", "WHEAT", "é", "ï", "##é", "##ï", "東"]
    tokens += WORDS + ["##" + piece for piece in PIECES if len(piece) > 1]
    return list(dict.fromkeys(tokens))


def tokenizer(cased=False):
    tokens = vocabulary(cased)
    return BertTokenizerFast(
        vocab={token: at for at, token in enumerate(tokens)}, do_lower_case=not cased, model_max_length=MAX_LENGTH
    )


def randomise(model, seed, spread=0.4):
    """Larger than a usual start, so that attention, norms and biases all matter and about half of all logits are above 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator) * spread
            is_norm = "norm" in name.lower() and name.endswith("weight")
            parameter.copy_(1 + noise / 2 if is_norm else noise)
    return model.eval()


def bert_config(rows, **more):
    return BertConfig(
        vocab_size=rows,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=MAX_LENGTH + 8,
        **more,
    )


def distilbert_config(rows, **more):
    return DistilBertConfig(
        vocab_size=rows, dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=MAX_LENGTH + 8, **more
    )


def fresh(name):
    folder = HERE / name
    folder.mkdir(parents=True)
    return folder


def keep_only_used(folder):
    """Model cards and training leftovers are not part of what is tested."""
    for name in ["README.md", "special_tokens_map.json", "added_tokens.json"]:
        for path in folder.rglob(name):
            path.unlink()


def write_expected(folder, reference, cases):
    (folder / "expected.json").write_text(
        json.dumps({"reference": reference, "cases": cases}, ensure_ascii=False, separators=(",", ":")) + "\n"
    )
    keep_only_used(folder)
    shares = [len(case["tokens"]) for case in cases if case["kind"] == "document"]
    assert sum(shares) > 0
    print(f"{folder.name}: {len(cases)} cases, {min(shares)} to {max(shares)} tokens with a weight in documents")


def case(tok, kind, text, dense, special=True):
    """One expectation out of a dense vector over the vocabulary of tok."""
    names = {at: token for token, at in tok.get_vocab().items()}
    whole = len(tok(text, add_special_tokens=special)["input_ids"])
    tokens = {names[at]: float(f"{value:.7g}") for at, value in enumerate(dense.tolist()) if value > 0}
    length = min(whole, tok.model_max_length)
    return {"kind": kind, "text": text, "num_tokens": length, "truncated": whole > length, "tokens": tokens}


def alone_and_together(encode, texts):
    """The vectors of single texts, after checking that a batch gives the same."""
    single = torch.cat([encode([text]) for text in texts])
    assert torch.allclose(single, encode(texts), atol=2e-5), (single - encode(texts)).abs().max()
    return single


def splade(model, tok, zero_special=False, log_twice=False):
    """SPLADE's published formula over the logits of transformers."""

    def encode(texts):
        batch = tok(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            logits = model(**batch).logits
        weights = torch.log1p(torch.relu(logits)) * batch["attention_mask"].unsqueeze(-1)
        weights = torch.log1p(weights) if log_twice else weights
        pooled = weights.max(dim=1).values
        if zero_special:
            pooled[:, tok.all_special_ids] = 0
        return pooled

    return encode


def plain(name, model, tok, texts=TEXTS, **more):
    """A plain directory, its vectors by transformers and the formula."""
    folder = fresh(name)
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    vectors = alone_and_together(splade(model, tok, **more), texts)
    cases = [case(tok, "document", text, vector) for text, vector in zip(texts, vectors)]
    return folder, cases


def plain_bert():
    tok = tokenizer()
    model = randomise(BertForMaskedLM(bert_config(len(tok))), 1)
    folder, cases = plain("bert-plain", model, tok)
    assert "cls.predictions.decoder.weight" not in load_file(folder / "model.safetensors")
    write_expected(folder, "transformers BertForMaskedLM, SPLADE max formula", cases)


def plain_distilbert():
    """Tied, and with vocab.txt as its only tokenizer file."""
    tok = tokenizer()
    model = randomise(DistilBertForMaskedLM(distilbert_config(len(tok))), 2)
    folder, cases = plain("distilbert-vocab", model, tok)
    (folder / "tokenizer.json").unlink()
    by_id = sorted(tok.get_vocab(), key=tok.get_vocab().get)
    (folder / "vocab.txt").write_text("\n".join(by_id) + "\n")
    settings = {"do_lower_case": True, "model_max_length": MAX_LENGTH, "tokenizer_class": "DistilBertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    again = AutoTokenizer.from_pretrained(folder)
    assert [again(text)["input_ids"] for text in TEXTS] == [tok(text)["input_ids"] for text in TEXTS]
    write_expected(folder, "transformers DistilBertForMaskedLM, SPLADE max formula", cases)


def untied_distilbert():
    """A decoder of its own, another activation, a padded table, half-precision weights."""
    tok = tokenizer()
    config = distilbert_config(len(tok) + 3, tie_word_embeddings=False, activation="relu")
    model = randomise(DistilBertForMaskedLM(config), 3).to(torch.bfloat16)
    wide = DistilBertForMaskedLM(config).eval()
    wide.load_state_dict({name: tensor.float() for name, tensor in model.state_dict().items()})
    with torch.no_grad():  # Padding rows that never win, as the tokenizer has no name for them.
        for padded in (model, wide):
            padded.vocab_projector.bias[len(tok) :] = -100
    folder, _ = plain("distilbert-untied-bf16", wide, tok)
    shutil.rmtree(folder)
    folder = fresh("distilbert-untied-bf16")
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    assert "vocab_projector.weight" in load_file(folder / "model.safetensors")
    vectors = alone_and_together(splade(wide, tok), TEXTS)
    cases = [case(tok, "document", text, vector) for text, vector in zip(TEXTS, vectors)]
    write_expected(folder, "transformers DistilBertForMaskedLM on the stored bfloat16 weights", cases)


def sparse_encoder(name, model, tok, pooling, **more):
    """A directory of sentence-transformers, its vectors by SparseEncoder itself."""
    source = fresh("source")
    model.save_pretrained(source)
    tok.save_pretrained(source)
    transformer = Transformer(str(source), transformer_task="fill-mask")
    encoder = SparseEncoder(modules=[transformer, pooling], device="cpu", **more)
    folder = HERE / name
    encoder.save(str(folder))
    shutil.rmtree(source)
    encoder = SparseEncoder(str(folder), device="cpu")
    cases = []
    for kind, encode in [("document", encoder.encode_document), ("query", encoder.encode_query)]:
        prompt = encoder.prompts.get(kind) or ""
        dense = lambda texts: encode(texts, convert_to_sparse_tensor=False, convert_to_tensor=True)
        texts = TEXTS if kind == "document" else TEXTS[:4]
        for text, vector in zip(texts, alone_and_together(dense, texts)):
            cases.append({**case(encoder.tokenizer, kind, prompt + text, vector), "text": text})
    write_expected(folder, "sentence_transformers.SparseEncoder", cases)
    return folder


def sentence_transformers_max():
    tok = tokenizer()
    model = randomise(BertForMaskedLM(bert_config(len(tok))), 4)
    sparse_encoder("st-bert-max", model, tok, SpladePooling("max"))


def sentence_transformers_sum():
    """Sum pooling, log twice, prompts, an own decoder, a cased vocabulary, the tanh form of gelu."""
    tok = tokenizer(cased=True)
    config = bert_config(len(tok), tie_word_embeddings=False, hidden_act="gelu_new", layer_norm_eps=1e-5)
    model = randomise(BertForMaskedLM(config), 5)
    pooling = SpladePooling("sum", activation_function="log1p_relu")
    prompts = {"query": "what is ", "document": "the "}
    sparse_encoder("st-bert-sum", model, tok, pooling, prompts=prompts)


def router():
    """Inference-free queries: a SparseStaticEmbedding beside a SPLADE document encoder."""
    tok = tokenizer()
    model = randomise(DistilBertForMaskedLM(distilbert_config(len(tok))), 6)
    source = fresh("source")
    model.save_pretrained(source)
    tok.save_pretrained(source)
    transformer = Transformer(str(source), transformer_task="fill-mask")
    table = torch.rand(len(tok), generator=torch.Generator().manual_seed(7)) * 8
    modules = Router.for_query_document(
        query_modules=[SparseStaticEmbedding(tokenizer=tok, weight=table, frozen=True)],
        document_modules=[transformer, SpladePooling("max", activation_function="log1p_relu")],
    )
    folder = HERE / "st-router"
    SparseEncoder(modules=[modules], device="cpu").save(str(folder))
    shutil.rmtree(source)
    encoder = SparseEncoder(str(folder), device="cpu")
    cases = []
    for kind, encode in [("document", encoder.encode_document), ("query", encoder.encode_query)]:
        dense = lambda texts: encode(texts, convert_to_sparse_tensor=False, convert_to_tensor=True)
        for text in TEXTS:
            # The library cannot tokenise a text without any token for a table: nothing in, nothing out.
            if kind == "query" and not tok(text, add_special_tokens=False)["input_ids"]:
                vector = torch.zeros(len(tok))
            else:
                vector = dense([text])[0]
            cases.append(case(tok, kind, text, vector, special=kind == "document"))
    write_expected(folder, "sentence_transformers.SparseEncoder with a Router", cases)


def plain_inference_free():
    """OpenSearch's plain layout: idf.json beside the document model; special tokens get no weight; float16 weights."""
    tok = tokenizer()
    model = randomise(BertForMaskedLM(bert_config(len(tok))), 8).half().float()
    folder, cases = plain("bert-idf", model, tok, zero_special=True)
    half = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    generator = torch.Generator().manual_seed(9)
    idf = {token: round(float(torch.rand(1, generator=generator)) * 9, 6) for token in sorted(tok.get_vocab())}
    left_out = "wheel"  # Not in the table: weight 1, as in OpenSearch's own code.
    del idf[left_out]
    (folder / "idf.json").write_text(json.dumps(idf, ensure_ascii=False, indent=0) + "\n")
    for text in TEXTS:
        ids = set(tok(text, truncation=True, add_special_tokens=False)["input_ids"]) - set(tok.all_special_ids)
        vector = torch.zeros(len(tok))
        for at in ids:
            vector[at] = idf.get(tok.convert_ids_to_tokens(at), 1.0)
        cases.append(case(tok, "query", text, vector, special=False))
    write_expected(folder, "OpenSearch's formula over transformers BertForMaskedLM", cases)


class UniCoil(torch.nn.Module):
    """COIL with one dimension per token (github.com/luyug/COIL, folder uniCOIL)."""

    def __init__(self, config):
        super().__init__()
        self.bert = BertModel(config, add_pooling_layer=False)
        self.tok_proj = torch.nn.Linear(config.hidden_size, 1)
        self.config = config

    def forward(self, ids, mask):
        hidden = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        return torch.relu(self.tok_proj(hidden)).squeeze(-1)


def unicoil(name, prefix, seed):
    """pyserini's pooling: [CLS] dropped, [SEP] kept; documents take the maximum of a repeated piece, queries the sum."""
    tok = tokenizer()
    model = randomise(UniCoil(bert_config(len(tok))), seed)
    with torch.no_grad():  # About two thirds of all tokens get a weight.
        model.tok_proj.bias.fill_(0.8)
    folder = fresh(name)
    state = {prefix + key: value.contiguous() for key, value in model.state_dict().items() if "position_ids" not in key}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(folder)
    tok.save_pretrained(folder)

    def encode(kind):
        def pooled(texts):
            batch = tok(texts, padding=True, truncation=True, return_tensors="pt")
            with torch.no_grad():
                weights = model(batch["input_ids"], batch["attention_mask"])
            vectors = torch.zeros(len(texts), len(tok))
            for row, (ids, row_weights) in enumerate(zip(batch["input_ids"], weights)):
                for at, weight in list(zip(ids.tolist(), row_weights))[1:]:
                    if at == tok.pad_token_id:
                        break
                    if kind == "document":
                        vectors[row, at] = torch.maximum(vectors[row, at], weight)
                    else:
                        vectors[row, at] += weight
            return vectors

        return pooled

    cases = []
    for kind in ["document", "query"]:
        for text, vector in zip(TEXTS, alone_and_together(encode(kind), TEXTS)):
            cases.append(case(tok, kind, text, vector))
    write_expected(folder, "uniCOIL's formula over transformers BertModel", cases)


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    plain_bert()
    plain_distilbert()
    untied_distilbert()
    sentence_transformers_max()
    sentence_transformers_sum()
    router()
    plain_inference_free()
    unicoil("unicoil", "", 10)
    unicoil("unicoil-prefixed", "coil_encoder.", 14)
    make_roberta_fixtures.main()
    make_head_fixtures.main()
    make_modern_fixtures.main()
    make_dense_fixture.main()
    make_dense_fixtures.main()
    make_pickle_fixtures.main()


if __name__ == "__main__":
    import make_dense_fixture  # Which import this file.
    import make_dense_fixtures
    import make_head_fixtures
    import make_modern_fixtures
    import make_pickle_fixtures
    import make_roberta_fixtures

    torch.manual_seed(0)
    main()

"""The fixtures of RoBERTa, XLM-R and CamemBERT, written by make_fixtures.py together with all others.

Their tokenizers are made here with the tokenizers package: byte-level BPE learned from a few sentences, and a unigram
table of whole words, endings and letters.
"""

import json

from make_fixtures import (
    LETTERS,
    MARKS,
    MAX_LENGTH,
    PIECES,
    TEXTS,
    WORDS,
    plain,
    randomise,
    sparse_encoder,
    write_expected,
)
from safetensors.torch import load_file
from sentence_transformers.sparse_encoder.modules import SpladePooling
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    CamembertConfig,
    CamembertForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

START, PAD, END, UNKNOWN, MASK = SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]

# A padding token that a text spells out takes no position.
ROBERTA_TEXTS = TEXTS + ["a </s> b <mask> <pad> mill <pad><pad> wheel <s> stone"]

LESSON = [
    "The miller sifts the flour through a fine silk mesh, and the coarse bran falls under the mill.",
    "The old mill by the river ground the wheat and the rye for the baker of the town.",
    "When the wheel turns, the stone grinds the grain; what falls through the sieve is the finest flour.",
    "A baker measures the flour, the water and the salt before the dough goes into the oven.",
]


def fast(tokenizer):
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=START,
        eos_token=END,
        cls_token=START,
        sep_token=END,
        unk_token=UNKNOWN,
        pad_token=PAD,
        mask_token=MASK,
        model_max_length=MAX_LENGTH,
    )


def byte_level():
    """As in roberta-base: <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> last; every byte has a token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=SPECIAL[:4], initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(LESSON, trainer)
    tokenizer.add_special_tokens([MASK])
    tokenizer.post_processor = processors.RobertaProcessing((END, 2), (START, 0), add_prefix_space=False)
    return fast(tokenizer)


def unigram():
    """As in xlm-roberta-base, whose table of normal forms is only near NFKC: pieces with log probabilities."""
    pieces = ["\u2581"] + ["\u2581" + word for word in WORDS] + PIECES + list(LETTERS) + list(LETTERS.upper())
    pieces += MARKS + list("0123456789") + ["\u2581The", "é", "ï", "東"]
    scored = [(piece, -2.0 - 0.03 * at) for at, piece in enumerate(dict.fromkeys(pieces))]
    table = [(token, 0.0) for token in SPECIAL[:4]] + scored
    tokenizer = Tokenizer(models.Unigram(table, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens([MASK])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", pair=f"{START} $A {END} {END} $B {END}", special_tokens=[(START, 0), (END, 2)]
    )
    return fast(tokenizer)


def sizes(rows, **more):
    """As many positions as texts have tokens at most, and the two that no text reaches."""
    return dict(
        vocab_size=rows,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=MAX_LENGTH + 2,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        **more,
    )


def roberta():
    tok = byte_level()
    model = randomise(RobertaForMaskedLM(RobertaConfig(**sizes(len(tok)))), 21)
    folder, cases = plain("roberta", model, tok, texts=ROBERTA_TEXTS)
    assert "lm_head.decoder.weight" not in load_file(folder / "model.safetensors")
    write_expected(folder, "transformers RobertaForMaskedLM, SPLADE max formula", cases)


def xlm_roberta():
    """A limit of length that only the positions give, layers with relu (the head stays with gelu), two token types."""
    tok = unigram()
    config = XLMRobertaConfig(**{**sizes(len(tok), hidden_act="relu"), "type_vocab_size": 2})
    model = randomise(XLMRobertaForMaskedLM(config), 22)
    folder, cases = plain("xlm-roberta", model, tok, texts=ROBERTA_TEXTS)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["model_max_length"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    write_expected(folder, "transformers XLMRobertaForMaskedLM, SPLADE max formula", cases)


def camembert():
    """A decoder of its own, in a directory of sentence-transformers."""
    tok = unigram()
    config = CamembertConfig(**sizes(len(tok), tie_word_embeddings=False))
    model = randomise(CamembertForMaskedLM(config), 23)
    folder = sparse_encoder("st-camembert", model, tok, SpladePooling("max"))
    assert "lm_head.decoder.weight" in load_file(folder / "model.safetensors")


def main():
    roberta()
    xlm_roberta()
    camembert()

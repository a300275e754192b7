"""The fixtures of ModernBERT and GTE, written by make_fixtures.py together with all others.

Attention windows are narrow and rotary bases small, so that both matter in texts of a few tokens. transformers has no
class for GTE's own "new" layout with its NTK scaling: `NewForMaskedLM` below computes what its publication describes,
and is checked here against transformers' GteForMaskedLM, the same computation without that scaling.
"""

import json
import math

import torch
from make_fixtures import MAX_LENGTH, TEXTS, fresh, plain, randomise, sparse_encoder, tokenizer, write_expected
from safetensors.torch import load_file
from sentence_transformers.sparse_encoder.modules import SpladePooling
from torch import nn
from transformers import GteConfig, GteForMaskedLM, ModernBertConfig, ModernBertForMaskedLM, PreTrainedConfig
from transformers.modeling_outputs import MaskedLMOutput

# Four layers of which the second and third see three tokens to each side.
LOCAL_ATTENTION = 7


def modernbert_config(rows, **more):
    return ModernBertConfig(
        **{
            **dict(
                vocab_size=rows,
                hidden_size=16,
                num_hidden_layers=4,
                num_attention_heads=2,
                intermediate_size=24,
                max_position_embeddings=MAX_LENGTH + 8,
                local_attention=LOCAL_ATTENTION,
                rope_parameters={
                    "full_attention": {"rope_type": "default", "rope_theta": 700.0},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 30.0},
                },
                pad_token_id=0,
                cls_token_id=2,
                sep_token_id=3,
                bos_token_id=2,
                eos_token_id=3,
            ),
            **more,
        }
    )


def modernbert():
    """Tied and without biases, as published; the configuration in the keys of transformers 4."""
    tok = tokenizer()
    model = randomise(ModernBertForMaskedLM(modernbert_config(len(tok))), 31, spread=0.4)
    folder, cases = plain("modernbert", model, tok)
    assert "decoder.weight" not in load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    del config["rope_parameters"], config["layer_types"]
    config |= {"global_rope_theta": 700.0, "local_rope_theta": 30.0, "global_attn_every_n_layers": 3}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    again = ModernBertForMaskedLM.from_pretrained(folder)
    assert again.config.rope_parameters == model.config.rope_parameters
    assert again.config.layer_types == model.config.layer_types
    write_expected(folder, "transformers ModernBertForMaskedLM, SPLADE max formula", cases)


def untied_modernbert():
    """Everything the other way: own decoder without bias, biases elsewhere, scaled positions, other activations."""
    tok = tokenizer()
    config = modernbert_config(
        len(tok),
        tie_word_embeddings=False,
        norm_bias=True,
        attention_bias=True,
        mlp_bias=True,
        classifier_bias=True,
        decoder_bias=False,
        hidden_activation="gelu_pytorch_tanh",
        classifier_activation="relu",
        layer_types=["sliding_attention", "full_attention", "sliding_attention", "sliding_attention"],
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 2.5, "rope_theta": 900.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
        },
    )
    model = randomise(ModernBertForMaskedLM(config), 32, spread=0.4)
    folder, cases = plain("modernbert-untied", model, tok)
    assert "decoder.weight" in load_file(folder / "model.safetensors")
    write_expected(folder, "transformers ModernBertForMaskedLM, SPLADE max formula", cases)


def sentence_transformers_modernbert():
    tok = tokenizer()
    model = randomise(ModernBertForMaskedLM(modernbert_config(len(tok))), 33, spread=0.4)
    sparse_encoder("st-modernbert", model, tok, SpladePooling("max", activation_function="log1p_relu"))


class NewConfig(PreTrainedConfig):
    """The keys of the configurations that Alibaba-NLP publishes."""

    model_type = "new"


def new_config(rows, **more):
    fields = dict(
        vocab_size=rows,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        hidden_act="gelu",
        max_position_embeddings=MAX_LENGTH + 8,
        type_vocab_size=0,
        layer_norm_type="layer_norm",
        layer_norm_eps=1e-12,
        position_embedding_type="rope",
        rope_theta=600.0,
        rope_scaling=None,
        pack_qkv=True,
        logn_attention_scale=False,
        logn_attention_clip1=False,
        tie_word_embeddings=True,
    )
    return {**fields, **more}


def frequencies(config):
    """Su et al. (2021); with the fixed and mixed NTK scaling of Su Jianlin's notes (kexue.fm, 9706)."""
    size = config["hidden_size"] // config["num_attention_heads"]
    scaling = config["rope_scaling"] or {"factor": 1.0}
    factor, mixed = scaling["factor"], scaling.get("mixed_b")
    base = config["rope_theta"] * (factor if mixed is None else 1)
    steps = torch.arange(size // 2, dtype=torch.float32)
    turns = base ** (-2 * steps / size)
    if mixed is None:
        return turns / factor ** (2 / size)
    return turns / torch.exp(math.log(factor) * ((steps + 1) / (size / 2)) ** mixed)


def turned(x, angles):
    """x: [batch, heads, length, size]; pairs are an element of the first half and its fellow of the second."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class NewLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.heads = config["num_attention_heads"]
        self.attention = nn.Module()
        if config["pack_qkv"]:
            self.attention.qkv_proj = nn.Linear(width, 3 * width)
        else:
            for part in "qkv":
                setattr(self.attention, f"{part}_proj", nn.Linear(width, width))
        self.attention.o_proj = nn.Linear(width, width)
        self.mlp = nn.Module()
        self.mlp.up_gate_proj = nn.Linear(width, 2 * inner, bias=False)
        self.mlp.down_proj = nn.Linear(inner, width)
        self.attn_ln = nn.LayerNorm(width, eps=config["layer_norm_eps"])
        self.mlp_ln = nn.LayerNorm(width, eps=config["layer_norm_eps"])

    def forward(self, x, angles, mask):
        attention = self.attention
        if hasattr(attention, "qkv_proj"):
            parts = attention.qkv_proj(x).chunk(3, dim=-1)
        else:
            parts = [attention.q_proj(x), attention.k_proj(x), attention.v_proj(x)]
        query, key, value = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts]
        scores = turned(query, angles) @ turned(key, angles).transpose(-1, -2) / math.sqrt(query.shape[-1])
        shares = scores.masked_fill(~mask[:, None, None, :], -torch.inf).softmax(dim=-1)
        x = self.attn_ln(x + attention.o_proj((shares @ value).transpose(1, 2).flatten(-2)))
        up, gate = self.mlp.up_gate_proj(x).chunk(2, dim=-1)
        return self.mlp_ln(x + self.mlp.down_proj(nn.functional.gelu(gate) * up))


class NewForMaskedLM(nn.Module):
    """Zhang et al. (EMNLP 2024 industry track, mGTE): normalisation after each residual, rotary positions, gated blocks."""

    def __init__(self, config):
        super().__init__()
        self.fields = config
        rows, width = config["vocab_size"], config["hidden_size"]
        self.new = nn.Module()
        self.new.embeddings = nn.Module()
        self.new.embeddings.word_embeddings = nn.Embedding(rows, width)
        if config["type_vocab_size"]:
            self.new.embeddings.token_type_embeddings = nn.Embedding(config["type_vocab_size"], width)
        self.new.embeddings.LayerNorm = nn.LayerNorm(width, eps=config["layer_norm_eps"])
        self.new.encoder = nn.Module()
        self.new.encoder.layer = nn.ModuleList(NewLayer(config) for _ in range(config["num_hidden_layers"]))
        self.lm_head = nn.Module()
        self.lm_head.dense = nn.Linear(width, width)
        self.lm_head.norm = nn.LayerNorm(width, eps=config["layer_norm_eps"])
        self.lm_head.decoder = nn.Linear(width, rows)
        if config["tie_word_embeddings"]:
            self.lm_head.decoder.weight = self.new.embeddings.word_embeddings.weight

    def forward(self, input_ids, attention_mask, **_):
        embeddings = self.new.embeddings
        x = embeddings.word_embeddings(input_ids)
        if self.fields["type_vocab_size"]:
            x = x + embeddings.token_type_embeddings.weight[0]
        x = embeddings.LayerNorm(x)
        angles = torch.arange(input_ids.shape[1], dtype=torch.float32)[:, None] * frequencies(self.fields)
        for layer in self.new.encoder.layer:
            x = layer(x, angles, attention_mask.bool())
        x = self.lm_head.norm(nn.functional.gelu(self.lm_head.dense(x)))
        return MaskedLMOutput(logits=self.lm_head.decoder(x))

    def save_pretrained(self, folder):
        """As published: no tensor for a tied decoder."""
        from safetensors.torch import save_file

        state = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        if self.fields["tie_word_embeddings"]:
            del state["lm_head.decoder.weight"]
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        written = {"architectures": ["NewForMaskedLM"], "model_type": "new", **self.fields}
        (folder / "config.json").write_text(json.dumps(written, indent=2) + "\n")


def agrees_with_transformers():
    """The class above against transformers' own one on the same weights, which it converts while reading."""
    tok = tokenizer()
    fields = new_config(len(tok), type_vocab_size=1)
    ours = randomise(NewForMaskedLM(fields), 34)
    folder = fresh("source")
    ours.save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text())
    written |= {"architectures": ["GteForMaskedLM"], "model_type": "gte", "pad_token_id": 0}
    (folder / "config.json").write_text(json.dumps(written) + "\n")
    theirs = GteForMaskedLM.from_pretrained(folder).eval()
    batch = tok(TEXTS, padding=True, truncation=True, return_tensors="pt")
    real = batch["attention_mask"].bool()
    with torch.no_grad():
        difference = (ours(**batch).logits - theirs(**batch).logits)[real].abs().max()
    assert difference < 1e-4, difference
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def new():
    """Packed maps, no token types, NTK scaling, tied: gte-base-en-v1.5 and OpenSearch's doc-v3-gte in small."""
    tok = tokenizer()
    config = new_config(len(tok), rope_scaling={"type": "ntk", "factor": 3.0})
    model = randomise(NewForMaskedLM(config), 35)
    folder, cases = plain("gte-new", model, tok)
    write_expected(folder, "own torch implementation of the published computation, SPLADE max formula", cases)


def unpacked_new():
    """Single maps, one token type, mixed NTK scaling, a decoder of its own."""
    tok = tokenizer()
    scaling = {"type": "ntk", "factor": 4.0, "mixed_b": 0.6}
    config = new_config(
        len(tok), rope_scaling=scaling, pack_qkv=False, type_vocab_size=1, tie_word_embeddings=False
    )
    model = randomise(NewForMaskedLM(config), 36)
    folder, cases = plain("gte-new-unpacked", model, tok)
    assert "lm_head.decoder.weight" in load_file(folder / "model.safetensors")
    write_expected(folder, "own torch implementation of the published computation, SPLADE max formula", cases)


def gte():
    """The layout and names of transformers' own class."""
    tok = tokenizer()
    config = GteConfig(
        vocab_size=len(tok),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=MAX_LENGTH + 8,
        rope_parameters={"rope_type": "default", "rope_theta": 600.0},
        pad_token_id=0,
    )
    model = randomise(GteForMaskedLM(config), 37)
    folder, cases = plain("gte", model, tok)
    assert "lm_head.decoder.weight" not in load_file(folder / "model.safetensors")
    write_expected(folder, "transformers GteForMaskedLM, SPLADE max formula", cases)


def main():
    modernbert()
    untied_modernbert()
    sentence_transformers_modernbert()
    agrees_with_transformers()
    new()
    unpacked_new()
    gte()

"""Writes tests/fixtures/steps: the loss of a batch and the gradient of every parameter, as PyTorch computes them.

The model is the fixture bert-plain (make_fixtures.py) as SPLADE: log(1 + relu(logits)), the largest of a text's tokens;
without dropout. Three losses, each with FLOPS on both sides (METHODS 2): contrastive over all documents of the batch,
MarginMSE against each negative, KL over a query's own candidates.

    steps.json          texts, teacher scores, weights, and each loss with its terms
    LOSS.safetensors    gradients by the name of the parameter, single precision
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertForMaskedLM

HERE = Path(__file__).parent / "fixtures"
QUERIES = ["who ground the wheat", "fine silk mesh", "water wheel"]
DOCUMENTS = [
    "The miller ground wheat and rye for every baker of the town.",
    "a sack of oats",
    "The miller sifts the flour through a fine silk mesh.",
    "iron and steel",
    "The old mill by the river has a water wheel, and a long shaft turns the stone.",
    "honey, milk & butter!",
]
GROUP = 2
TEACHER = [[9.0, 2.5], [7.5, 3.0], [8.0, -1.0]]
QUERY_WEIGHT, DOCUMENT_WEIGHT = 0.03, 0.05


def represent(model, tokenizer, texts):
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    weights = torch.log1p(torch.relu(logits)) * batch["attention_mask"].unsqueeze(-1)
    return weights.max(dim=1).values


def flops(rows):
    return (rows.mean(dim=0) ** 2).sum()


def losses(queries, documents):
    teacher = torch.tensor(TEACHER)
    everywhere = queries @ documents.T
    own = torch.stack([everywhere[i, i * GROUP : (i + 1) * GROUP] for i in range(len(QUERIES))])
    labels = torch.arange(len(QUERIES)) * GROUP
    margins = (own[:, :1] - own[:, 1:]) - (teacher[:, :1] - teacher[:, 1:])
    shares = torch.softmax(teacher, dim=1)
    return {
        "contrastive": torch.nn.functional.cross_entropy(everywhere, labels),
        "margin_mse": (margins**2).mean(),
        "kl": (shares * (torch.log(shares) - torch.log_softmax(own, dim=1))).sum(dim=1).mean(),
    }


def main():
    torch.set_num_threads(1)
    folder = HERE / "steps"
    folder.mkdir(exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(HERE / "bert-plain")
    model = BertForMaskedLM.from_pretrained(HERE / "bert-plain").eval()
    written = {}
    for name in ["contrastive", "margin_mse", "kl"]:
        model.zero_grad()
        queries, documents = represent(model, tokenizer, QUERIES), represent(model, tokenizer, DOCUMENTS)
        term = losses(queries, documents)[name]
        penalties = {"query_flops": flops(queries), "document_flops": flops(documents)}
        total = term + QUERY_WEIGHT * penalties["query_flops"] + DOCUMENT_WEIGHT * penalties["document_flops"]
        total.backward()
        gradients = {
            key: parameter.grad.contiguous()
            for key, parameter in model.named_parameters()
            if parameter.grad is not None
        }
        save_file(gradients, folder / f"{name}.safetensors")
        terms = {name: term, **penalties}
        written[name] = {"total": total.item(), "terms": {key: value.item() for key, value in terms.items()}}
    case = {
        "queries": QUERIES,
        "documents": DOCUMENTS,
        "group": GROUP,
        "teacher": [score for row in TEACHER for score in row],
        "query_weight": QUERY_WEIGHT,
        "document_weight": DOCUMENT_WEIGHT,
        "losses": written,
    }
    (folder / "steps.json").write_text(json.dumps(case, indent=1) + "\n")


if __name__ == "__main__":
    main()

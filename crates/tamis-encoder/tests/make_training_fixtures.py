"""Writes tests/fixtures/training/*.json: what PyTorch makes of losses, penalties and AdamW.

Needs torch alone. Every formula is written out plainly, so that it can be compared with the papers; the Rust tests
compare values and gradients. Run it from anywhere: python make_training_fixtures.py
"""

import json
import math
import pathlib

import torch

torch.set_num_threads(1)
torch.manual_seed(7)
torch.set_default_dtype(torch.float64)
TARGET = pathlib.Path(__file__).parent / "fixtures" / "training"


def rounded(tensor):
    return json.loads(json.dumps(tensor.detach().tolist()), parse_float=lambda text: float(f"{float(text):.12g}"))


def representations(rows, width):
    """Sparse weights as a model gives them; some exact zeros, some ties."""
    values = torch.relu(torch.randn(rows, width) + 0.2)
    return (values * 64).round() / 64 + (values > 0) * torch.rand(rows, width) * 1e-3


class Batch:
    def __init__(self, b, group, width, excluded=()):
        self.b, self.group, self.width, self.excluded = b, group, width, list(excluded)
        self.queries, self.documents = representations(b, width), representations(b * group, width)
        self.teacher = torch.randn(b, group) * 2
        self.teacher_all = torch.randn(b, b * group) * 2
        self.query_targets, self.document_targets = torch.rand(b, width), torch.rand(b * group, width)
        self.document_mask = (torch.rand(b * group, width) < 0.4).to(torch.float64)

    def json(self):
        names = ["queries", "documents", "teacher", "teacher_all", "query_targets", "document_targets", "document_mask"]
        whole = {"group": self.group, "excluded": self.excluded}
        return whole | {name: rounded(getattr(self, name)) for name in names}

    def own(self, i):
        """The query's own documents that count, the positive first."""
        documents = range(i * self.group, (i + 1) * self.group)
        return [j for j in documents if (i, j) not in self.excluded]

    def others(self, i, keep):
        """Documents of other queries that count and pass `keep`."""
        documents = range(self.b * self.group)
        return [j for j in documents if j // self.group != i and keep(j) and (i, j) not in self.excluded]


def is_positive(batch, j):
    return j % batch.group == 0


def nll(scores):
    """Minus the log softmax of the first."""
    return -torch.log_softmax(scores, 0)[0]


def contrastive(batch, q, d, candidates):
    total = 0
    for i in range(batch.b):
        total = total + nll(torch.stack([q[i] @ d[j] for j in candidates(i)]))
    return total / batch.b


def pairwise(batch, q, d):
    return contrastive(batch, q, d, batch.own)


def in_batch_pairwise(batch, q, d):
    return contrastive(batch, q, d, lambda i: batch.own(i) + batch.others(i, lambda j: is_positive(batch, j)))


def in_batch(batch, q, d):
    return contrastive(batch, q, d, lambda i: batch.own(i) + batch.others(i, lambda j: True))


def other_negatives(batch, q, d):
    return contrastive(batch, q, d, lambda i: batch.own(i) + batch.others(i, lambda j: not is_positive(batch, j)))


def sentence_transformers(batch, q, d, scale=1.0, symmetric="none", hardness="none", strength=0.0):
    total = 0
    for i in range(batch.b):
        forward = []
        for j in batch.own(i) + batch.others(i, lambda j: True):
            score = q[i] @ d[j]
            own, positive = j // batch.group == i, j == i * batch.group
            hard = {
                "none": False,
                "in_batch_negatives": not own,
                "hard_negatives": own and not positive,
                "all_negatives": not positive,
            }[hardness]
            forward.append(score * scale + (strength * score.detach() if hard else 0))
        backward = [
            scale * (q[k] @ d[i * batch.group]) for k in range(batch.b) if (k, i * batch.group) not in batch.excluded
        ]
        forward, backward = torch.stack(forward), torch.stack(backward)
        log_z = {
            "none": lambda: torch.logsumexp(forward, 0),
            "joint": lambda: torch.logsumexp(torch.cat([forward, backward]), 0),
            "per_direction": lambda: (torch.logsumexp(forward, 0) + torch.logsumexp(backward, 0)) / 2,
        }[symmetric]()
        total = total + log_z - forward[0]
    return total / batch.b


def bpr(batch, q, d):
    terms = []
    for i in range(batch.b):
        positive, *negatives = batch.own(i)
        terms += [-torch.log(torch.sigmoid(q[i] @ d[positive] - q[i] @ d[j])) for j in negatives]
    return torch.stack(terms).mean()


def bce(batch, q, d):
    terms = []
    for i in range(batch.b):
        positive, *negatives = batch.own(i)
        terms += [-torch.log(torch.sigmoid(q[i] @ d[positive]))]
        terms += [-torch.log(1 - torch.sigmoid(q[i] @ d[j])) for j in negatives]
    return torch.stack(terms).mean()


def negative_likelihood(batch, q, d):
    terms = [1 - torch.softmax(torch.stack([q[i] @ d[j] for j in batch.own(i)]), 0)[0] for i in range(batch.b)]
    return torch.stack(terms).mean()


def margin_mse(batch, q, d, everything=False):
    terms = []
    for i in range(batch.b):
        own = batch.own(i)
        student = {j: q[i] @ d[j] for j in own}
        teacher = {j: batch.teacher[i, j - i * batch.group] for j in own}
        pairs = [(a, b) for a in own for b in own] if everything else [(own[0], j) for j in own[1:]]
        terms += [((student[a] - student[b]) - (teacher[a] - teacher[b])) ** 2 for a, b in pairs]
    return torch.stack(terms).mean()


def kl(batch, q, d, student=1.0, teacher=1.0, squared=False, everything=False):
    total = 0
    for i in range(batch.b):
        own = batch.own(i)
        candidates = own + batch.others(i, lambda j: True) if everything else own
        targets = [batch.teacher_all[i, j] if everything else batch.teacher[i, j - i * batch.group] for j in candidates]
        p = torch.softmax(torch.stack(targets) / teacher, 0)
        log_q = torch.log_softmax(torch.stack([q[i] @ d[j] for j in candidates]) / student, 0)
        total = total + (p * (p.log() - log_q)).sum()
    return total / batch.b * (student**2 if squared else 1)


def term_mse(batch, q, d):
    """Queries densely, documents where the mask says so."""
    document = (((d - batch.document_targets) ** 2) * batch.document_mask).sum() / batch.document_mask.sum()
    return ((q - batch.query_targets) ** 2).mean() + document


def losses():
    st = lambda **options: {"contrastive": {"sentence_transformers": options}}
    open_search = lambda flag: {"contrastive": {"open_search": {"in_batch_negatives": flag}}}
    three = lambda batch, q, d: 0.99 * kl(batch, q, d) + 0.05 * margin_mse(batch, q, d, True) + 0.01 * other_negatives(
        batch, q, d
    )
    summed = {
        "sum": [
            {"weight": 0.99, "loss": {"kl": {}}},
            {"weight": 0.05, "loss": {"margin_mse": {"pairs": "all"}}},
            {"weight": 0.01, "loss": {"contrastive": "other_negatives"}},
        ]
    }
    return [
        ({"contrastive": "pairwise"}, pairwise),
        ({"contrastive": "in_batch_pairwise"}, in_batch_pairwise),
        ({"contrastive": "in_batch"}, in_batch),
        ({"contrastive": "other_negatives"}, other_negatives),
        (open_search(True), other_negatives),
        (open_search(False), pairwise),
        (st(), sentence_transformers),
        (st(scale=0.3), lambda *a: sentence_transformers(*a, scale=0.3)),
        (
            st(scale=0.5, symmetric="joint", hardness="all_negatives", hardness_strength=0.7),
            lambda *a: sentence_transformers(*a, scale=0.5, symmetric="joint", hardness="all_negatives", strength=0.7),
        ),
        (
            st(scale=0.5, symmetric="per_direction", hardness="hard_negatives", hardness_strength=0.4),
            lambda *a: sentence_transformers(
                *a, scale=0.5, symmetric="per_direction", hardness="hard_negatives", strength=0.4
            ),
        ),
        (
            st(hardness="in_batch_negatives", hardness_strength=0.2),
            lambda *a: sentence_transformers(*a, hardness="in_batch_negatives", strength=0.2),
        ),
        ({"contrastive": "bpr"}, bpr),
        ({"contrastive": "bce"}, bce),
        ({"contrastive": "negative_likelihood"}, negative_likelihood),
        ({"margin_mse": {}}, margin_mse),
        ({"margin_mse": {"pairs": "all"}}, lambda *a: margin_mse(*a, everything=True)),
        ({"kl": {}}, kl),
        (
            {"kl": {"student_temperature": 2.0, "teacher_temperature": 0.5, "squared_temperature": True}},
            lambda *a: kl(*a, student=2.0, teacher=0.5, squared=True),
        ),
        ({"kl": {"student_temperature": 3.0}}, lambda *a: kl(*a, student=3.0)),
        ({"kl": {"candidates": "batch"}}, lambda *a: kl(*a, everything=True)),
        ("term_mse", term_mse),
        (summed, three),
    ]


def mean_rows(rows):
    return rows.abs().mean(0)


def flops(rows, weights=1.0):
    return (weights * mean_rows(rows) ** 2).sum()


def positions(batch, d):
    return [d[p :: batch.group] for p in range(batch.group)]


def negatives(batch, d):
    return d[[j for j in range(len(d)) if not is_positive(batch, j)]]


def penalties(batch, idf, df):
    mask = lambda rows, t: rows * ((rows != 0).sum(1, keepdim=True) > t).to(rows.dtype)
    document = lambda regulariser: [{"side": "document", "regulariser": regulariser, "weight": 1.0}]
    grouped = lambda grouping: document({"flops": {"grouping": grouping}})
    columns = lambda weighting: document({"flops": {"columns": weighting}})
    splade_v3 = [
        {"side": "document", "regulariser": {"flops": {}}, "weight": 0.02},
        {"side": "query", "regulariser": "l1", "weight": 0.01},
        {"side": "both", "regulariser": "anti_zero", "weight": 1.0},
    ]
    half = lambda a, b: (a + b) / 2
    return [
        (document({"flops": {}}), lambda q, d: flops(d)),
        (grouped("position_mean"), lambda q, d: sum(map(flops, positions(batch, d))) / batch.group),
        (grouped("position_sum"), lambda q, d: sum(map(flops, positions(batch, d)))),
        (grouped("positive_negative"), lambda q, d: half(flops(d[:: batch.group]), flops(negatives(batch, d)))),
        (grouped("all_negative"), lambda q, d: half(flops(d), flops(negatives(batch, d)))),
        (document({"flops": {"row_threshold": 3}}), lambda q, d: flops(mask(d, 3))),
        (
            document({"flops": {"row_threshold": 3, "grouping": "position_sum"}}),
            lambda q, d: sum(flops(mask(rows, 3)) for rows in positions(batch, d)),
        ),
        (columns("inverse_idf"), lambda q, d: ((mean_rows(d) / idf) ** 2).sum()),
        (columns("document_frequency"), lambda q, d: flops(d, df)),
        (columns("document_frequency_squared"), lambda q, d: ((mean_rows(d) * df) ** 2).sum()),
        ([{"side": "query", "regulariser": {"flops": {}}, "weight": 0.3}], lambda q, d: 0.3 * flops(q)),
        ([{"side": "both", "regulariser": {"flops": {}}, "weight": 1.0}], lambda q, d: flops(q) + flops(d)),
        (document("l1"), lambda q, d: d.abs().sum(1).mean()),
        (
            [{"side": "both", "regulariser": "joint_flops", "weight": 2.0}],
            lambda q, d: 2 * (mean_rows(q) * mean_rows(d)).sum(),
        ),
        (splade_v3, lambda q, d: 0.02 * flops(d) + 0.01 * q.abs().sum(1).mean() + 1 / q.sum() ** 2 + 1 / d.sum() ** 2),
    ]


def solved(batch, value):
    """Value and gradients for both sides."""
    q, d = batch.queries.clone().requires_grad_(), batch.documents.clone().requires_grad_()
    total = value(q, d)
    zero = lambda gradient, like: torch.zeros_like(like) if gradient is None else gradient
    gradients = torch.autograd.grad(total, [q, d], allow_unused=True)
    return {
        "value": float(f"{total.item():.12g}"),
        "queries": rounded(zero(gradients[0], q)),
        "documents": rounded(zero(gradients[1], d)),
    }


def write(name, content):
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / f"{name}.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")


def write_losses():
    # Query 1's own last document and two documents of others are left out in the second batch.
    batches = [Batch(3, 2, 6), Batch(3, 3, 6, [(0, 3), (1, 5), (1, 8), (2, 0)])]
    idf = torch.tensor([0.5, 1.0, 1.5, 2.0, 4.0, 8.0])
    df = torch.tensor([1.0, 0.9, 0.5, 0.25, 0.0, 0.125])
    content = {"batches": [batch.json() for batch in batches], "losses": [], "penalties": [], "both": []}
    content |= {"idf": idf.tolist(), "document_frequency": df.tolist()}
    for at, batch in enumerate(batches):
        for options, loss in losses():
            result = solved(batch, lambda q, d: loss(batch, q, d))
            content["losses"].append({"batch": at, "loss": options} | result)
        for options, penalty in penalties(batch, idf, df):
            content["penalties"].append({"batch": at, "penalties": options} | solved(batch, penalty))
        # A loss and two penalties on the way up: (t + 1) / T at t = 2 of T = 10, and t / T of T = 4.
        options = [
            {
                "side": "document",
                "regulariser": {"flops": {"grouping": "positive_negative"}},
                "weight": 0.08,
                "schedule": {"quadratic": {"length": {"steps": 10}}},
            },
            {
                "side": "query",
                "regulariser": "l1",
                "weight": 0.1,
                "schedule": {"linear": {"length": {"share": 0.2}, "convention": "lsr"}},
            },
        ]
        value = lambda q, d: (
            margin_mse(batch, q, d)
            + 0.08 * 0.3**2 * (flops(d[:: batch.group]) + flops(negatives(batch, d))) / 2
            + 0.1 * 0.5 * q.abs().sum(1).mean()
        )
        both = {"batch": at, "loss": {"margin_mse": {}}, "penalties": options, "step": 2, "total_steps": 20}
        content["both"].append(both | solved(batch, value))
    write("losses", content)


def write_adamw():
    """Five steps with two groups, a variable that misses a step, and clipping."""
    start = {
        "dense.weight": torch.randn(3, 4),
        "dense.bias": torch.randn(4),
        "query.idf": torch.rand(5),
    }
    variables = {name: value.clone().requires_grad_() for name, value in start.items()}
    groups = [
        {"params": [variables["dense.weight"]], "weight_decay": 0.1, "lr": 1e-2},
        {"params": [variables["dense.bias"]], "weight_decay": 0.0, "lr": 1e-2},
        {"params": [variables["query.idf"]], "weight_decay": 0.02, "lr": 0.5},
    ]
    optimiser = torch.optim.AdamW(groups, betas=(0.8, 0.95), eps=1e-3)
    steps = []
    for step in range(5):
        gradients = {name: torch.randn_like(value) * 2 for name, value in start.items()}
        if step == 2:
            del gradients["dense.bias"]
        rate = 1e-2 * (1 - step / 10)
        for group, factor in zip(optimiser.param_groups, [1, 1, 50]):
            group["lr"] = rate * factor
        for name, variable in variables.items():
            variable.grad = gradients[name].clone() if name in gradients else None
        norm = torch.nn.utils.clip_grad_norm_(list(variables.values()), 5.0)
        optimiser.step()
        after = {name: rounded(value.flatten()) for name, value in variables.items()}
        gradients = {name: rounded(value.flatten()) for name, value in gradients.items()}
        steps.append({"rate": rate, "gradients": gradients, "norm": float(norm), "after": after})
    shapes = {name: list(value.shape) for name, value in start.items()}
    start = {name: rounded(value.flatten()) for name, value in start.items()}
    content = {"shapes": shapes, "start": start, "max_norm": 5.0, "steps": steps, "defaults": adamw_defaults()}
    write("adamw", content)


def adamw_defaults():
    """PyTorch's own constants; gradients of all sizes, so that each constant shows."""
    start = torch.randn(4)
    variable = start.clone().requires_grad_()
    optimiser = torch.optim.AdamW([variable], lr=0.1)
    gradients = [torch.randn(4) * torch.tensor([1.0, 1e-7, 3e-8, 1e-9]) for _ in range(4)]
    for gradient in gradients:
        variable.grad = gradient.clone()
        optimiser.step()
    return {"rate": 0.1, "start": rounded(start), "gradients": [rounded(g) for g in gradients], "after": rounded(variable)}


if __name__ == "__main__":
    write_losses()
    write_adamw()
    for path in sorted(TARGET.iterdir()):
        print(path.name, path.stat().st_size)

#!/usr/bin/env python3
"""Writes tests/cases/*.json: judgements, runs and the values that pytrec_eval gives them.

    pip install pytrec_eval && python make_cases.py

Each file is {"relevance_level", "qrels": {query: {document: grade}}, "run": {query: [[document, score]]},
"expected": {query: {metric: value}}}. Values of queries that the run lacks are 0, as `trec_eval -c` counts them.
"""
import json
import pathlib
import random

import pytrec_eval

CUTOFFS = [1, 3, 5, 10, 100]
FOLDER = pathlib.Path(__file__).parent / "cases"


def names():
    """Our name of each metric, and pytrec_eval's."""
    pairs = {"ndcg": "ndcg", "mrr": "recip_rank", "map": "map", "recall": "set_recall"}
    for ours, theirs in [("ndcg", "ndcg_cut"), ("recall", "recall"), ("map", "map_cut"), ("p", "P"), ("success", "success")]:
        pairs.update({f"{ours}@{k}": f"{theirs}_{k}" for k in CUTOFFS})
    return pairs


def expected(qrels, run, relevance_level):
    cuts = ",".join(map(str, CUTOFFS))
    measures = {"ndcg", "recip_rank", "map", "set_recall"} | {f"{m}.{cuts}" for m in ["ndcg_cut", "recall", "map_cut", "P", "success"]}
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, measures, relevance_level=relevance_level)
    found = evaluator.evaluate({q: dict(results) for q, results in run.items()})
    values = {}
    for query in qrels:
        theirs = found.get(query, {})
        values[query] = {ours: theirs.get(name, 0.0) for ours, name in names().items()}
        # trec_eval knows no cutoff for the reciprocal rank: MS MARCO's MRR@k is 0 beyond rank k.
        rr = values[query]["mrr"]
        values[query].update({f"mrr@{k}": rr if rr * k > 1 - 1e-9 else 0.0 for k in CUTOFFS})
    return values


def make(rng, queries, documents, grades, scores, depth=20, judged=8):
    qrels, run = {}, {}
    for number in range(queries):
        query = f"q{number}"
        pool = rng.sample(documents, min(len(documents), depth + judged))
        qrels[query] = {d: rng.choice(grades) for d in rng.sample(pool, rng.randint(1, judged))}
        if max(qrels[query].values()) < 0:
            qrels[query][pool[0]] = 0  # pytrec_eval reads beyond its arrays when every grade is negative
        results = [[d, scores(rng)] for d in rng.sample(pool, rng.randint(1, depth))]
        run[query] = results
    return qrels, run


def write(name, qrels, run, relevance_level=1):
    case = {"relevance_level": relevance_level, "qrels": qrels, "run": run, "expected": expected(qrels, run, relevance_level)}
    text = json.dumps(case, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    # One query a line keeps differences readable.
    text = text.replace('},"', '},\n"').replace(']],"', ']],\n"')
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(f"{name}: {len(qrels)} queries, {len(text) // 1024} KiB")


def main():
    FOLDER.mkdir(exist_ok=True)
    rng = random.Random(7)
    plain = [f"d{n}" for n in range(60)]
    write("graded", *make(rng, 40, plain, [0, 0, 1, 2, 3, 4], lambda r: r.uniform(-5, 20)))
    write("deep", *make(rng, 6, [f"D{n:04}" for n in range(400)], [0, 1, 1, 2], lambda r: r.gauss(0, 1), depth=150, judged=60))
    write("ties", *make(rng, 60, plain, [0, 1, 2], lambda r: float(r.randint(0, 3))))
    # Differences that single precision does not see: after the seventh digit, above 2^24, below the smallest number,
    # and beyond the largest.
    near = [1.0, 1.0 + 1e-9, 1.0 + 2e-9, 1.0 + 2e-7, 16777216.0, 16777217.0, 16777218.0, 1e-50, 2e-50, 0.0, -0.0, 1e39, 1e300, -1e300]
    write("single_precision", *make(rng, 60, plain, [0, 1, 2], lambda r: r.choice(near)))
    write("negative", *make(rng, 50, plain, [-2, -1, 0, 1, 3], lambda r: float(r.randint(0, 8))))
    write("nothing_relevant", *make(rng, 20, plain, [-2, -1, 0], lambda r: r.random()))
    write("level_two", *make(rng, 40, plain, [0, 1, 2, 3], lambda r: float(r.randint(0, 6))), relevance_level=2)
    ids = ["a", "A", "Z", "_", "-", "~", "0", "00", "10", "9", "é", "e\u0301", "ß", "日本", "日", "\U0001f600", "\uffee", "x/y:z", "'", '"', "\\"]
    write("unicode_ids", *make(rng, 40, ids, [0, 1, 2], lambda r: float(r.randint(0, 1)), depth=12, judged=6))
    qrels, run = make(rng, 60, plain, [0, 1, 2], lambda r: float(r.randint(0, 8)))
    for number, query in enumerate(list(run)):
        if number % 3 == 0:
            del run[query]  # missing from the run
        elif number % 3 == 1 and number % 2:
            run[query] = []  # named, without results
        elif number % 5 == 0:
            run[query] = [[f"unjudged{n}", -float(n)] for n in range(5)]
    run["not judged"] = [["d1", 1.0]]
    write("missing", qrels, run)


if __name__ == "__main__":
    main()

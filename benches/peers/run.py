#!/usr/bin/env python3
"""Run Tamis and SINDI side by side on the same vectors, in interleaved rounds of one run.

    run.py COLLECTION [--k 10,1000] [--rounds 7] [--record FILE.json] [--bench PROGRAM]

COLLECTION holds docs.csr and queries.csr (generate.py makes some). PROGRAM is the built example `bench_csr`;
its default is target/release/examples/bench_csr of this repository:

    cargo build --release -p tamis-query --example bench_csr

SINDI runs unpruned, so that it is exact for its float32 weights; Tamis is exact for its 8-bit weights, and both
recalls are against the float32 list. Each engine searches on one thread. A time is the minimum over rounds of one
search of one query; SINDI's include its call from Python, whose cost is measured with a query that matches
nothing and reported beside it. Tamis compares all its lists with its oracle before anything is timed.
"""

import argparse
import json
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyvsag

ROOT = Path(__file__).resolve().parents[2]
SINDI_WINDOW = 50_000
NOISE = 1e-4
ALGORITHMS = ("exhaustive", "block_max", "auto")


def read_csr(path):
    with open(path, "rb") as file:
        rows, columns, entries = np.fromfile(file, "<i8", 3)
        offsets = np.fromfile(file, "<i8", rows + 1)
        return columns, offsets, np.fromfile(file, "<i4", entries), np.fromfile(file, "<f4", entries)


def memory_mib(field):
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


class Tamis:
    """The example `bench_csr`, one pass over the queries for each line it is sent."""

    def __init__(self, program, collection, ks, verify):
        asked = [program, collection, f"k={','.join(map(str, ks))}", f"verify={verify}", "serve=1"]
        self.process = subprocess.Popen(list(map(str, asked)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("bench_csr gave no figures: see its message above")
        self.facts = json.loads(line)

    def timed(self, algorithm, k):
        self.process.stdin.write(f"{algorithm} {k}\n")
        self.process.stdin.flush()
        return np.array(json.loads(self.process.stdout.readline()))

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            raise SystemExit("bench_csr failed: see its message above")


class Sindi:
    """pyvsag's SINDI index, nothing pruned."""

    def __init__(self, collection):
        columns, offsets, terms, weights = read_csr(collection / "docs.csr")
        parameters = {
            "term_id_limit": int(columns) + 1, "window_size": SINDI_WINDOW, "doc_prune_ratio": 0.0,
            "use_quantization": False, "use_reorder": False, "remap_term_ids": False,
        }
        self.index = pyvsag.Index("sindi", json.dumps(
            {"dtype": "sparse", "metric_type": "ip", "dim": 1024, "index_param": parameters}))
        before, start = memory_mib("VmRSS"), time.perf_counter()
        self.index.build(
            index_pointers=offsets.astype(np.uint32), indices=terms.astype(np.uint32), values=weights,
            ids=np.arange(len(offsets) - 1, dtype=np.int64))
        self.docs_per_second = (len(offsets) - 1) / (time.perf_counter() - start)
        self.grown_mib = memory_mib("VmRSS") - before
        _, offsets, terms, weights = read_csr(collection / "queries.csr")
        terms = terms.astype(np.uint32)
        self.queries = [
            (np.array([0, end - start], np.uint32), terms[start:end].copy(), weights[start:end].copy())
            for start, end in zip(offsets[:-1], offsets[1:])]
        self.nothing = (np.array([0, 1], np.uint32), np.array([columns], np.uint32), np.array([1.0], np.float32))

    def search(self, query, k):
        asked = json.dumps({"sindi": {"query_prune_ratio": 0.0, "term_prune_ratio": 0.0, "n_candidate": k}})
        return self.index.knn_search(index_pointers=query[0], indices=query[1], values=query[2], k=k, parameters=asked)

    def timed(self, queries, k):
        asked = json.dumps({"sindi": {"query_prune_ratio": 0.0, "term_prune_ratio": 0.0, "n_candidate": k}})
        times = []
        for offsets, terms, weights in queries:
            start = time.perf_counter_ns()
            self.index.knn_search(index_pointers=offsets, indices=terms, values=weights, k=k, parameters=asked)
            times.append((time.perf_counter_ns() - start) / 1000)
        return np.array(times)


def float_scores(collection):
    """A function from a query's number to the float32 scores of all documents."""
    _, offsets, terms, weights = read_csr(collection / "docs.csr")
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.argsort(terms, kind="stable")
    starts = np.searchsorted(terms[order], np.arange(terms.max() + 2))
    rows, weights = rows[order], weights[order].astype(np.float64)
    _, query_offsets, query_terms, query_weights = read_csr(collection / "queries.csr")

    def scores(number):
        sums = np.zeros(len(offsets) - 1)
        for at in range(query_offsets[number], query_offsets[number + 1]):
            if query_terms[at] + 1 < len(starts):
                span = slice(starts[query_terms[at]], starts[query_terms[at] + 1])
                sums[rows[span]] += weights[span] * query_weights[at]
        return sums

    return scores


def sindi_recalls(sindi, scores, ks):
    """Mean share of the k best that SINDI returns; ties with the k-th count."""
    sums = dict.fromkeys(ks, 0.0)
    for number, query in enumerate(sindi.queries):
        truth = scores(number)
        for k in ks:
            wanted = min(k, int((truth > 0).sum()))
            if wanted == 0:
                sums[k] += 1.0
                continue
            limit = np.partition(truth, -wanted)[-wanted] - NOISE
            ids = np.unique(np.asarray(sindi.search(query, k)[0]).ravel().astype(np.int64))
            ids = ids[(ids >= 0) & (ids < len(truth))]
            sums[k] += min(1.0, (truth[ids] >= limit).sum() / wanted)
    return {str(k): round(total / len(sindi.queries), 5) for k, total in sums.items()}


def summary(times):
    quantile = lambda share: round(float(np.quantile(times, share)), 1)
    return {"mean_us": round(float(times.mean()), 1), "p50_us": quantile(0.5), "p95_us": quantile(0.95), "p99_us": quantile(0.99)}


def processor():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def first_line(*command):
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection", type=Path)
    parser.add_argument("--k", default="10,1000")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--verify", type=int, default=500, help="queries whose lists are compared with the oracle's")
    parser.add_argument("--record", type=Path)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--bench", type=Path, default=target / "release/examples/bench_csr")
    options = parser.parse_args()
    ks = [int(k) for k in options.k.split(",")]
    pyvsag.set_logger_off()
    tamis = Tamis(options.bench, options.collection, ks, options.verify)
    sindi = Sindi(options.collection)
    sindi_recall = sindi_recalls(sindi, float_scores(options.collection), ks)

    best = {}
    def keep(name, times):
        best[name] = np.minimum(best.get(name, np.inf), times)
    for _ in range(options.rounds):
        for k in ks:
            for algorithm in ALGORITHMS:
                keep((f"tamis {algorithm}", k), tamis.timed(algorithm, k))
            keep(("sindi", k), sindi.timed(sindi.queries, k))
            keep(("sindi, matching nothing", k), sindi.timed([sindi.nothing] * 100, k))
    tamis.close()

    rows = []
    print(f"{'engine':<26}{'k':>6}{'recall':>9}{'mean us':>10}{'p50':>9}{'p99':>9}{'SINDI / this':>14}")
    for (name, k), times in sorted(best.items(), key=lambda item: (item[0][1], item[1].mean())):
        figures = summary(times)
        ratio = best["sindi", k].mean() / times.mean()
        recall = {"s": sindi_recall[str(k)], "t": round(tamis.facts["recall"][str(k)], 5)}[name[0]] if "nothing" not in name else None
        rows.append({"engine": name, "k": k, "recall": recall, **figures, "sindi_mean_over_this": round(float(ratio), 2)})
        print(f"{name:<26}{k:>6}{recall if recall is not None else '':>9}{figures['mean_us']:>10}{figures['p50_us']:>9}{figures['p99_us']:>9}{ratio:>14.2f}")
    record = {
        "collection": options.collection.name, "rounds": options.rounds, "date": time.strftime("%Y-%m-%d"),
        "processor": processor(), "cores": os.cpu_count(), "rustc": first_line("rustc", "--version"),
        "commit": first_line("git", "rev-parse", "--short=12", "HEAD"), "pyvsag": version("pyvsag"), "sindi_window": SINDI_WINDOW,
        "tamis": tamis.facts, "sindi_docs_per_second": round(sindi.docs_per_second), "sindi_memory_mib": round(sindi.grown_mib), "rows": rows,
    }
    print(json.dumps({key: record[key] for key in ("processor", "tamis", "sindi_docs_per_second", "sindi_memory_mib")}))
    if options.record:
        options.record.parent.mkdir(parents=True, exist_ok=True)
        options.record.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

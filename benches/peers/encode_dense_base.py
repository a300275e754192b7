#!/usr/bin/env python3
"""Documents a second of a lifted model beside sentence-transformers running its dense base, in interleaved rounds of one run.

    encode_dense_base.py DENSE TEXTS [--model tamis-small] [--texts 1000] [--rounds 3] [--threads 2] [--record FILE.json]

DENSE is the folder of the dense sentence encoder, TEXTS JSON lines {"id", "text"}. Their texts are joined and cut into
--texts documents that DENSE reads as 128 tokens each, special ones included, so that nobody pads. Every system reads
them in a process of its own; a time is that of encoding alone, tokenisation included, after the model is loaded. Rates
are those of the median round, memory is the largest resident set of the process.

- sentence-transformers: SentenceTransformer.encode on PyTorch, batches of 32.
- Tamis: `tamis encode`, sparse vectors with their expansion, in the precision that the model is stored in (int8), and f32.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from encode import BATCH, ROOT, read_texts, run_tamis, write_record

TOKENS = 128
SYSTEMS = ("sentence-transformers", "tamis f32", "tamis int8")


def cut(dense, source, count, target):
    """Writes `count` documents of TOKENS tokens."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(dense)
    tokenizer.model_max_length = sys.maxsize
    pending, written = "", 0
    with open(source, encoding="utf-8") as lines, open(target, "w", encoding="utf-8") as out:
        for line in lines:
            pending += " " + json.loads(line)["text"]
            offsets = tokenizer(pending, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
            if len(offsets) < TOKENS:
                continue
            end = offsets[TOKENS - 3][1]
            out.write(json.dumps({"id": str(written), "text": pending[:end].strip()}) + "\n")
            pending, written = "", written + 1
            if written == count:
                return
    sys.exit(f"{source}: {written} documents of {TOKENS} tokens, not {count}")


def child(dense, source, count, threads):
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    model = SentenceTransformer(dense, device="cpu")
    texts = read_texts(source, count)
    lengths = [len(ids) for ids in model.tokenizer(texts)["input_ids"]]
    model.encode(texts[:BATCH], batch_size=BATCH)
    start = time.perf_counter()
    model.encode(texts, batch_size=BATCH)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": peak, "mean_tokens": statistics.mean(lengths)}))


def run(args):
    results = {system: {"seconds": [], "peak_bytes": 0} for system in SYSTEMS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        documents = folder / "documents.jsonl"
        # In a process of its own: what this one holds when it starts another counts as that one's peak.
        subprocess.run([sys.executable, __file__, "cut", args.dense, args.input, str(documents), "--texts", str(args.texts)], check=True)
        args.checkpoint, args.input = args.model, str(documents)
        for _ in range(args.rounds):
            for system in SYSTEMS:
                if system.startswith("tamis"):
                    figures, vectors = run_tamis(system, args, folder)
                    figures["weights"] = sum(map(len, vectors)) / len(vectors)
                else:
                    command = [sys.executable, __file__, "child", args.dense, args.input]
                    command += ["--texts", str(args.texts), "--threads", str(args.threads)]
                    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                    figures = json.loads(output.splitlines()[-1])
                result = results[system]
                result["seconds"].append(figures.pop("seconds"))
                result["peak_bytes"] = max(result["peak_bytes"], figures.pop("peak_bytes"))
                result.update(figures)
    for result in results.values():
        result["documents_per_second"] = args.texts / statistics.median(result["seconds"])
    base = results["sentence-transformers"]["documents_per_second"]
    print(f"{'system':24}{'documents/s':>13}{'ratio':>8}{'peak MB':>10}")
    for system, result in results.items():
        rate = result["documents_per_second"]
        print(f"{system:24}{rate:13.1f}{rate / base:8.2f}{result['peak_bytes'] / 1e6:10.0f}")
    if args.record:
        write_record(args, {"documents": args.texts, "tokens": TOKENS}, (), results)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dense")
    parser.add_argument("input", metavar="TEXTS")
    parser.add_argument("target", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--model", default="tamis-small")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--record")
    parser.add_argument("--tamis", default=str(ROOT / "target/release/tamis"))
    step = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] in ("cut", "child") else None
    args = parser.parse_args(sys.argv[2:] if step else None)
    if step == "cut":
        cut(args.dense, args.input, args.texts, args.target)
    elif step == "child":
        child(args.dense, args.input, args.texts, args.threads)
    else:
        run(args)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Encode the same texts with Tamis, sentence-transformers and onnxruntime, in interleaved rounds of one run.

    encode.py make BASE CHECKPOINT              a SPLADE checkpoint: the dense encoder BASE with a seeded random head
    encode.py make distilbert BASE CHECKPOINT   the same of DistilBERT's size, all random, with the tokenizer of BASE
    encode.py run CHECKPOINT TEXTS [--texts 1000] [--rounds 3] [--threads 2] [--record FILE.json] [--tamis PROGRAM]

TEXTS is JSON lines {"id", "text"}. Every system reads the first --texts of them, cut after 256 tokens, in a process of
its own with --threads threads; a round runs each system once. A time is that of encoding alone, tokenisation included,
after the model is loaded and warm; rates are of the best round, memory is the largest resident set of the process. The
head's bias is set so that a text gets about 200 weights above zero, as trained models give.

- sentence-transformers: SparseEncoder.encode on PyTorch, batches of 32, sorted by length as the library does.
- onnxruntime: the same model exported with the maximum over tokens and log(1 + relu) in the graph (the maximum first, the
  cheaper order), batches of 32 sorted by length; in int8 by quantize_dynamic, a scale a channel.
- Tamis: `tamis encode --precision f32 | int16 | int8`.

Vectors are compared with sentence-transformers' before any figure is printed: in single precision every weight within
1e-3, in others the mean cosine.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).resolve().parents[2]
BATCH = 32
MAX_LENGTH = 256
POSITIVE = 200
SYSTEMS = ("sentence-transformers", "onnxruntime f32", "onnxruntime int8", "tamis f32", "tamis int16", "tamis int8")


def make(size, base, checkpoint):
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, BertModel, DistilBertConfig, DistilBertForMaskedLM

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    if size == "distilbert":
        model = DistilBertForMaskedLM(DistilBertConfig(vocab_size=len(tokenizer))).eval()
        head_bias = model.vocab_projector.bias
    else:
        model = BertForMaskedLM(BertConfig.from_pretrained(base)).eval()
        states = BertModel.from_pretrained(base).state_dict()
        model.bert.load_state_dict({name: value for name, value in states.items() if "pooler" not in name})
        head_bias = model.cls.predictions.bias
    words = [token for token in tokenizer.get_vocab() if token.isalpha()]
    samples = [" ".join(sorted(words)[start :: len(words) // 90][:90]) for start in range(32)]
    batch = tokenizer(samples, padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits.masked_fill(~batch.attention_mask.bool()[..., None], -1e9).amax(1).flatten()
        rank = int(logits.numel() * (1 - POSITIVE / len(tokenizer)))
        head_bias -= logits.kthvalue(rank).values
    model.save_pretrained(checkpoint)
    tokenizer.model_max_length = MAX_LENGTH
    tokenizer.save_pretrained(checkpoint)


def read_texts(path, count):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line)["text"] for _, line in zip(range(count), lines)]


def export(checkpoint, folder):
    """Writes model.onnx and model-int8.onnx."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import AutoModelForMaskedLM

    class Splade(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = AutoModelForMaskedLM.from_pretrained(checkpoint, attn_implementation="eager").eval()

        def forward(self, input_ids, attention_mask):
            logits = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            largest = (logits * attention_mask.unsqueeze(-1)).amax(1)
            return torch.log1p(torch.relu(largest))

    names = ["input_ids", "attention_mask"]
    example = torch.ones(2, 16, dtype=torch.long)
    axes = {name: {0: "texts", 1: "tokens"} for name in names}
    target = str(folder / "model.onnx")
    torch.onnx.export(
        Splade(),
        (example, example),
        target,
        input_names=names,
        output_names=["weights"],
        dynamic_axes=axes,
        dynamo=False,
        opset_version=17,
    )
    quantize_dynamic(target, str(folder / "model-int8.onnx"), weight_type=QuantType.QInt8, per_channel=True)


def sentence_transformers(checkpoint, threads):
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling

    torch.set_num_threads(threads)
    modules = [MLMTransformer(checkpoint, max_seq_length=MAX_LENGTH), SpladePooling("max")]
    model = SparseEncoder(modules=modules, device="cpu")
    tokens = model.tokenizer.convert_ids_to_tokens(range(len(model.tokenizer)))

    def encode(texts):
        rows = model.encode(texts, batch_size=BATCH, convert_to_tensor=False, show_progress_bar=False)
        named = []
        for row in rows:
            row = row.coalesce()
            pairs = zip(row.indices()[0].tolist(), row.values().tolist())
            named.append({tokens[column]: value for column, value in pairs if value > 0})
        return named

    return encode


def onnxruntime(checkpoint, threads, model):
    import numpy as np
    import onnxruntime as ort
    from transformers import AutoTokenizer

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))

    def encode(texts):
        order = sorted(range(len(texts)), key=lambda text: -len(texts[text]))
        named = [None] * len(texts)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            batch = tokenizer(
                [texts[text] for text in chosen], padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="np"
            )
            inputs = {name: batch[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
            weights = session.run(None, inputs)[0]
            for text, row in zip(chosen, weights):
                columns = np.nonzero(row)[0]
                named[text] = dict(zip((tokens[column] for column in columns), row[columns].tolist()))
        return named

    return encode


def child(args):
    """Runs one Python system once; prints seconds and peak, writes the vectors."""
    if args.system == "sentence-transformers":
        encode = sentence_transformers(args.checkpoint, args.threads)
    else:
        name = "model-int8.onnx" if args.system.endswith("int8") else "model.onnx"
        encode = onnxruntime(args.checkpoint, args.threads, Path(args.folder) / name)
    texts = read_texts(args.input, args.texts)
    encode(texts[:BATCH])
    start = time.perf_counter()
    vectors = encode(texts)
    seconds = time.perf_counter() - start
    with open(args.vectors, "w", encoding="utf-8") as file:
        json.dump(vectors, file)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": peak}))


def run_python(system, args, folder):
    vectors = folder / "vectors.json"
    command = [sys.executable, __file__, "child", system, args.checkpoint, args.input, str(folder), str(vectors)]
    command += ["--texts", str(args.texts), "--threads", str(args.threads)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1]), json.loads(vectors.read_text(encoding="utf-8"))


def run_tamis(system, args, folder):
    texts, vectors = folder / "texts.jsonl", folder / "vectors.jsonl"
    with open(args.input, encoding="utf-8") as lines, open(texts, "w", encoding="utf-8") as target:
        target.writelines(line for _, line in zip(range(args.texts), lines))
    command = [args.tamis, "encode", "--model", args.checkpoint, "--precision", system.split()[1]]
    command += [str(texts), "-o", str(vectors), "--json"]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(args.threads)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True)
    output = process.stdout.read()
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command}: {errors}")
    report = json.loads(output)
    report = report.get("encode", report)
    with open(vectors, encoding="utf-8") as lines:
        rows = [json.loads(line)["vector"] for line in lines]
    return {"seconds": report["seconds"], "peak_bytes": usage.ru_maxrss * 1024}, rows


def cosine(a, b):
    product = sum(weight * b.get(token, 0.0) for token, weight in a.items())
    norms = sum(x * x for x in a.values()) * sum(x * x for x in b.values())
    return product / norms**0.5 if norms else float(a == b)


def difference(a, b):
    return max((abs(a.get(token, 0.0) - b.get(token, 0.0)) for token in a.keys() | b.keys()), default=0.0)


def run(args):
    args.checkpoint = str(Path(args.checkpoint).resolve())
    results = {system: {"seconds": [], "peak_bytes": 0} for system in SYSTEMS}
    reference = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own: what this one holds when it starts another counts as that one's peak.
        subprocess.run([sys.executable, __file__, "export", args.checkpoint, str(folder)], check=True, capture_output=True)
        for number in range(args.rounds):
            for system in SYSTEMS:
                one = run_tamis if system.startswith("tamis") else run_python
                figures, vectors = one(system, args, folder)
                result = results[system]
                result["seconds"].append(figures["seconds"])
                result["peak_bytes"] = max(result["peak_bytes"], figures["peak_bytes"])
                if reference is None:
                    reference = vectors
                if number == 0:
                    result["weights"] = sum(map(len, vectors)) / len(vectors)
                    result["largest_difference"] = max(map(difference, reference, vectors))
                    result["mean_cosine"] = sum(map(cosine, reference, vectors)) / len(vectors)
                    if system.endswith("f32") and result["largest_difference"] > 1e-3:
                        sys.exit(f"{system}: a weight differs by {result['largest_difference']}")
    print(f"{'system':24}{'texts/s':>10}{'peak MB':>10}{'weights':>10}{'largest diff':>14}{'mean cosine':>13}")
    for system, result in results.items():
        result["texts_per_second"] = args.texts / min(result["seconds"])
        print(
            f"{system:24}{result['texts_per_second']:10.1f}{result['peak_bytes'] / 1e6:10.0f}{result['weights']:10.1f}"
            f"{result['largest_difference']:14.2e}{result['mean_cosine']:13.5f}"
        )
    rate = {system: result["texts_per_second"] for system, result in results.items()}
    best_peer = max(rate["onnxruntime f32"], rate["onnxruntime int8"], rate["sentence-transformers"])
    best_own = max(rate[system] for system in SYSTEMS if system.startswith("tamis"))
    f32_peer = max(rate["onnxruntime f32"], rate["sentence-transformers"])
    print(f"f32 over the best f32 peer: {rate['tamis f32'] / f32_peer:.2f}")
    print(f"int8 over onnxruntime int8: {rate['tamis int8'] / rate['onnxruntime int8']:.2f}")
    print(f"best over best: {best_own / best_peer:.2f}")
    if args.record:
        write_record(args, {"texts": args.texts}, ("onnxruntime",), results)


def write_record(args, counts, packages, systems):
    """What was measured, where, with which versions: those of `packages` and of what every encoder in Python stands on."""
    packages = ("torch", "transformers", "sentence-transformers", *packages)
    record = {
        "processor": processor(),
        "threads": args.threads,
        **counts,
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip(),
        "versions": {name: version(name) for name in packages},
        "systems": systems,
    }
    Path(args.record).parent.mkdir(parents=True, exist_ok=True)
    Path(args.record).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def processor():
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make")
    maker.add_argument("paths", nargs="+", metavar="[distilbert] BASE CHECKPOINT")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--texts", type=int, default=1000)
    common.add_argument("--threads", type=int, default=2)
    exporter = commands.add_parser("export")
    exporter.add_argument("checkpoint")
    exporter.add_argument("folder", type=Path)
    one = commands.add_parser("child", parents=[common])
    for name in ("system", "checkpoint", "input", "folder", "vectors"):
        one.add_argument(name)
    runner = commands.add_parser("run", parents=[common])
    runner.add_argument("checkpoint")
    runner.add_argument("input")
    runner.add_argument("--rounds", type=int, default=3)
    runner.add_argument("--record")
    runner.add_argument("--tamis", default=str(ROOT / "target/release/tamis"))
    args = parser.parse_args()
    if args.command == "make":
        size = args.paths.pop(0) if len(args.paths) == 3 else "base"
        make(size, *args.paths)
    elif args.command == "export":
        export(args.checkpoint, args.folder)
    else:
        {"child": child, "run": run}[args.command](args)


if __name__ == "__main__":
    main()

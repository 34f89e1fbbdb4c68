"""A text model with its weights in blocks of integers, in ONNX Runtime: size, tokens/s and loss against the float file.

    build/bin/ds_train --config configs/text_gpt_nano.yaml data.path=TEXT
    .venv/bin/python bench/weight_only.py RUN [--bits 8 4] [--groups 32 64 128] [--threads 1]

RUN is the run's folder. Loss: mean over the bytes of the test split (the last tenth of the text), in nats; a file's tokens/s are the median over
batches of one sequence, interleaved with the float file's. Every DequantizeLinear must have gone into a MatMulNBits; what has not is named.
"""
import argparse
import collections
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "launch"))
import check_onnx  # noqa: E402

SECONDS = 3.0


def session(path, threads, optimised=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if optimised:
        options.optimized_model_filepath = str(optimised)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def windows(path, length):
    text = np.frombuffer(pathlib.Path(path).read_bytes(), np.uint8).astype(np.int64)
    test = text[len(text) - len(text) // 10:]
    count = (len(test) - 1) // length
    return test[:count * length].reshape(count, length), test[1:count * length + 1].reshape(count, length)


def loss(run, name, inputs, targets):
    total = 0.0
    for x, y in zip(inputs, targets):
        logits = run.run(None, {name: x[None]})[0][0].astype(np.float64)
        top = logits.max(-1, keepdims=True)
        total -= (logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True)))[np.arange(len(y)), y].sum()
    return total / targets.size


def speed(sessions, name, x):
    """Tokens/s of each, interleaved."""
    times = collections.defaultdict(list)
    end = time.perf_counter() + SECONDS * len(sessions)
    while time.perf_counter() < end:
        for key, run in sessions.items():
            start = time.perf_counter()
            run.run(None, {name: x[None]})
            times[key].append(time.perf_counter() - start)
    return {key: len(x) / statistics.median(all_times) for key, all_times in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--bits", type=int, nargs="*", default=[8, 4])
    parser.add_argument("--groups", type=int, nargs="*", default=[32, 64, 128])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    onnxruntime.set_default_logger_severity(3)
    config, settings = args.run / "config.yaml", (args.run / "config.yaml").read_text()
    settings = settings[settings.index("\ndata:"):]
    length = int(check_onnx.setting(settings, "sequence_length"))
    inputs, targets = windows(check_onnx.setting(settings, "path").strip('"'), length)
    paths = {"fp32": args.run / "model.onnx"}
    with tempfile.TemporaryDirectory() as folder:
        floats = {}
        for bits in args.bits:
            for group in args.groups:
                key = f"{bits} bits, blocks of {group}"
                paths[key] = pathlib.Path(folder) / f"w{bits}g{group}.onnx"
                subprocess.run([ROOT / "build/bin/ds_quantize", "--model", paths["fp32"], "--data", config, "--output", paths[key], "--weights-only",
                                "--bits", str(bits), "--group", str(group)], check=True, stdout=subprocess.DEVNULL)
        sessions = {}
        for key, path in paths.items():
            optimised = pathlib.Path(folder) / "optimised.onnx"
            sessions[key] = session(path, args.threads, optimised)
            ops = collections.Counter(node.op_type for node in onnx.load(str(optimised)).graph.node)
            floats[key] = f"{ops['MatMulNBits']} in blocks, {ops['MatMul'] + ops['Gemm'] + ops['FusedMatMul']} float, {ops['DequantizeLinear']} DequantizeLinear"
        name = sessions["fp32"].get_inputs()[0].name
        rates = speed(sessions, name, inputs[0])
        print("| file | bytes | of fp32 | tokens/s | of fp32 | loss, nats a byte | products |\n| --- | --- | --- | --- | --- | --- | --- |")
        for key, run in sessions.items():
            size, all_bytes = paths[key].stat().st_size, paths["fp32"].stat().st_size
            print(f"| {key} | {size:,} | {100 * size / all_bytes:.1f} % | {rates[key]:,.0f} | {rates[key] / rates['fp32']:.2f}x | "
                  f"{loss(run, name, inputs, targets):.4f} | {floats[key]} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())

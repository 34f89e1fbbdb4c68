"""A text model with its weights in blocks of integers, in ONNX Runtime: size, tokens/s and loss against the float file.

    build/bin/ds_train --config configs/text_gpt_nano.yaml data.path=TEXT
    .venv/bin/python bench/weight_only.py RUN [--bits 8 4] [--groups 32 64 128] [--threads 1]
    .venv/bin/python bench/weight_only.py --random 6x384 [--tokens 1 16 128]

RUN is the run's folder. Loss: mean over the bytes of the test split (the last tenth of the text), in nats; a file's tokens/s are the median over
batches of one sequence, interleaved with the float file's. Every DequantizeLinear must have gone into a MatMulNBits; what has not is named.

--random LAYERSxWIDTH times a GPT of that size with random weights instead, for size and speed alone, at each number of --tokens: 1 is a step of decoding,
where every weight is read for one product. Beside ours stand ONNX Runtime's own tools: MatMulNBitsQuantizer of the same bits and blocks, and quantize_dynamic.
Files take turns, one round after another; the least time of each counts.
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


def random_gpt(path, layers, width, vocabulary=8192, heads=6):
    """A decoder with random weights and as many tokens as it is fed, without a cache of keys and values."""
    random, nodes, weights = np.random.default_rng(0), [], []

    def constant(array):
        weights.append(onnx.numpy_helper.from_array(array, f"c{len(weights)}"))
        return weights[-1].name

    def op(kind, *inputs, **attributes):
        nodes.append(onnx.helper.make_node(kind, list(inputs), [f"v{len(nodes)}"], name=f"n{len(nodes)}", **attributes))
        return f"v{len(nodes) - 1}"

    def matrix(rows, columns):
        return constant((random.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32))

    def linear(x, rows, columns):
        return op("Add", op("MatMul", x, matrix(rows, columns)), constant(np.zeros(columns, np.float32)))

    def norm(x):
        return op("LayerNormalization", x, constant(np.ones(width, np.float32)), constant(np.zeros(width, np.float32)))

    split = constant(np.array([0, 0, heads, width // heads]))
    joined = constant(np.array([0, 0, width]))
    x = op("Gather", matrix(vocabulary, width), "input")
    for _ in range(layers):
        y = norm(x)
        q, k, v = (op("Transpose", op("Reshape", linear(y, width, width), split), perm=perm)
                   for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
        shares = op("Softmax", op("Mul", op("MatMul", q, k), constant(np.float32((width // heads) ** -0.5))), axis=-1)
        y = op("Reshape", op("Transpose", op("MatMul", shares, v), perm=[0, 2, 1, 3]), joined)
        x = op("Add", x, linear(y, width, width))
        y = linear(norm(x), width, 4 * width)
        y = op("Mul", op("Mul", y, constant(np.float32(0.5))), op("Add", op("Erf", op("Mul", y, constant(np.float32(0.5**0.5)))), constant(np.float32(1))))
        x = op("Add", x, linear(y, 4 * width, width))
    op("MatMul", norm(x), matrix(width, vocabulary))
    nodes[-1].output[0] = "logits"
    graph = onnx.helper.make_graph(nodes, "gpt", [onnx.helper.make_tensor_value_info("input", onnx.TensorProto.INT64, [1, "tokens"])],
                                   [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, "tokens", vocabulary])], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(path))


def quantised_by_ort(source, path, bits, group):
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    quantizer = MatMulNBitsQuantizer(onnx.load(str(source)), bits=bits, block_size=group, is_symmetric=True, accuracy_level=4)
    quantizer.process()
    quantizer.model.save_model_to_file(str(path), False)


def time_random(args):
    """Sizes, and tokens/s by the number of tokens, of ours and of ONNX Runtime's own files."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    layers, width = (int(part) for part in args.random.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        paths = {"fp32": place / "fp32.onnx"}
        random_gpt(paths["fp32"], layers, width)
        for bits in args.bits:
            for group in args.groups:
                for whose in ("ours", "ONNX Runtime's"):
                    key = f"{whose}, {bits} bits, blocks of {group}"
                    paths[key] = place / f"{bits}g{group}{whose[:3]}.onnx"
                    if whose == "ours":
                        subprocess.run([ROOT / "build/bin/ds_quantize", "--model", paths["fp32"], "--data", "random", "--output", paths[key],
                                        "--weights-only", "--bits", str(bits), "--group", str(group)], check=True, stdout=subprocess.DEVNULL)
                    else:
                        quantised_by_ort(paths["fp32"], paths[key], bits, group)
        paths["quantize_dynamic, 8 bits"] = place / "dynamic.onnx"
        quantize_dynamic(paths["fp32"], paths["quantize_dynamic, 8 bits"], weight_type=QuantType.QInt8)
        sessions = {key: session(path, args.threads) for key, path in paths.items()}
        least = collections.defaultdict(lambda: float("inf"))
        for _ in range(args.rounds):
            for tokens in args.tokens:
                x = (np.arange(tokens)[None] * 37 % 8192).astype(np.int64)
                for key, run in sessions.items():
                    for _ in range(2):  # the first brings the weights back into the cache, as the step before it would
                        start = time.perf_counter()
                        run.run(None, {"input": x})
                        least[key, tokens] = min(least[key, tokens], time.perf_counter() - start)
        print("| file | bytes | of fp32 |" + "".join(f" tokens/s of {t} | of fp32 |" for t in args.tokens))
        print("| --- | --- | --- |" + " --- | --- |" * len(args.tokens))
        for key, path in paths.items():
            size = path.stat().st_size
            cells = "".join(f" {t / least[key, t]:,.0f} | {least['fp32', t] / least[key, t]:.2f}x |" for t in args.tokens)
            print(f"| {key} | {size:,} | {100 * size / paths['fp32'].stat().st_size:.1f} % |{cells}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run", type=pathlib.Path, nargs="?")
    parser.add_argument("--random", metavar="LAYERSxWIDTH", help="a GPT with random weights instead of a run")
    parser.add_argument("--tokens", type=int, nargs="*", default=[1, 16, 128], help="with --random")
    parser.add_argument("--rounds", type=int, default=20, help="with --random")
    parser.add_argument("--bits", type=int, nargs="*", default=[8, 4])
    parser.add_argument("--groups", type=int, nargs="*", default=[32, 64, 128])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    onnxruntime.set_default_logger_severity(3)
    if args.random:
        return time_random(args)
    if args.run is None:
        parser.error("give a run's folder, or --random")
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

"""ONNX Runtime's products of bytes on x86: without VNNI (vpdpbusd) they are vpmaddubsw's, whose pairs saturate at 16 bits, so that 8-bit weights
give other sums than the file says. Its documentation advises 7-bit weights there (quantize_static's reduce_range)."""
import pathlib
import platform

import onnxruntime


def products_saturate():
    if platform.machine() != "x86_64":
        return False
    flags = set(pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0].split())
    return not flags & {"avx512_vnni", "avx_vnni"}


def exact(options):
    """Where they saturate, nothing is fused into such products: DequantizeLinear, float arithmetic, QuantizeLinear, as the file has them."""
    if products_saturate():
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def session(model):
    """Of a path or bytes."""
    model = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(model, exact(onnxruntime.SessionOptions()), providers=["CPUExecutionProvider"])

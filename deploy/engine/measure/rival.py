"""One runtime on one file, measured as ds_bench measures the engine; prints a line a figure: its name, its value.

    rival.py NAME FILE THREADS RUNS

onnxruntime and openvino read ONNX files, litert .tflite, executorch .pte. An extent that a file leaves open is 1. load_ms: from a path to something
that runs; rss_mib: what loading and running add to the process' resident memory, with the library, which is loaded before, left out.
"""
import os
import sys
import time

import numpy as np

NAME, PATH, THREADS, RUNS = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
RANDOM = np.random.default_rng(1)


def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def values(shape, kind):
    shape = [extent if isinstance(extent, int) and extent > 0 else 1 for extent in shape]
    kind = np.dtype(kind)
    return RANDOM.normal(size=shape).astype(kind) if kind.kind == "f" else RANDOM.integers(0, 100, shape).astype(kind)


def onnxruntime():
    import onnxruntime as library

    def load():
        options = library.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
        session = library.InferenceSession(PATH, options, providers=["CPUExecutionProvider"])
        kinds = {"tensor(float)": "f4", "tensor(int64)": "i8", "tensor(int32)": "i4", "tensor(uint8)": "u1", "tensor(int8)": "i1"}
        feed = {i.name: values(i.shape, kinds[i.type]) for i in session.get_inputs()}
        return lambda: session.run(None, feed)
    return load


def openvino():
    import openvino as library
    core = library.Core()

    def load():
        core.set_property("CPU", {"INFERENCE_NUM_THREADS": THREADS, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"})
        model = core.read_model(PATH)
        model.reshape({i.any_name: [d.get_length() if d.is_static else 1 for d in i.partial_shape] for i in model.inputs})
        request = core.compile_model(model, "CPU").create_infer_request()
        feed = {i.any_name: values([d.get_length() for d in i.partial_shape], i.element_type.to_dtype()) for i in model.inputs}
        return lambda: request.infer(feed)
    return load


def litert():
    from ai_edge_litert.interpreter import Interpreter

    def load():
        interpreter = Interpreter(model_path=PATH, num_threads=THREADS)
        interpreter.allocate_tensors()
        for port in interpreter.get_input_details():
            interpreter.set_tensor(port["index"], values(port["shape"].tolist(), port["dtype"]))
        return interpreter.invoke
    return load


def executorch():
    import torch
    from executorch.extension.pybindings import _C
    from executorch.runtime import Runtime
    torch.set_num_threads(THREADS)
    _C._unsafe_reset_threadpool(THREADS)

    def load():
        program = Runtime.get().load_program(PATH)
        method = program.load_method("forward")
        ports = [method.metadata.input_tensor_meta(i) for i in range(method.metadata.num_inputs())]
        kinds = {6: "f4", 4: "i8", 3: "i4"}  # c10::ScalarType
        feed = [torch.from_numpy(values(list(port.sizes()), kinds[port.dtype()])) for port in ports]
        return lambda: (program, method.execute(feed))
    return load


def main():
    load = {"onnxruntime": onnxruntime, "openvino": openvino, "litert": litert, "executorch": executorch}[NAME]()
    before, begin = resident(), time.perf_counter()
    run = load()
    ready = time.perf_counter()
    run()
    first = time.perf_counter() - ready
    for _ in range(9):
        run()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    times.sort()
    figures = {"load_ms": 1e3 * (ready - begin), "first_ms": 1e3 * first, "median_ms": 1e3 * times[len(times) // 2],
               "p99_ms": 1e3 * times[int(0.99 * (len(times) - 1) + 0.5)], "least_ms": 1e3 * times[0], "rss_mib": resident() - before}
    for name, value in figures.items():
        print(name, value)


if __name__ == "__main__":
    main()

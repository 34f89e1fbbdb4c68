"""How long import takes beyond reading the file, for a network of many megabytes of weights.

    .venv/bin/python3 bench/onnx_import.py build/bin/ds_export [--megabytes 500] [--rounds 5]

The network is a chain of square layers as PyTorch exports them: half of the weights behind a Transpose, which import folds. Import is what
`ds_export --lint-tensorrt` does, which reads all weights and writes nothing; a description is `--describe`. Reading is `cat FILE > /dev/null` from
the same page cache. Medians; memory is the highest resident set of one run
(pages of the file that it touched included, which are 2 MiB each where the system keeps it so).
"""
import argparse
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

WIDTH = 2048


def write(folder, megabytes, external):
    """In a process of its own, which alone has large modules: a child's highest resident set starts at its parent's."""
    import numpy as np
    from onnx import TensorProto, helper
    layers = max(1, round(megabytes * 1e6 / (4 * WIDTH * WIDTH)))
    rng = np.random.default_rng(1)
    values = rng.standard_normal((WIDTH, WIDTH), dtype=np.float32).tobytes()
    nodes, tensors, value = [], [], "x"
    data = open(folder / "weights", "wb") if external else None
    for i in range(layers):
        tensor = TensorProto(name=f"layers.{i}.weight", dims=[WIDTH, WIDTH], data_type=1)
        if external:
            tensor.data_location = TensorProto.EXTERNAL
            for key, entry in (("location", "weights"), ("offset", data.tell()), ("length", len(values))):
                tensor.external_data.add(key=key, value=str(entry))
            data.write(values)
        else:
            tensor.raw_data = values
        tensors.append(tensor)
        weight = tensor.name
        if i % 2:
            nodes.append(helper.make_node("Transpose", [weight], [f"t{i}"], perm=[1, 0]))
            weight = f"t{i}"
        nodes.append(helper.make_node("MatMul", [value, weight], [f"y{i}"]))
        value = f"y{i}"
    graph = helper.make_graph(nodes, "chain", [helper.make_tensor_value_info("x", 1, ["batch", WIDTH])],
                              [helper.make_tensor_value_info(value, 1, ["batch", WIDTH])], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    if data:
        data.close()
    return path, layers * len(values)


def run(command):
    """Seconds, those of the processor, and the highest resident set in MiB (/usr/bin/time is not everywhere)."""
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, command
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for external in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            with multiprocessing.Pool(1) as pool:
                path, size = pool.apply(write, (pathlib.Path(folder), arguments.megabytes, external))
            files = [str(file) for file in pathlib.Path(folder).iterdir()]
            commands = {"read": ["cat", *files], "import": [arguments.program, "--model", str(path), "--lint-tensorrt"],
                        "describe": [arguments.program, "--model", str(path), "--describe"]}
            figures = {name: [run(command) for _ in range(arguments.rounds)] for name, command in commands.items()}
            seconds, busy = ({name: statistics.median(row[i] for row in rows) for name, rows in figures.items()} for i in range(2))
            print(f"{size / 1e6:.0f} MB {'in another file' if external else 'in the model file'}: read {seconds['read']:.2f} s, "
                  f"import {seconds['import']:.2f} s ({seconds['import'] - seconds['read']:+.2f}; of the processor {busy['import']:.2f}), "
                  f"describe {seconds['describe']:.3f} s, {max(row[2] for row in figures['describe']):.0f} MiB")


if __name__ == "__main__":
    main()

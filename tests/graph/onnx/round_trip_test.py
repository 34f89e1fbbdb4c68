"""ONNX -> graph -> ONNX for the whole zoo: ONNX Runtime computes the same before and after.

    python3 round_trip_test.py build/bin/ds_export
"""
import sys
import tempfile
import pathlib

from onnx_support import TOLERANCE, Report, convert, ds_export, largest_error, random_feeds, run
import numpy as np
import onnx

SEED = 20260101
MODELS = {  # image models: arguments of ds_export, batch or tokens to feed
    "lenet": (["--channels", 1, "--height", 28, "--width", 28], 3),
    "mlp": (["--channels", 1, "--height", 28, "--width", 28], 3),
    "resnet8": ([], 3),
    "resnet20": (["--channels", 1, "--height", 28, "--width", 28], 2),
    "resnet32": ([], 1),
    "resnet56": ([], 1),
    "resnet18": (["--height", 64, "--width", 64, "--classes", 7], 2),
    "resnet50": (["--height", 64, "--width", 64], 1),
    "mobilenet_v2": (["--height", 64, "--width", 64], 2),
    "mobilenet_v3_small": (["--height", 64, "--width", 64], 2),
    "mobilenet_v3_large": (["--height", 64, "--width", 64], 1),
    "vit_tiny": ([], 2),
    "gpt_nano": (["--classes", 50, "--sequence-length", 32], 5),
    "yolo_nano": (["--height", 64, "--width", 64], 1),
}


def randomise(path, rng):
    """Running statistics of a fresh model are 0 and 1, and scales 1: give them values that matter."""
    model = onnx.load(str(path))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "BatchNormalization":
            continue
        for slot in (1, 2, 3, 4):
            tensor = tensors[node.input[slot]]
            shape = list(tensor.dims)
            low, high = (-0.2, 0.2) if slot in (2, 3) else (0.7, 1.3)
            values = rng.uniform(low, high, shape).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, str(path))


def main(program):
    rng = np.random.default_rng(SEED)
    print(f"seed {SEED}")
    report = Report()
    known = ds_export(program, "--model", "zoo:?", "--describe").stderr.split("first:")[1]
    for name in known.replace("\n", "").split(","):
        assert name.strip() in MODELS, f"zoo model {name} is not in this test"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)

        def round_trip(name, arguments, dynamic):
            first = convert(program, f"zoo:{name}", folder / "first.onnx", *arguments)
            randomise(first, rng)
            second = convert(program, first, folder / "second.onnx")
            third = convert(program, second, folder / "third.onnx")
            # From the second on nothing changes: the exporter is deterministic, the importer loses nothing.
            assert second.read_bytes() == third.read_bytes(), "a second round trip changed the file"
            feeds = random_feeds(first, rng, dynamic)
            error = largest_error(run(first, feeds), run(second, feeds))
            assert error <= TOLERANCE, f"error {error:.2e} of the range, allowed {TOLERANCE}"
            return f"{error:.1e}"

        for name, (arguments, dynamic) in MODELS.items():
            report.case(name, lambda: round_trip(name, arguments, dynamic))
        for opset in (13, 14, 16, 18, 20, 21, 22, 23, 24, 25):
            model = "mobilenet_v3_small" if opset < 17 else "vit_tiny"

            def other_opset():
                arguments = ["--height", 32, "--width", 32]
                first = convert(program, f"zoo:{model}", folder / "first.onnx", *arguments)
                second = convert(program, first, folder / "second.onnx", "--opset", opset)
                assert onnx.load(str(second)).opset_import[0].version == opset
                feeds = random_feeds(first, rng, 2)
                error = largest_error(run(first, feeds), run(second, feeds))
                assert error <= TOLERANCE, f"error {error:.2e} of the range"

            report.case(f"{model} as opset {opset}", other_opset)
    report.finish(at_least=20)


if __name__ == "__main__":
    main(sys.argv[1])

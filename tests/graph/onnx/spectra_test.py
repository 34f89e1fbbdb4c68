"""STFT as a convolution: against numpy's transform in double precision, since ONNX Runtime's own is in single precision.

    python3 spectra_test.py build/bin/ds_export
"""
import pathlib
import sys
import tempfile

from onnx_support import TOLERANCE, Report, convert, ds_export, largest_error, run
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 20261129


def transform(signal, step, window, one_sided):
    """Of [batch, length], real or complex, in double: [batch, frames, bins, 2]."""
    points = len(window)
    frames = [signal[:, at:at + points] * window for at in range(0, signal.shape[1] - points + 1, step)]
    spectra = np.fft.fft(np.stack(frames, axis=1).astype(np.complex128))
    spectra = spectra[..., :points // 2 + 1] if one_sided else spectra
    return np.stack([spectra.real, spectra.imag], axis=-1)


def model(shape, inputs, constants, nodes=(), dtype=TensorProto.FLOAT, **attributes):
    nodes = [*nodes, helper.make_node("STFT", inputs, ["y"], name="spectrum", **attributes)]
    given = [helper.make_tensor_value_info(name, kind, of) for name, kind, of in
             [("x", dtype, shape), ("n", TensorProto.INT64, [])] if any(name in node.input for node in nodes)]
    graph = helper.make_graph(nodes, "spectra", given, [helper.make_tensor_value_info("y", dtype, [None] * 4)],
                              [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main(program):
    print(f"seed {SEED}")
    rng = np.random.default_rng(SEED)
    report = Report()
    with tempfile.TemporaryDirectory() as root:
        root = pathlib.Path(root)

        def same(signal, step, points, window=None, dtype=np.float32, fixed_batch=False, tolerance=TOLERANCE, **attributes):
            """`signal`: [batch, length], [batch, length, 1] or [..., 2]."""
            one_sided = attributes.get("onesided", 1) == 1
            constants = {"step": np.int64(step), "length": np.int64(points)}
            if window is not None:
                constants["window"] = window.astype(dtype)
            inputs = ["x", "step", "window" if window is not None else "", "length" if window is None else ""]
            shape = [signal.shape[0] if fixed_batch else "batch", signal.shape[1] if fixed_batch else "length", *signal.shape[2:]]
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            onnx.save(model(shape, inputs, constants, dtype=kind, **attributes), root / "in.onnx")
            found = run(convert(program, root / "in.onnx", root / "out.onnx"), {"x": signal.astype(dtype)})
            given = signal.reshape(*signal.shape[:2], -1)
            plain = given[..., 0] + 1j * given[..., 1] if given.shape[-1] == 2 else given[..., 0]
            expected = transform(plain, step, np.ones(points) if window is None else window, one_sided)
            error = largest_error([expected.astype(dtype)], found)
            assert error < tolerance, f"off by {error:.1e} of the range"

        def signal(*shape):
            return rng.standard_normal(shape)

        hann = lambda n: np.hanning(n + 1)[:-1]  # noqa: E731
        report.case("a window, length open", lambda: same(signal(3, 300), 10, 64, hann(64), tolerance=1e-6))
        report.case("a frame length of odd points", lambda: same(signal(2, 90), 7, 25, tolerance=1e-6))
        report.case("one frame", lambda: same(signal(1, 32), 100, 32, hann(32), fixed_batch=True, tolerance=1e-6))
        report.case("an axis of one part", lambda: same(signal(2, 100, 1), 16, 32, hann(32), tolerance=1e-6))
        report.case("both sides", lambda: same(signal(2, 100, 1), 16, 32, hann(32), onesided=0, tolerance=1e-6))
        report.case("a complex signal", lambda: same(signal(2, 100, 2), 16, 32, hann(32), onesided=0, tolerance=1e-6))
        report.case("double", lambda: same(signal(2, 100), 16, 32, hann(32), np.float64, tolerance=1e-6))

        def computed_step():
            """An exporter's Cast of a constant; and nothing of it trains."""
            nodes = [helper.make_node("Cast", ["short"], ["step"], to=TensorProto.INT64)]
            onnx.save(model(["batch", "length"], ["x", "step", "window"], {"short": np.int32(8), "window": hann(16).astype(np.float32)}, nodes), root / "in.onnx")
            x = signal(2, 64)
            error = largest_error([transform(x, 8, hann(16), True).astype(np.float32)], run(convert(program, root / "in.onnx", root / "out.onnx"), {"x": x.astype(np.float32)}))
            assert error < 1e-6, error
            for file in ("in.onnx", "out.onnx"):
                described = ds_export(program, "--model", root / file, "--describe").stdout
                assert "0 values in 0 tensors train" in described, described

        def refused(words, shape, inputs, constants, **attributes):
            onnx.save(model(shape, inputs, constants, **attributes), root / "in.onnx")
            done = ds_export(program, "--model", root / "in.onnx", "--describe")
            assert done.returncode == 1 and all(word in done.stderr for word in ["spectrum", *words]), done.stderr

        flat, step, window = ["b", "l"], {"step": np.int64(4)}, {"window": np.ones(16, np.float32)}
        report.case("a step that is an input", lambda: refused(["frame_step", "constant"], flat, ["x", "n", "window"], window))
        report.case("a step of nothing", lambda: refused(["frame_step is 0"], flat, ["x", "step", "window"], {"step": np.int64(0)} | window))
        report.case("no length", lambda: refused(["frame_length"], flat, ["x", "step"], step))
        report.case("two lengths", lambda: refused(["16", "15"], flat, ["x", "step", "window", "length"], step | window | {"length": np.int64(15)}))
        report.case("too long", lambda: refused(["1000000", "4096"], flat, ["x", "step", "", "length"], step | {"length": np.int64(1000000)}))
        report.case("a window of two axes", lambda: refused(["window"], flat, ["x", "step", "window"], step | {"window": np.ones((4, 4), np.float32)}))
        report.case("one side of a complex signal", lambda: refused(["onesided"], ["b", "l", 2], ["x", "step", "window"], step | window))
        report.case("a signal of four axes", lambda: refused(["batch, length"], ["b", "l", 1, 1], ["x", "step", "window"], step | window))
        report.case("a step that is computed", computed_step)
    report.finish(at_least=16)


if __name__ == "__main__":
    main(sys.argv[1])

"""What a quantised ONNX file computes, from its codes alone: whole numbers are multiplied and summed exactly, as an int32 accumulator
would, and each sum is brought to the next scale once, in double precision. Nothing is shared with a runtime or with the exporter.

Layers whose operands are not codes are refused: this is a reference for networks of integers. Operators: Conv, Gemm, Add,
GlobalAveragePool, MaxPool, Relu, Flatten, Reshape, and the quantisation around them.
"""
import dataclasses

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper

RANGES = {TensorProto.UINT8: (0, 255), TensorProto.INT8: (-128, 127)}
EXACT_IN_FLOAT32 = 2 ** 24


@dataclasses.dataclass
class Codes:
    """real = scale * steps, where steps are codes less their zero point. `scale`: one, or one an index along `axis`."""
    steps: np.ndarray
    scale: np.ndarray
    axis: int

    @property
    def real(self):
        shape = [1] * self.steps.ndim
        if self.scale.size > 1:
            shape[self.axis] = -1
        return self.steps.astype(np.float64) * self.scale.astype(np.float64).reshape(shape if self.steps.ndim else ())


def real(value):
    return value.real if isinstance(value, Codes) else value


def exact_product(rows, columns):
    """rows @ columns of whole numbers, exactly: in float32 where no partial sum can leave its 24 bits, else in float64 (53 bits)."""
    largest = np.abs(columns).sum(0).max(initial=0) * np.abs(rows).max(initial=0)
    kind = np.float32 if largest < EXACT_IN_FLOAT32 else np.float64
    return (rows.astype(kind) @ columns.astype(kind)).astype(np.float64)


def convolve(steps, weights, strides, pads, group):
    top, left, bottom, right = pads
    steps = np.pad(steps, ((0, 0), (0, 0), (top, bottom), (left, right)))
    outputs, inputs, height, width = weights.shape
    windows = sliding_window_view(steps, (height, width), (2, 3))[:, :, ::strides[0], ::strides[1]]
    count, rows, columns = windows.shape[0], windows.shape[2], windows.shape[3]
    parts = []
    for g in range(group):
        taken = windows[:, g * inputs:(g + 1) * inputs].transpose(0, 2, 3, 1, 4, 5).reshape(-1, inputs * height * width)
        kernel = weights[g * (outputs // group):(g + 1) * (outputs // group)].reshape(outputs // group, -1).T
        parts.append(exact_product(taken, kernel))
    return np.concatenate(parts, 1).reshape(count, rows, columns, outputs).transpose(0, 3, 1, 2)


class IntegerReference:
    def __init__(self, model):
        self.model = model
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        # int4 and int2 arrive in types of their own; as int32 they can be computed with.
        self.constants = {n: v if v.dtype.kind == "f" else v.astype(np.int64) for n, v in self.constants.items()}
        self.kinds = {t.name: t.data_type for t in model.graph.initializer}

    def run(self, feeds, watched=(), given=None):
        """(outputs, watched values), by name. `given`: codes to go on with in place of those computed, which are returned all the same:
        so every layer is seen with the codes that a runtime had before it."""
        self.values = dict(self.constants) | feeds
        seen = {}
        for node in self.model.graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            inputs = [self.values[name] if name else None for name in node.input]
            if node.op_type == "QuantizeLinear":
                attributes["kind"] = self.kinds[node.input[2]]
            result = getattr(self, node.op_type)(attributes, *inputs)
            name = node.output[0]
            if name in watched:
                seen[name] = result
                result = given[name].astype(np.int64) if given else result
            self.values[name] = result
        return {o.name: real(self.values[o.name]) for o in self.model.graph.output if o.name in self.values}, seen

    def QuantizeLinear(self, attributes, x, scale, zero_point):
        x = real(x)
        # The network's input is divided in float32, as ONNX defines it; a sum of codes has no float32 form to start from.
        quotient = x / (scale if x.dtype == np.float32 else scale.astype(np.float64))
        return np.clip(np.rint(quotient) + zero_point, *RANGES[attributes["kind"]]).astype(np.int64)

    def DequantizeLinear(self, attributes, codes, scale, zero_point=np.int64(0)):
        assert not attributes.get("block_size"), "scales for groups have no integer form"
        axis = attributes.get("axis", 1)
        shape = [-1 if i == axis else 1 for i in range(codes.ndim)]
        return Codes(codes - (zero_point.reshape(shape) if zero_point.size > 1 else zero_point.reshape(())), np.asarray(scale), axis)

    def Cast(self, attributes, x):
        return x

    def Clip(self, attributes, x, low, high):
        return np.clip(x, low, high)

    def Mul(self, attributes, a, b):
        return a * b

    def Conv(self, attributes, x, w, bias=None):
        kernel = w.steps.shape[2:]
        pads = attributes.get("pads", [0] * 4)
        assert attributes.get("dilations", [1, 1]) == [1, 1] and len(kernel) == 2
        sums = convolve(x.steps, w.steps, attributes.get("strides", [1, 1]), pads, attributes.get("group", 1))
        return self.scaled(sums, x, w, bias, (1, -1, 1, 1))

    def Gemm(self, attributes, x, w, bias=None):
        columns = w.steps.T if attributes.get("transB") else w.steps
        return self.scaled(exact_product(x.steps, columns), x, w, bias, (1, -1))

    def scaled(self, sums, x, w, bias, shape):
        if isinstance(bias, Codes):
            sums = sums + bias.steps.reshape(shape)
        assert np.abs(sums).max(initial=0) < 2 ** 31, "a sum leaves int32"
        scale = np.atleast_1d(x.scale.astype(np.float64) * w.scale.astype(np.float64))
        result = sums * (scale.reshape(shape) if scale.size > 1 else scale.reshape(()))
        return result if bias is None or isinstance(bias, Codes) else result + bias.reshape(shape).astype(np.float64)

    def Add(self, attributes, a, b):
        return real(a) + real(b)

    def GlobalAveragePool(self, attributes, x):
        return x.steps.sum((2, 3), keepdims=True) / np.prod(x.steps.shape[2:]) * x.scale.astype(np.float64)

    def Relu(self, attributes, x):
        return np.maximum(real(x), 0)

    def Flatten(self, attributes, x):
        return self.moved(x, lambda v: v.reshape(v.shape[0], -1))

    def Reshape(self, attributes, x, shape):
        return self.moved(x, lambda v: v.reshape([v.shape[i] if n == 0 else n for i, n in enumerate(shape)]))

    def moved(self, x, move):
        return Codes(move(x.steps), x.scale, x.axis) if isinstance(x, Codes) else move(x)

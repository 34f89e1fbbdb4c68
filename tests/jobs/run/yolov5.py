"""A detector as ultralytics exports YOLOv5: CSP blocks, SiLU, SPPF, nearest upsampling, three heads and their decode; random weights."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ANCHORS = np.array([[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]], np.float32).reshape(3, 3, 2)
STRIDES = [8, 16, 32]


class Network:
    def __init__(self, height, width, classes, channels, seed):
        self.nodes, self.initializers, self.random = [], [], np.random.default_rng(seed)
        self.size, self.classes, self.heads = (height, width), classes, []
        self.counts = {"images": 3}
        self.body(channels)

    def constant(self, values, kind=np.float32):
        name = f"constant{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def op(self, kind, inputs, outputs=1, **attributes):
        names = [f"{kind.lower()}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"/{kind}_{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def plain_conv(self, x, outputs, kernel, stride, pad, gain):
        inputs = self.counts[x]
        weight = self.random.normal(0, gain / np.sqrt(inputs * kernel * kernel), (outputs, inputs, kernel, kernel))
        y = self.op("Conv", [x, self.constant(weight), self.constant(self.random.normal(0, 0.3, outputs))], kernel_shape=[kernel] * 2,
                    strides=[stride] * 2, pads=[pad] * 4)
        self.counts[y] = outputs
        return y

    def conv(self, x, outputs, kernel=1, stride=1, pad=None):
        y = self.plain_conv(x, outputs, kernel, stride, kernel // 2 if pad is None else pad, 1.5)
        z = self.op("Mul", [y, self.op("Sigmoid", [y])])
        self.counts[z] = outputs
        return z

    def join(self, *parts):
        y = self.op("Concat", list(parts), axis=1)
        self.counts[y] = sum(self.counts[part] for part in parts)
        return y

    def c3(self, x, outputs, blocks=1, shortcut=True):
        half = outputs // 2
        y = self.conv(x, half)
        for _ in range(blocks):
            z = self.conv(self.conv(y, half), half, 3)
            y = self.op("Add", [y, z]) if shortcut else z
            self.counts[y] = half
        return self.conv(self.join(y, self.conv(x, half)), outputs)

    def sppf(self, x, outputs):
        parts = [self.conv(x, outputs // 2)]
        for _ in range(3):
            parts.append(self.op("MaxPool", [parts[-1]], kernel_shape=[5, 5], pads=[2] * 4, strides=[1, 1]))
            self.counts[parts[-1]] = self.counts[parts[0]]
        return self.conv(self.join(*parts), outputs)

    def up(self, x):
        y = self.op("Resize", [x, "", self.constant([1, 1, 2, 2])], mode="nearest", nearest_mode="floor",
                    coordinate_transformation_mode="asymmetric")
        self.counts[y] = self.counts[x]
        return y

    def body(self, c):
        x = self.c3(self.conv(self.conv("images", c[0], 6, 2, 2), c[1], 3, 2), c[1])
        p3 = self.c3(self.conv(x, c[2], 3, 2), c[2], 2)
        p4 = self.c3(self.conv(p3, c[3], 3, 2), c[3], 3)
        p5 = self.conv(self.sppf(self.c3(self.conv(p4, c[4], 3, 2), c[4]), c[4]), c[3])
        mid = self.conv(self.c3(self.join(self.up(p5), p4), c[3], shortcut=False), c[2])
        small = self.c3(self.join(self.up(mid), p3), c[2], shortcut=False)
        medium = self.c3(self.join(self.conv(small, c[2], 3, 2), mid), c[3], shortcut=False)
        large = self.c3(self.join(self.conv(medium, c[3], 3, 2), p5), c[4], shortcut=False)
        self.heads = [self.plain_conv(x, 3 * (5 + self.classes), 1, 1, 0, 5) for x in (small, medium, large)]

    def by_cell(self, head, stride):
        height, width = self.size[0] // stride, self.size[1] // stride
        shape = self.constant([1, 3, 5 + self.classes, height, width], np.int64)
        return self.op("Transpose", [self.op("Reshape", [head, shape])], perm=[0, 1, 3, 4, 2])

    def decoded(self):
        outputs = []
        for head, stride, anchors in zip(self.heads, STRIDES, ANCHORS, strict=True):
            height, width = self.size[0] // stride, self.size[1] // stride
            grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1)[None, None] - np.float32(0.5)
            split = self.constant([2, 2, 1 + self.classes], np.int64)
            xy, wh, scores = self.op("Split", [self.op("Sigmoid", [self.by_cell(head, stride)]), split], 3, axis=4)
            xy = self.op("Add", [self.op("Mul", [xy, self.constant(2)]), self.constant(np.broadcast_to(grid, (1, 3, height, width, 2)))])
            xy = self.op("Mul", [xy, self.constant(stride)])
            wh = self.op("Pow", [self.op("Mul", [wh, self.constant(2)]), self.constant(2)])
            wh = self.op("Mul", [wh, self.constant(np.broadcast_to(anchors[None, :, None, None], (1, 3, height, width, 2)))])
            whole = self.op("Concat", [xy, wh, scores], axis=4)
            outputs.append(self.op("Reshape", [whole, self.constant([1, 3 * height * width, 5 + self.classes], np.int64)]))
        return [self.op("Concat", outputs, axis=1)]

    def model(self, outputs):
        """Names of nodes and of values stay as they are; `outputs` become the graph's."""
        picture = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *self.size])
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "detector", [picture], infos, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def save(path, outputs, height=96, width=96, classes=4, channels=(8, 16, 24, 32, 48), seed=1):
    """outputs: "decoded" [1, N, 5 + C], "cells" three of [1, 3, H, W, 5 + C], "heads" three of [1, 3 * (5 + C), H, W]. Returns the names of the
    nodes behind the last convolutions, which a quantiser leaves in float."""
    network = Network(height, width, classes, channels, seed)
    body = len(network.nodes)
    names = {"decoded": network.decoded, "heads": lambda: network.heads,
             "cells": lambda: [network.by_cell(head, stride) for head, stride in zip(network.heads, STRIDES, strict=True)]}[outputs]()
    onnx.save(network.model(names), path)
    return [node.name for node in network.nodes[body:]]

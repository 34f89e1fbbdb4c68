"""Cases of op_forward_test.py: recurrent layers, transposed convolutions, indexed reads and writes, Einsum, detection."""
import numpy as np


def recurrent_cases(case, rand, rng):
    steps, batch, features, hidden = 5, 3, 4, 6
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        rows, outputs = gates * hidden, 3 if op == "LSTM" else 2

        def operands(directions):
            return [rand(steps, batch, features), rand(directions, rows, features), rand(directions, rows, hidden),
                    rand(directions, 2 * rows)]

        lengths = np.array([5, 2, 3], np.int32)
        for direction in ("forward", "reverse", "bidirectional"):
            directions = 2 if direction == "bidirectional" else 1
            states = [rand(directions, batch, hidden) for _ in range(outputs - 1)]
            name = f"{op.lower()}_{direction}"
            same = dict(outputs=outputs, terms=256, direction=direction, hidden_size=hidden)
            case(name, op, operands(directions), {1, 2, 3}, **same)
            case(name + "_states", op, operands(directions) + [None, *states], {1, 2, 3}, **same)
            case(name + "_lengths", op, operands(directions) + [lengths, *states], {1, 2, 3}, **same)
        case(op.lower() + "_no_bias", op, operands(1)[:3], {1, 2}, outputs=outputs, terms=256, hidden_size=hidden)
        case(op.lower() + "_computed_weights", op, operands(1), outputs=outputs, terms=256, hidden_size=hidden)
    both = [rand(steps, batch, features), rand(2, 3 * hidden, features), rand(2, 3 * hidden, hidden), rand(2, 6 * hidden)]
    case("gru_linear_before_reset", "GRU", both, {1, 2, 3}, outputs=2, terms=256, hidden_size=hidden,
         direction="bidirectional", linear_before_reset=1)
    case("lstm_peepholes", "LSTM", [rand(steps, batch, features), rand(1, 4 * hidden, features), rand(1, 4 * hidden, hidden),
                                    rand(1, 8 * hidden), None, None, None, rand(1, 3 * hidden)], {1, 2, 3, 7}, outputs=3,
         terms=256, hidden_size=hidden)
    case("rnn_relu", "RNN", [rand(steps, batch, features), rand(2, hidden, features), rand(2, hidden, hidden)], {1, 2}, outputs=2,
         terms=256, hidden_size=hidden, direction="bidirectional", activations=["Relu", "Tanh"])


def transposed_convolution_cases(case, rand, rng):
    x, w = rand(2, 4, 5, 6), rand(4, 3, 3, 3)
    same = dict(terms=36)
    case("conv_transpose", "ConvTranspose", [x, w, rand(3)], {1, 2}, **same)
    case("conv_transpose_stride", "ConvTranspose", [x, w, rand(3)], {1, 2}, strides=[2, 3], pads=[1] * 4, **same)
    case("conv_transpose_output_padding", "ConvTranspose", [x, w], {1}, strides=[2, 2], pads=[1] * 4, output_padding=[1, 1], **same)
    case("conv_transpose_asymmetric", "ConvTranspose", [x, w, rand(3)], {1, 2}, strides=[2, 2], pads=[0, 1, 2, 0], **same)
    case("conv_transpose_padding_and_pads", "ConvTranspose", [x, w, rand(3)], {1, 2}, strides=[3, 3], pads=[1, 0, 0, 1],
         output_padding=[2, 1], **same)
    case("conv_transpose_dilated", "ConvTranspose", [x, w], {1}, dilations=[2, 1], strides=[1, 2], **same)
    case("conv_transpose_groups", "ConvTranspose", [x, w, rand(6)], {1, 2}, group=2, strides=[2, 2], **same)
    case("conv_transpose_depthwise", "ConvTranspose", [x, rand(4, 1, 2, 2)], {1}, group=4, strides=[2, 2], **same)
    for mode in ("NOTSET", "SAME_UPPER", "SAME_LOWER"):
        case(f"conv_transpose_shape_{mode.lower()}", "ConvTranspose", [x, w, rand(3)], {1, 2}, strides=[2, 3], auto_pad=mode,
             output_shape=[10, 18], **same)
    for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        case(f"conv_transpose_{mode.lower()}", "ConvTranspose", [x, w, rand(3)], {1, 2}, strides=[2, 3], auto_pad=mode, **same)
    case("conv_transpose_1d", "ConvTranspose", [rand(2, 3, 7), rand(3, 5, 4), rand(5)], {1, 2}, strides=[2], pads=[1, 2], **same)
    case("conv_transpose_3d", "ConvTranspose", [rand(1, 2, 3, 4, 3), rand(2, 3, 2, 3, 2)], {1}, strides=[2, 1, 2],
         pads=[0, 1, 0, 1, 0, 0], **same)
    case("conv_transpose_computed_weight", "ConvTranspose", [x, w], strides=[2, 2], **same)


def index_cases(case, rand, rng):
    x = rand(3, 4, 5)
    case("gather_nd", "GatherND", [x, np.array([[0, 1], [2, -1], [-3, 0]])])
    case("gather_nd_elements", "GatherND", [x, np.array([[[0, 1, 2]], [[2, 3, 4]]])], {1})
    case("gather_nd_batch", "GatherND", [x, rng.integers(0, 4, (3, 2, 1))], batch_dims=1)
    case("gather_nd_two_batch_axes", "GatherND", [x, rng.integers(-5, 5, (3, 4, 1))], batch_dims=2)
    for axis in (0, 1, -1):
        case(f"gather_elements_{axis}", "GatherElements", [x, rng.integers(-3, 3, (2, 4, 3))], axis=axis)
        index = np.stack([np.stack([rng.permutation(3) for _ in range(3)], -1) for _ in range(3)])  # no element twice
        index = np.moveaxis(index, 1, axis)
        case(f"scatter_elements_{axis}", "ScatterElements", [x, index, rand(3, 3, 3)], axis=axis)
    case("scatter_nd", "ScatterND", [x, np.array([[1], [-1]]), rand(2, 4, 5)])
    case("scatter_nd_pairs", "ScatterND", [x, np.array([[1, 2], [-1, 0]]), rand(2, 5)], {1})
    case("scatter_nd_ints", "ScatterND", [np.arange(6), np.array([[1], [3]]), np.array([9, 8])])
    for reduction in ("add", "mul", "max", "min"):
        twice = np.array([[1, 2], [-1, 0], [1, 2]])
        case(f"scatter_nd_{reduction}", "ScatterND", [x, twice, rand(3, 5)], terms=4, opset=18, reduction=reduction)
        case(f"scatter_elements_{reduction}", "ScatterElements", [x, rng.integers(-3, 3, (3, 4, 5)), rand(3, 4, 5)], terms=8,
             opset=18, reduction=reduction, axis=0)


def einsum_cases(case, rand, rng):
    for i, (equation, *shapes) in enumerate([
            ("ij,jk->ik", (3, 4), (4, 5)), ("bij, bjk -> bik", (2, 3, 4), (2, 4, 5)), ("ij,jk", (3, 4), (4, 5)),
            ("...ij,...jk->...ik", (2, 1, 3, 4), (2, 5, 4, 2)), ("ii->i", (4, 4)), ("ij->", (3, 4)), ("bhid,bhjd->bhij", (2, 3, 4, 5), (2, 3, 6, 5)),
            ("i,j->ij", (3,), (4,)), ("ba", (3, 4)), ("bn,anm,bm->ba", (2, 3), (4, 3, 5), (2, 5)), ("...i->...", (2, 3, 4))]):
        case(f"einsum_{i}", "Einsum", [rand(*shape) for shape in shapes], terms=64, equation=equation)


def detection_cases(case, rand, rng):
    corners = rng.uniform(0, 8, (2, 30, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + rng.uniform(1, 5, (2, 30, 2)).astype(np.float32)], -1)
    scores = rng.random((2, 3, 30)).astype(np.float32)
    limits = [np.array([7], np.int64), np.array([0.4], np.float32), np.array([0.3], np.float32)]
    case("nms", "NonMaxSuppression", [boxes, scores, *limits], {2, 3, 4})
    case("nms_flipped", "NonMaxSuppression", [boxes[..., [2, 1, 0, 3]].copy(), scores, *limits], {2, 3, 4})
    case("nms_no_score", "NonMaxSuppression", [boxes, scores, *limits[:2]], {2, 3})
    case("nms_center", "NonMaxSuppression", [np.abs(boxes), scores, *limits], {2, 3, 4}, center_point_box=1)
    case("nms_computed", "NonMaxSuppression", [boxes, scores, *limits])
    x = rand(2, 3, 9, 11)
    regions = np.array([[0, 0, 20, 14], [3.3, 2.1, 9, 17.2], [-4, -3, 5, 6], [18, 15, 30, 22], [5, 5, 5.2, 5.1]], np.float32)
    of = np.array([0, 1, 1, 0, 1])
    for mode in ("half_pixel", "output_half_pixel"):
        for ratio in (0, 2):
            case(f"roi_align_{mode}_{ratio}", "RoiAlign", [x, regions, of], terms=256, output_height=3, output_width=4, sampling_ratio=ratio,
                 spatial_scale=0.5, coordinate_transformation_mode=mode)


def add(case, rand, rng):
    for group in (recurrent_cases, transposed_convolution_cases, index_cases, einsum_cases, detection_cases):
        group(case, rand, rng)

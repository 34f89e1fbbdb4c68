"""Cases of op_forward_test.py for the operators that fewer networks have."""
import numpy as np
from onnx import TensorProto


def function_cases(case, rand, ints, rng):
    """The elementwise operators that few networks have, and operators of several operands."""
    x = rand(3, 5, 7, low=-4, high=4)
    for op in ("Softplus", "Softsign", "Mish", "Elu", "Selu", "Celu", "ThresholdedRelu", "Shrink", "Round", "Floor", "Ceil", "Sign",
               "Sin", "Cos", "Atan", "Sinh", "Cosh", "Asinh"):
        case(op.lower(), op, [x], terms=16, opset=18 if op == "Mish" else 17)
    case("tan", "Tan", [rand(3, 5, low=-1.2, high=1.2)], terms=16)
    for op in ("Asin", "Acos", "Atanh"):
        case(op.lower(), op, [rand(3, 5, low=-0.9, high=0.9)], terms=16)
    case("acosh", "Acosh", [rand(3, 5, low=1.1, high=4)], terms=16)
    case("elu_alpha", "Elu", [x], terms=8, alpha=0.3)
    case("selu_attributes", "Selu", [x], terms=8, alpha=2.0, gamma=0.7)
    case("celu_alpha", "Celu", [x], terms=8, alpha=0.4)
    case("shrink_soft", "Shrink", [x], bias=0.4, lambd=1.5)
    case("round_ties", "Round", [np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)])
    case("prelu", "PRelu", [x, rand(5, 1)], {1})
    case("prelu_computed", "PRelu", [x, rand(3, 5, 7)])
    for axis in (-1, 1):
        case(f"hardmax_{axis}", "Hardmax", [rng.integers(0, 3, (3, 4, 5)).astype(np.float32)], axis=axis)
    for op in ("Less", "Greater", "LessOrEqual", "GreaterOrEqual"):
        case(op.lower(), op, [rng.integers(0, 3, (4, 5)), rng.integers(0, 3, (5,))])
        case(op.lower() + "_float", op, [x, rand(5, 1)])
    a, b = rng.random((4, 5)) < 0.5, rng.random((5,)) < 0.5
    for op in ("And", "Or", "Xor"):
        case(op.lower(), op, [a, b])
    case("not", "Not", [a])
    for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        case(op.lower(), op, [rng.integers(-99, 99, (4, 5)), rng.integers(-99, 99, (5,))], opset=18)
    case("bitwisenot", "BitwiseNot", [rng.integers(-99, 99, (4, 5))], opset=18)
    for op in ("Max", "Min", "Sum", "Mean"):
        case(op.lower(), op, [x, rand(5, 1), rand(7)], terms=3)
        case(op.lower() + "_one", op, [x])
    for op in ("Max", "Min"):
        case(op.lower() + "_ints", op, [rng.integers(-9, 9, (4, 5)), rng.integers(-9, 9, (5,))])
    numbers, divisors = rng.integers(-50, 50, (6, 8)), np.array([3, -3, 7, -7, 1, 2, -5, 9])
    case("mod", "Mod", [numbers, divisors])
    case("mod_fmod_ints", "Mod", [numbers, divisors], fmod=1)
    case("mod_fmod", "Mod", [x, rand(7, low=0.5, high=2)], terms=8, fmod=1)
    odd = np.array([1, np.nan, np.inf, -np.inf, 0], np.float32)
    case("isnan", "IsNaN", [odd])
    for negative, positive in ((1, 1), (0, 1), (1, 0)):
        case(f"isinf_{negative}{positive}", "IsInf", [odd], opset=20, detect_negative=negative, detect_positive=positive)


def reduction_cases(case, rand, ints, rng):
    x, positive = rand(3, 4, 5), rand(3, 4, 5, low=0.2, high=2)
    for op in ("ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"):
        data = positive if op == "ReduceLogSum" else x
        case(op.lower(), op, [data], terms=80, axes=[-1, 0])
        case(op.lower() + "_flat", op, [data], terms=80, axes=[1], keepdims=0)
        case(op.lower() + "_all", op, [data], terms=80)
        case(op.lower() + "_computed", op, [data, ints(1)], terms=80, opset=18)
    for op in ("ReduceMax", "ReduceMin", "ReduceSum"):
        axes = dict() if op == "ReduceSum" else dict(axes=[1])
        case(op.lower() + "_ints", op, [rng.integers(-50, 50, (3, 4))] + ([ints(1)] if op == "ReduceSum" else []), **axes)
    ties = rng.integers(0, 3, (4, 9, 2)).astype(np.float32)
    for op in ("ArgMax", "ArgMin"):
        for last in (0, 1):
            case(f"{op.lower()}_{last}", op, [ties], axis=1, select_last_index=last)
        case(op.lower() + "_flat", op, [ties], axis=-1, keepdims=0)
    for largest in (0, 1):
        case(f"topk_{largest}", "TopK", [ties, ints(4)], {1}, outputs=2, axis=1, largest=largest)
    case("topk_computed", "TopK", [rand(3, 8), ints(3)], outputs=2)
    for exclusive in (0, 1):
        for reverse in (0, 1):
            case(f"cumsum_{exclusive}{reverse}", "CumSum", [x, np.int64(-2)], {1}, terms=8, exclusive=exclusive, reverse=reverse)
    case("cumsum_ints", "CumSum", [rng.integers(-9, 9, (3, 7)), np.int64(1)], {1})


def normalization_cases(case, rand, ints, rng):
    x = rand(2, 6, 5, 4)
    scale, bias = rand(6), rand(6)
    case("instance_norm", "InstanceNormalization", [x, scale, bias], {1, 2}, terms=40, epsilon=1e-3)
    case("instance_norm_1d", "InstanceNormalization", [rand(3, 6, 11), scale, bias], {1, 2}, terms=40)
    for groups in (1, 3, 6):
        case(f"group_norm_{groups}", "GroupNormalization", [x, scale, bias], {1, 2}, terms=80, opset=21, num_groups=groups)
    for p in (1, 2):
        case(f"lp_normalization_{p}", "LpNormalization", [x], terms=8, axis=1, p=p)
    case("mean_variance", "MeanVarianceNormalization", [x], terms=80)
    case("mean_variance_axes", "MeanVarianceNormalization", [x], terms=80, axes=[1, -1])
    for size in (1, 3, 5):
        case(f"lrn_{size}", "LRN", [x], terms=16, size=size, alpha=0.02, beta=0.6, bias=1.2)
    case("layer_norm_statistics", "LayerNormalization", [x, rand(4), rand(4)], {1, 2}, outputs=3, terms=24)
    image = rand(2, 3, 9, 10)
    case("average_pool_dilated", "AveragePool", [image], terms=16, opset=19, kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 0, 2, 1])
    case("average_pool_dilated_count", "AveragePool", [image], terms=16, opset=19, kernel_shape=[3, 3], dilations=[2, 2], strides=[2, 1],
         pads=[2] * 4, count_include_pad=1, ceil_mode=1)
    for op in ("MaxPool", "AveragePool"):
        case(op.lower() + "_3d", op, [rand(1, 2, 6, 7, 5)], terms=32, kernel_shape=[2, 3, 2], strides=[2, 1, 2], pads=[1, 0, 0, 0, 1, 1])
    for p in (1, 2, 3):
        case(f"lp_pool_{p}", "LpPool", [image], terms=16, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, p=p)
    for order in (0, 1):
        case(f"max_pool_indices_{order}", "MaxPool", [image], outputs=2, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 1],
             storage_order=order)
    case("max_pool_indices_3d", "MaxPool", [rand(2, 2, 4, 5, 6)], outputs=2, kernel_shape=[2, 2, 2], strides=[2, 1, 2])
    case("global_max_pool", "GlobalMaxPool", [image])
    case("global_lp_pool", "GlobalLpPool", [image], terms=90)


def arrangement_cases(case, rand, ints, rng):
    image = rand(2, 12, 4, 6)
    for mode in ("DCR", "CRD"):
        case("depth_to_space_" + mode.lower(), "DepthToSpace", [image], blocksize=2, mode=mode)
    case("space_to_depth", "SpaceToDepth", [image], blocksize=2)
    grid = rand(2, 5, 7, 2, low=-1.3, high=1.3)
    for mode in ("linear", "nearest", "cubic"):
        for padding in ("zeros", "border", "reflection"):
            for align in (0, 1):
                case(f"grid_sample_{mode}_{padding}_{align}", "GridSample", [image, grid], terms=64, opset=20, mode=mode,
                     padding_mode=padding, align_corners=align)
    case("grid_sample_3d", "GridSample", [rand(1, 2, 3, 4, 5), rand(1, 2, 3, 2, 3, low=-1, high=1)], terms=32, opset=20)
    for upper in (0, 1):
        for k in (-7, -1, 0, 2):
            case(f"trilu_{upper}_{k}", "Trilu", [rand(2, 4, 5), np.int64(k)], {1}, upper=upper)
    case("size", "Size", [image])
    case("eye_like", "EyeLike", [rand(3, 5)], k=1)
    case("eye_like_int", "EyeLike", [rand(4, 3)], k=-1, dtype=TensorProto.INT64)
    case("non_zero", "NonZero", [rng.integers(0, 2, (3, 4, 2))])
    for axis in (-1, 0, 1):
        case(f"one_hot_{axis}", "OneHot", [rng.integers(-5, 5, (3, 4)), np.int64(5), np.array([-1, 2], np.float32)], {1}, axis=axis)
    small = rand(1, 2, 5, 7)
    for mode in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
        for scale in (2.0, 0.6, 1.7):
            scales = np.array([1, 1, scale, scale], np.float32)
            for outside in (0, 1):
                case(f"resize_cubic_{mode}_{scale}_{outside}", "Resize", [small, None, scales], {2}, terms=64, mode="cubic",
                     coordinate_transformation_mode=mode, exclude_outside=outside, cubic_coeff_a=-0.5)
    for mode in ("linear", "cubic"):
        for sizes in ((1, 2, 3, 4), (1, 2, 9, 11), (1, 2, 2, 9)):
            case(f"resize_antialias_{mode}_{sizes[2]}_{sizes[3]}", "Resize", [small, None, None, ints(*sizes)], {3}, terms=200, mode=mode,
                 opset=18, antialias=1)
    for policy in ("not_larger", "not_smaller"):
        case("resize_" + policy, "Resize", [small, None, None, ints(8, 9)], {3}, terms=24, mode="linear", opset=18, axes=[2, 3],
             keep_aspect_ratio_policy=policy)
    roi = np.array([0, 0, 0.2, -0.1, 1, 1, 0.7, 1.2], np.float32)
    for mode in ("nearest", "linear", "cubic"):
        case("resize_crop_" + mode, "Resize", [small, roi, None, ints(1, 2, 6, 5)], {1, 3}, terms=64, mode=mode,
             coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=7.0)
    case("resize_symmetric", "Resize", [small, None, np.array([1, 1, 0.6, 0.7], np.float32)], {2}, terms=24, mode="linear", opset=19,
         coordinate_transformation_mode="half_pixel_symmetric")
    case("resize_computed", "Resize", [small, None, None, ints(1, 2, 8, 3)], terms=24, mode="linear")
    case("pad_wrap", "Pad", [small, ints(0, 1, 2, 3, 0, 0, 9, 1)], {1}, opset=19, mode="wrap")
    case("pad_computed", "Pad", [small, ints(2, 3, 0, 1), np.float32(2), ints(3, 2)], opset=18)
    case("unsqueeze_computed", "Unsqueeze", [rand(3, 2), ints(0, -1)])
    case("squeeze_computed", "Squeeze", [rand(1, 3, 1, 2), ints(0, 2)])
    case("split_computed", "Split", [small, ints(1, 4)], outputs=2, axis=2)
    case("slice_axes_computed", "Slice", [small, ints(1, -4), ints(9, -1), ints(2, 3)])
    for kind in (np.uint8, np.int8, np.int16, np.uint16, np.uint32, np.uint64, np.float64):
        name = np.dtype(kind).name
        case("expand_" + name, "Expand", [np.arange(3).astype(kind).reshape(3, 1), ints(1, 2)], {1})
        case("tile_" + name, "Tile", [np.arange(6).astype(kind).reshape(2, 3), ints(2, 1)], {1})
        if kind != np.float64:
            big = np.array([0, 1, np.iinfo(kind).max, 7, np.iinfo(kind).min], kind)
            for op in ("Add", "Sub", "Mul"):
                case(f"{op.lower()}_{name}", op, [big, np.array([1, 2, 3, 1, 1], kind)])
            case("clip_" + name, "Clip", [np.arange(9).astype(kind), kind(2), kind(5)], {1, 2})


def add_cases(case, rand, ints, rng):
    for add in (function_cases, reduction_cases, normalization_cases, arrangement_cases):
        add(case, rand, ints, rng)

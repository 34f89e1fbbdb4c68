"""INT8 files of timm's networks for rivals that read no ONNX: NAME.pte for ExecuTorch (XNNPACK's quantiser), NAME.tflite for LiteRT (AI Edge's).

    PYTHON bench/engine/peer_files.py FOLDER NAME [NAME ...] [--size 224] [--only pte|tflite]

PYTHON has torch and timm, and executorch and torchao, or litert_torch and ai_edge_quantizer. Weights are random: these files are for time, not for what
they compute. Activations and weights have 8 bits, weights a scale a channel, ranges are of two random pictures. Batch 1.
"""
import argparse
import pathlib

import timm
import torch


def pte(model, sample, path):
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
    from executorch.exir import to_edge_transform_and_lower
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(torch.export.export(model, sample).module(), quantizer)
    for _ in range(2):
        prepared(torch.randn_like(sample[0]))
    exported = torch.export.export(convert_pt2e(prepared), sample)
    program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    path.write_bytes(program.buffer)


def tflite(model, sample, path):
    import litert_torch
    from ai_edge_quantizer import quantizer, recipe
    floats = path.with_suffix(".float.tflite")
    litert_torch.convert(model, sample).export(str(floats))
    made = quantizer.Quantizer(str(floats))
    made.load_quantization_recipe(recipe.static_wi8_ai8())
    signature, inputs = next(iter(made_signatures(floats).items()))
    ranges = made.calibrate({signature: [{inputs[0]: torch.randn_like(sample[0]).numpy()} for _ in range(2)]})
    path.unlink(missing_ok=True)
    made.quantize(ranges).export_model(str(path))


def made_signatures(path):
    """The inputs' names of each signature."""
    from ai_edge_litert.interpreter import Interpreter
    return {name: ports["inputs"] for name, ports in Interpreter(model_path=str(path)).get_signature_list().items()}


def spread_norms(model):
    """timm's residual branches begin with scales of zero, and converters then leave whole convolutions out."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--only", choices=["pte", "tflite"])
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.names:
        torch.manual_seed(0)
        model = timm.create_model(name, exportable=True).eval()
        spread_norms(model)
        sample = (torch.randn(1, 3, args.size, args.size),)
        for ending, make in (("pte", pte), ("tflite", tflite)):
            if args.only in (None, ending):
                make(model, sample, args.folder / f"{name}.{ending}")
                print(args.folder / f"{name}.{ending}", flush=True)


if __name__ == "__main__":
    main()

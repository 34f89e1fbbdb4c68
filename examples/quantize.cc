// Quantises a network that takes pictures of 1x28x28 (train.cc writes one): weights of 4 bits,
// activations of 8, ranges calibrated on drawn pictures. The result is an ONNX file that ONNX
// Runtime computes with integers.
//
//   quantize MODEL.onnx OUTPUT.onnx
#include <cstdio>
#include <iostream>
#include <string>

#include "base/status.h"
#include "data/loader.h"
#include "data/sets/open_dataset.h"
#include "deploy/onnx_exporter.h"
#include "executor/graph_module.h"
#include "graph/onnx/onnx.h"
#include "quant/torch/quantizer.h"

namespace {

// Collects over the loader's current epoch: batches of images [N, C, H, W].
ds::CalibrationData BatchesOf(ds::DataLoader& loader) {
  return [&loader]() -> absl::StatusOr<std::optional<std::vector<at::Tensor>>> {
    DS_ASSIGN_OR_RETURN(std::optional<ds::Batch> batch, loader.Next());
    if (!batch.has_value()) return std::nullopt;
    return std::vector<at::Tensor>{ds::ToTorch(batch->inputs[0].values)};
  };
}

absl::Status Quantize(const std::string& model, const std::string& output) {
  DS_ASSIGN_OR_RETURN(ds::Graph graph, ds::ImportOnnx(model));
  DS_ASSIGN_OR_RETURN(auto data, ds::OpenDataset({.type = "synthetic",
                                                  .channels = 1,
                                                  .height = 28,
                                                  .width = 28,
                                                  .classes = 4,
                                                  .size = 256}));
  DS_ASSIGN_OR_RETURN(auto loader,
                      ds::DataLoader::Create(data, {.batch_size = 32, .channels_last = false}));
  DS_RETURN_IF_ERROR(loader->StartEpoch(0));

  ds::Quantizer quantizer(std::move(graph), {.bits = 4});
  DS_ASSIGN_OR_RETURN(ds::QuantizedModel quantized,
                      quantizer.calibrate(BatchesOf(*loader)).convert());
  for (const ds::LayerReport& layer : quantized.layers) {
    std::printf("%-24s %d bits, %.1f dB\n", layer.node.c_str(), layer.weight_bits,
                layer.weight_snr_db);
  }
  return ds::OnnxExporter().Export(quantized.graph, quantized.plan, output).status();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: quantize MODEL.onnx OUTPUT.onnx\n";
    return 2;
  }
  const absl::Status status = Quantize(argv[1], argv[2]);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}

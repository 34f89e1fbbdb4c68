// ds_quantize: makes an integer model for ONNX Runtime from a float ONNX file and calibration data.
#include <cstdio>
#include <string>
#include <vector>

#include "ATen/Parallel.h"
#include "CLI/CLI.hpp"
#include "base/log.h"
#include "trainer/config/reader.h"
#include "trainer/quantize_job.h"

namespace {

constexpr int kBadInput = 1;

struct Arguments {
  std::string data;
  std::vector<std::string> overrides;
  int threads = 0;
  ds::QuantizeJobOptions job;
};

void Declare(CLI::App& app, Arguments& arguments) {
  ds::QuantizerOptions& quantizer = arguments.job.quantizer;
  app.add_option("--model", arguments.job.model, "float ONNX file, for instance a run's model.onnx")->required();
  app.add_option("--data", arguments.data, "YAML whose data section says what to calibrate and test on, for instance a run's config.yaml")
      ->required();
  app.add_option("--output", arguments.job.output, "ONNX file to write; the report goes beside it as .json")->required();
  app.add_option("overrides", arguments.overrides, "key.path=value of the YAML, e.g. data.path=DIR");
  const auto bits = [&app](const char* flag, int& field, const char* what) {
    app.add_option(flag, field, what)->check(CLI::Range(2, 8))->capture_default_str();
  };
  bits("--bits", quantizer.bits, "of weights");
  bits("--activation-bits", quantizer.activation_bits, "of activations");
  bits("--end-bits", quantizer.end_bits, "of the first and the last layer, if that is more");
  app.add_option("--method", quantizer.method, "how activations' ranges are chosen")
      ->check(CLI::IsMember({"auto", "min-max", "moving-average", "percentile", "mse", "kl"}))
      ->capture_default_str();
  app.add_option("--group", quantizer.group, "Gemm and MatMul: weights that share a scale along the input; 0: an output's all")
      ->check(CLI::IsMember({0, 32, 64, 128}))
      ->capture_default_str();
  app.add_option("--samples", arguments.job.samples, "images of the training split to calibrate on")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--bias-correction,!--no-bias-correction", quantizer.bias_correction, "take out what rounding adds on average");
  app.add_flag("--equalize", quantizer.equalization, "scale channels between layers to equal ranges first");
  app.add_option("--repair", quantizer.reconstruction.method, "learn each weight's rounding on calibration data")
      ->check(CLI::IsMember({"none", "adaround", "qdrop"}))
      ->capture_default_str();
  app.add_option("--threads", arguments.threads, "0: all cores")->check(CLI::NonNegativeNumber);
}

absl::Status Run(const Arguments& arguments) {
  if (arguments.threads > 0) at::set_num_threads(arguments.threads);
  auto config = ds::ReadTrainConfig(arguments.data, arguments.overrides);
  if (!config.ok()) return config.status();
  return ds::RunQuantizeJob(*std::move(config), arguments.job).status();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Quantises a model: 2 to 8 bits, calibrated, for ONNX Runtime.");
  Arguments arguments;
  Declare(app, arguments);
  CLI11_PARSE(app, argc, argv);
  ds::SetUpLog(ds::LogLevel::kInfo, -1);
  const absl::Status status = Run(arguments);
  if (status.ok()) return 0;
  std::fprintf(stderr, "ds_quantize: %s\n", std::string(status.message()).c_str());
  return kBadInput;
}

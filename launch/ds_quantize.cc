// ds_quantize: makes an integer model for ONNX Runtime or TensorRT from a float ONNX file and
// calibration data, which needs no labels, or random inputs (--data random).
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "jobs/config/train_schema.h"
#include "jobs/quantize/quantize_job.h"
#include "launch/model_job.h"
#include "launch/word_flag.h"

namespace {

// As --data, instead of a file.
constexpr char kRandom[] = "random";
// Random samples to calibrate on, where --samples does not say how many: more tell nothing new.
constexpr int64_t kRandomSamples = 32;

struct Arguments {
  ds::DataFlags yaml;
  std::string bits, activation_bits;  // a number, or auto
  std::vector<std::string> bits_of;
  bool direct_weights = false;
  bool tight = false;
  std::vector<std::string> input_shapes;
  bool samples_given = false;
  ds::QuantizeJobOptions job;
};

void Declare(CLI::App& app, Arguments& arguments) {
  ds::QuantizerOptions& quantizer = arguments.job.quantizer.options;
  ds::AddModelJobFlags(app, "calibrate and test", ".json and .html", arguments.job, arguments.yaml);
  const auto bits = [&app](const char* flag, int& field, const char* what) {
    app.add_option(flag, field, what)->check(CLI::Range(2, 8))->capture_default_str();
  };
  arguments.bits = absl::StrCat(quantizer.bits);
  arguments.activation_bits = absl::StrCat(quantizer.activation_bits);
  const std::vector<std::string> widths = {"2", "3", "4", "5", "6", "7", "8", "auto"};
  app.add_option("--bits", arguments.bits, "of weights; auto: each layer's own, under a budget")
      ->check(CLI::IsMember(widths))
      ->capture_default_str();
  CLI::Option* size =
      app.add_option("--size-budget", quantizer.mixed_bits.size_budget,
                     "--bits auto: bytes of the weights, as a share of theirs in fp32")
          ->check(CLI::Range(0.0, 1.0));
  app.add_option("--accuracy-budget", quantizer.mixed_bits.accuracy_budget,
                 "for auto: points of accuracy that may go, on held-out training images")
      ->check(CLI::Range(0.0, 100.0))
      ->excludes(size);
  app.add_flag("--tight", arguments.tight,
               "--bits auto: count 3 bits as 3, not as the 4 that they take up in the file");
  app.add_option("--held-out", arguments.job.held_out,
                 "images of the training split to measure an accuracy budget on")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--activation-bits", arguments.activation_bits,
                 "of activations; auto: 4 or 8, each its own, under an accuracy budget")
      ->check(CLI::IsMember(widths))
      ->capture_default_str();
  bits("--end-bits", quantizer.end_bits,
       "of the first and the last layer, if that is more; with --bits auto their least");
  bits("--sum-bits", quantizer.sum_bits,
       "of activations that only additions read (a residual branch's result), if that is more");
  app.add_option("--bits-of", arguments.bits_of,
                 "NAME=BITS of a weight or an activation, as the report names it, instead of all "
                 "these; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--method", quantizer.method, "how activations' ranges are chosen")
      ->check(CLI::IsMember(ds::RangeMethods()))
      ->capture_default_str();
  app.add_option("--group", quantizer.group,
                 "Gemm and MatMul: weights that share a scale along the input; 0: an output's all")
      ->check(CLI::IsMember({0, 32, 64, 128}))
      ->capture_default_str();
  app.add_flag("--weights-only", quantizer.weights_only,
               "integers for the weights of Gemm and MatMul alone, in blocks of 32 unless --group "
               "says otherwise: language models");
  ds::AddWordFlag(app, "--profile", arguments.job.qdq.profile, ds::QdqProfileWords(),
                  "the runtime the file is for");
  app.add_flag("--direct-weights", arguments.direct_weights,
               "weights of 2 to 4 bits without the Cast to int8 that ONNX Runtime folds (int4 runs "
               "in float there, int2 does not load)");
  app.add_option("--samples", arguments.job.quantizer.samples,
                 "images of the training split to calibrate on")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--block-classifier,!--no-block-classifier", quantizer.block_classifier,
               "with weights of at most 4 bits a large last layer has as many, in blocks of 32, "
               "where the error allows");
  app.add_flag("--bias-correction,!--no-bias-correction", quantizer.bias_correction,
               "take out what rounding adds on average");
  app.add_option(
         "--least-snr", quantizer.least_snr_db,
         "dB of signal to noise that each output keeps on the calibration data with 8 bits: "
         "values to blame for less stay float; 0: none do")
      ->check(CLI::Range(0.0, 60.0))
      ->capture_default_str();
  quantizer.slow_layers_float = true;
  app.add_flag("--slow-layers-float,!--no-slow-layers-float", quantizer.slow_layers_float,
               "with 8 bits, layers that integers would make slower (small products between large "
               "conversions) stay float");
  app.add_flag("--equalize{on},--no-equalize{off}", quantizer.equalization,
               "scale channels between layers to equal ranges first; by default where depthwise "
               "convolutions' channels are far apart and it helps");
  app.add_option("--repair", quantizer.reconstruction.method,
                 "choose each weight's rounding on calibration data; auto: adaround where weights "
                 "or activations have at most 4 bits, else gptq where the outputs gain by it")
      ->check(CLI::IsMember({"auto", "none", "gptq", "adaround", "qdrop"}))
      ->capture_default_str();
}

void DeclareChecks(CLI::App& app, Arguments& arguments) {
  app.add_option("--input-shape", arguments.input_shapes,
                 "--data random: NAME=AxBxC, the extents of one sample of an input, for those that "
                 "the file leaves open (224 for the sides of pictures, else 16); may be repeated")
      ->allow_extra_args(false);
  app.add_flag("--verify", arguments.job.verify,
               "run the written file in ONNX Runtime too, if this Python has it, and fail where "
               "its results are further from the float model than they should be");
  app.add_option("--python", arguments.job.runtime.python, "--verify: the Python with onnxruntime")
      ->capture_default_str();
}

// Takes --input-shape into the options.
absl::Status ResolveShapes(Arguments& arguments) {
  for (const std::string& given : arguments.input_shapes) {
    const size_t equals = given.rfind('=');
    ds::Shape shape;
    bool good = equals != std::string::npos && equals > 0;
    for (const absl::string_view extent :
         absl::StrSplit(good ? given.substr(equals + 1) : "", 'x')) {
      int64_t number = 0;
      good = good && absl::SimpleAtoi(extent, &number) && number > 0;
      shape.push_back(number);
    }
    if (!good) {
      return absl::InvalidArgumentError(
          absl::StrCat("--input-shape ", given,
                       ": give NAME=AxBxC without the batch, for instance --input-shape "
                       "image=3x224x224"));
    }
    arguments.job.random_samples.shapes[given.substr(0, equals)] = shape;
  }
  if (!arguments.input_shapes.empty() && !arguments.job.random)
    return absl::InvalidArgumentError("--input-shape is for --data random");
  return absl::OkStatus();
}

// Takes --bits-of into the options.
absl::Status ResolveNamedBits(Arguments& arguments) {
  for (const std::string& given : arguments.bits_of) {
    const size_t equals = given.rfind('=');
    const std::string bits = equals == std::string::npos ? "" : given.substr(equals + 1);
    if (bits.size() != 1 || bits[0] < '2' || bits[0] > '8') {
      return absl::InvalidArgumentError(
          absl::StrCat("--bits-of ", given,
                       ": give NAME=BITS with 2 to 8 bits, for instance --bits-of conv1.weight=4"));
    }
    arguments.job.quantizer.options.named_bits[given.substr(0, equals)] = bits[0] - '0';
  }
  return absl::OkStatus();
}

// Takes --bits and --activation-bits into the options.
absl::Status ResolveBits(Arguments& arguments) {
  ds::QuantizerOptions& quantizer = arguments.job.quantizer.options;
  ds::MixedBitsOptions& mixed = quantizer.mixed_bits;
  mixed.weights = arguments.bits == "auto";
  mixed.activations = arguments.activation_bits == "auto";
  const bool chosen = mixed.weights || mixed.activations;
  const bool tensorrt = arguments.job.qdq.profile == ds::QdqProfile::kTensorRT;
  if (tensorrt && arguments.activation_bits != "8") {
    const std::string given = mixed.activations ? "4 bits or 8, as each is best with"
                                                : absl::StrCat(arguments.activation_bits, " bits");
    return absl::InvalidArgumentError(absl::StrCat("TensorRT takes activations of 8 bits, not of ",
                                                   given, ": leave --activation-bits out"));
  }
  if (mixed.activations && mixed.accuracy_budget == 0)
    return absl::InvalidArgumentError(
        "--activation-bits auto needs --accuracy-budget POINTS (a size budget is of the weights)");
  if (chosen && !mixed.wanted())
    return absl::InvalidArgumentError(
        "--bits auto needs a budget: give --size-budget SHARE or --accuracy-budget POINTS");
  if (!chosen && mixed.wanted()) {
    return absl::InvalidArgumentError(
        "a budget chooses each layer's bits: give --bits auto or --activation-bits auto with it");
  }
  if (!mixed.weights) quantizer.bits = arguments.bits[0] - '0';
  if (!mixed.activations) quantizer.activation_bits = arguments.activation_bits[0] - '0';
  if (arguments.tight) mixed.storage = ds::CodeStorage::kTight;
  return absl::OkStatus();
}

// Blocks, without a Cast: what ONNX Runtime's product by blocks of integers wants.
void ResolveWeightsOnly(Arguments& arguments) {
  constexpr int64_t kBlock = 32;
  ds::QuantizerOptions& quantizer = arguments.job.quantizer.options;
  if (!quantizer.weights_only) return;
  arguments.direct_weights = true;
  if (quantizer.group == 0) quantizer.group = kBlock;
}

absl::Status Run(Arguments arguments) {
  if (absl::Status status = ResolveBits(arguments); !status.ok()) return status;
  if (absl::Status status = ResolveNamedBits(arguments); !status.ok()) return status;
  arguments.job.random = arguments.yaml.file == kRandom;
  if (absl::Status status = ResolveShapes(arguments); !status.ok()) return status;
  if (arguments.job.random) {
    if (!arguments.yaml.overrides.empty())
      return absl::InvalidArgumentError("--data random reads no YAML: leave the overrides out");
    if (!arguments.samples_given) arguments.job.quantizer.samples = kRandomSamples;
    return ds::RunQuantizeJob({}, arguments.job).status();
  }
  auto config = ds::ReadTrainConfig(arguments.yaml.file,
                                    ds::OverridesFor(arguments.yaml, arguments.job.model));
  if (!config.ok()) return config.status();
  return ds::RunQuantizeJob(*std::move(config), arguments.job).status();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Quantises a model: 2 to 8 bits, calibrated, for ONNX Runtime or TensorRT.");
  Arguments arguments;
  Declare(app, arguments);
  DeclareChecks(app, arguments);
  CLI11_PARSE(app, argc, argv);
  ResolveWeightsOnly(arguments);
  arguments.samples_given = app.count("--samples") > 0;
  if (arguments.direct_weights) arguments.job.qdq.small_weights = ds::SmallWeights::kDirect;
  arguments.job.quantizer.options.symmetric_activations =
      arguments.job.qdq.profile == ds::QdqProfile::kTensorRT;
  ds::SetUpLog(ds::LogLevel::kInfo, -1);
  return ds::ExitCode("ds_quantize", Run(arguments));
}

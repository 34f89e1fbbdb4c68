#include "comm/tuning/auto_bits.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/knapsack.h"
#include "base/status.h"

namespace ds {
namespace {

constexpr size_t kBlock = 8192;  // values measured at once: a multiple of every codec bucket
// Combinations that a decision in the middle of training may look at: some tens of milliseconds.
constexpr int64_t kMostStates = 1 << 18;

}  // namespace

absl::StatusOr<std::unique_ptr<AutoBits>> AutoBits::Create(const AutoBitsOptions& options) {
  if (options.codec.kind != CodecKind::kUniform)
    return absl::InvalidArgumentError("automatic bits need a uniform codec");
  const auto reference =
      std::find(options.candidates.begin(), options.candidates.end(), options.reference_bits);
  if (reference == options.candidates.end() ||
      !std::is_sorted(options.candidates.begin(), options.candidates.end())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the candidates for bits must ascend and contain the reference, ", options.reference_bits));
  }
  std::vector<std::shared_ptr<const Codec>> codecs;
  for (const int bits : options.candidates) {
    CodecOptions codec = options.codec;
    codec.bits = bits;
    codec.rotate = codec.rotate && bits <= 3;
    DS_ASSIGN_OR_RETURN(std::unique_ptr<Codec> made, Codec::Create(codec));
    codecs.push_back(std::move(made));
  }
  const size_t index = static_cast<size_t>(reference - options.candidates.begin());
  return std::unique_ptr<AutoBits>(new AutoBits(options, std::move(codecs), index));
}

void AutoBits::Measure(absl::Span<const GradientSegment> segments, const CodecNoise& noise) {
  std::vector<std::byte> encoded;
  std::vector<float> decoded;
  for (const GradientSegment& segment : segments) {
    if (segment.codec == nullptr) continue;
    Measured& measured = measured_[segment.name];
    measured.errors.resize(codecs_.size());
    measured.bytes.resize(codecs_.size());
    for (size_t begin = 0; begin < segment.values.size(); begin += kBlock) {
      const absl::Span<const float> block =
          segment.values.subspan(begin, std::min(kBlock, segment.values.size() - begin));
      CodecNoise at = noise;
      at.tensor = segment.id();
      at.first_element = segment.first_element + static_cast<int64_t>(begin);
      decoded.resize(block.size());
      for (size_t c = 0; c < codecs_.size(); ++c) {
        encoded.resize(
            static_cast<size_t>(codecs_[c]->EncodedSize(static_cast<int64_t>(block.size()))));
        codecs_[c]->Encode(block, at, absl::MakeSpan(encoded));
        if (!codecs_[c]->Decode(encoded, at, absl::MakeSpan(decoded)).ok())
          continue;  // our own bytes: it cannot fail
        double error = 0;
        for (size_t i = 0; i < block.size(); ++i) {
          const double lost = static_cast<double>(block[i]) - decoded[i];
          error += lost * lost;
        }
        measured.errors[c] += error;
        measured.bytes[c] += static_cast<int64_t>(encoded.size());
      }
    }
  }
}

absl::StatusOr<std::map<std::string, std::shared_ptr<const Codec>>> AutoBits::Decide(
    Communicator& communicator) {
  const std::map<std::string, Measured> measured = std::exchange(measured_, {});
  std::vector<double> errors;
  for (const auto& [name, tensor] : measured)
    errors.insert(errors.end(), tensor.errors.begin(), tensor.errors.end());
  // In rank order: the same bits, and so the same decision, everywhere.
  DS_RETURN_IF_ERROR(
      communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(errors)), ReduceOp::kSum));
  if (std::any_of(errors.begin(), errors.end(),
                  [](double error) { return !std::isfinite(error); })) {
    return std::map<std::string, std::shared_ptr<const Codec>>();
  }
  std::vector<std::vector<KnapsackItem>> layers;
  double budget = 0;
  auto error = errors.cbegin();
  for (const auto& [name, tensor] : measured) {
    std::vector<KnapsackItem>& choices = layers.emplace_back();
    for (const int64_t bytes : tensor.bytes)
      choices.push_back({.weight = *error++, .cost = static_cast<double>(bytes)});
    budget += choices[reference_].weight;
  }
  DS_ASSIGN_OR_RETURN(const Packing packing, SolveKnapsack(layers, budget, kMostStates));
  std::map<std::string, std::shared_ptr<const Codec>> codecs;
  size_t layer = 0;
  for (const auto& [name, tensor] : measured) {
    codecs[name] = codecs_[static_cast<size_t>(packing.chosen[layer])];
    ++layer;
  }
  return codecs;
}

}  // namespace ds

// A site's update: floats to integers, block by block.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/update/model_state.h"

namespace ds::federated {
namespace {

constexpr int64_t kChunk = kRotationBlock;
constexpr int kLanes = 16;  // sums that a loop keeps apart, so that it becomes vectors
// Scaled values are cut to this: what is lost of the residual was far beyond any sense, and a
// rotation of it stays finite.
constexpr float kReach = 0x1p20f;
// The most that a block's residual may be, as a root mean square in the scale's units. Rounding
// leaves less; more is left where the scale is far too small, as at first. Sites that sent all of
// it a round later, with an update that was made without it, would go the same way twice.
constexpr double kMostResidual = 2;
constexpr uint64_t kRoundingTensor = 0x726f756e64696e67;  // "rounding"

double SumOfSquares(const float* values, int64_t count) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += values[i + lane] * values[i + lane];
  double sum = 0;
  for (; i < count; ++i) sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  for (const float lane : lanes) sum += static_cast<double>(lane);
  return sum;
}

// In double: a norm that has to be held exactly.
double ExactSumOfSquares(absl::Span<const float> values) {
  double lanes[kLanes] = {};
  for (size_t i = 0; i < values.size(); ++i) {
    const double value = static_cast<double>(values[i]);
    lanes[i % kLanes] += value * value;
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

// NaN and infinity are told by the exponent alone.
bool AllFinite(const float* values, int64_t count) {
  uint32_t greatest = 0;
  for (int64_t i = 0; i < count; ++i)
    greatest = std::max(greatest, lowbit::Bits(values[i]) & lowbit::kMagnitudeMask);
  return greatest < lowbit::kInfinityBits;
}

absl::Status CheckFinite(const ModelLayout& layout, absl::Span<const float> values,
                         absl::string_view what) {
  size_t at = 0;
  while (at < values.size()) {
    for (const ModelSlot& slot : layout.slots) {
      if (!AllFinite(values.data() + at, slot.count)) {
        return absl::InvalidArgumentError(
            absl::StrCat("the ", what, " of '", slot.name,
                         "' holds a NaN or an infinity: training diverged; lower its learning "
                         "rate, and keep the update from being sent"));
      }
      at += static_cast<size_t>(slot.count);
    }
  }
  return absl::OkStatus();
}

class Encoder {
 public:
  Encoder(const ModelState& state, const UpdatePlan& plan, absl::Span<const float> delta,
          absl::Span<const float> residual, uint64_t noise_key, std::vector<float>* new_residual)
      : state_(state),
        plan_(plan),
        delta_(delta),
        residual_(residual),
        scales_(state.scales.back()),
        noise_(lowbit::MakeNoiseStream(noise_key, static_cast<uint64_t>(state.version),
                                       kRoundingTensor, 0, lowbit::NoiseUse::kRounding)),
        new_residual_(new_residual),
        squares_(scales_.size()),
        counts_(scales_.size()),
        values_(plan.update_bits, plan.shape.values()) {}

  IntegerVector Run(float factor, const SiteMetrics& metrics, int64_t weight) {
    factor_ = factor;
    Coordinates();
    Statistics();
    for (const DigitSection& section : plan_.shape.sections) Numbers(section, metrics, weight);
    return std::move(values_);
  }
  // The L2 norm of the coordinates' levels from the centre, exactly; mid-tread.
  double norm() const { return std::sqrt(static_cast<double>(norm_squared_)); }

 private:
  bool feedback() const { return new_residual_ != nullptr; }

  // `scaled` = the update and its residual in units of the slot's scale.
  void Scale(const federated::Run& run, int64_t from, int64_t count, float* scaled) {
    const float* delta = delta_.data() + from;
    const float factor = run.control ? 1.0f : factor_;
    const float inverse = 1.0f / scales_[static_cast<size_t>(run.scale)];
    if (residual_.empty()) {
      for (int64_t i = 0; i < count; ++i) scaled[i] = delta[i] * factor * inverse;
    } else {
      const float* residual = residual_.data() + from;
      for (int64_t i = 0; i < count; ++i) scaled[i] = (delta[i] * factor + residual[i]) * inverse;
    }
    for (int64_t i = 0; i < count; ++i) {
      const float value = scaled[i] < kReach ? scaled[i] : kReach;
      scaled[i] = value > -kReach ? value : -kReach;
    }
    squares_[static_cast<size_t>(run.scale)] += SumOfSquares(scaled, count);
    counts_[static_cast<size_t>(run.scale)] += count;
  }

  void Quantize(const Grid& grid, absl::Span<const float> scaled, int64_t first, int32_t* levels) {
    if (feedback()) {
      QuantizeNearest(grid, scaled, levels);
    } else {
      QuantizeStochastic(grid, scaled, noise_, first, levels);
    }
  }

  // What the levels leave over of `scaled`, in place.
  static void Remain(const Grid& grid, const int32_t* levels, absl::Span<float> scaled) {
    float said[kChunk];
    Dequantize(grid, levels, absl::MakeSpan(said, scaled.size()));
    for (size_t i = 0; i < scaled.size(); ++i) scaled[i] -= said[i];
  }

  // What a block's residual is multiplied by.
  static float ResidualFactor(absl::Span<const float> left) {
    const auto count = static_cast<double>(left.size());
    const double squares = SumOfSquares(left.data(), static_cast<int64_t>(left.size()));
    const double most = kMostResidual * kMostResidual * count;
    return squares > most ? static_cast<float>(std::sqrt(most / squares)) : 1.0f;
  }

  void Keep(const federated::Run& run, int64_t from, int64_t count, float factor,
            const float* left) {
    const float scale = scales_[static_cast<size_t>(run.scale)] * factor;
    float* to = new_residual_->data() + from;
    for (int64_t i = 0; i < count; ++i) to[i] = left[i] * scale;
  }

  void StoreLevels(const int32_t* levels, int64_t first, int64_t count) {
    std::byte* to = values_.bytes().data() + first * values_.width();
    if (values_.width() == 1) {
      for (int64_t i = 0; i < count; ++i) to[i] = static_cast<std::byte>(levels[i]);
    } else if (values_.width() == 2) {
      uint16_t* words = reinterpret_cast<uint16_t*>(to);
      for (int64_t i = 0; i < count; ++i) words[i] = static_cast<uint16_t>(levels[i]);
    } else {
      std::memcpy(to, levels, static_cast<size_t>(count) * sizeof(levels[0]));
    }
  }

  void AddToNorm(const int32_t* levels, int64_t count) {
    if (!plan_.noise.any()) return;
    const int64_t centre = plan_.grid.twice_centre() / 2;
    for (int64_t i = 0; i < count; ++i)
      norm_squared_ += (levels[i] - centre) * (levels[i] - centre);
  }

  void Coordinates() {
    const Rotation rotation(state_.options.seed, state_.version, plan_.block);
    const int64_t chunk = plan_.block > 1 ? plan_.block : kChunk;
    RunCursor forth(plan_.coordinates), back(plan_.coordinates);
    alignas(64) float scaled[kChunk];
    alignas(64) int32_t levels[kChunk];
    for (int64_t first = 0; first < plan_.shape.coordinates; first += chunk) {
      const int64_t count = std::min(chunk, plan_.shape.coordinates - first);
      const absl::Span<float> block(scaled, static_cast<size_t>(count));
      std::fill(block.begin(), block.end(), 0.0f);
      forth.ForPieces(first, count,
                      [&](const federated::Run& run, int64_t from, int64_t offset, int64_t n) {
                        Scale(run, from, n, scaled + offset);
                      });
      rotation.Forth(block, first);
      Quantize(plan_.grid, block, first, levels);
      StoreLevels(levels, first, count);
      AddToNorm(levels, count);
      if (!feedback()) continue;
      Remain(plan_.grid, levels, block);
      const float factor = ResidualFactor(block);
      rotation.Back(block, first);
      back.ForPieces(first, count,
                     [&](const federated::Run& run, int64_t from, int64_t offset, int64_t n) {
                       // The mean of the sites' variates must be the server's in the end.
                       Keep(run, from, n, run.control ? 1.0f : factor, scaled + offset);
                     });
    }
  }

  void Statistics() {
    const DigitSection* section = plan_.shape.Find(DigitRole::kStatistic);
    if (section == nullptr) return;
    RunCursor cursor(plan_.statistics);
    float scaled[kChunk];
    int32_t levels[kChunk];
    for (int64_t first = 0; first < section->count; first += kChunk) {
      const int64_t count = std::min(kChunk, section->count - first);
      cursor.ForPieces(
          first, count, [&](const federated::Run& run, int64_t from, int64_t offset, int64_t n) {
            const absl::Span<float> piece(scaled, static_cast<size_t>(n));
            Scale(run, from, n, scaled);
            Quantize(plan_.statistic_grid, piece, plan_.shape.coordinates + first + offset, levels);
            for (int64_t i = 0; i < n; ++i)
              WriteNumber(levels[i], plan_.shape, *section, first + offset + i, values_);
            if (!feedback()) return;
            Remain(plan_.statistic_grid, levels, piece);
            Keep(run, from, n, /*factor=*/1, scaled);
          });
    }
  }

  // The mean square of a slot's values, in its scale's units.
  int64_t MeanSquare(size_t scale) const {
    constexpr double kMost = 4294967295.0;
    if (counts_[scale] == 0) return static_cast<int64_t>(1 / kScaleUnit);  // nothing to say
    const double units = squares_[scale] / static_cast<double>(counts_[scale]) / kScaleUnit;
    return static_cast<int64_t>(units < kMost ? std::nearbyint(units) : kMost);
  }

  void Numbers(const DigitSection& section, const SiteMetrics& metrics, int64_t weight) {
    const auto write = [&](int64_t index, int64_t number) {
      WriteNumber(number, plan_.shape, section, index, values_);
    };
    const auto fixed_point = [](double loss) {
      constexpr double kMost = 4294967295.0;
      const double units = loss / kLossUnit;
      // A NaN is as bad as can be.
      return static_cast<int64_t>(units < kMost ? std::nearbyint(std::max(units, 0.0)) : kMost);
    };
    if (section.role == DigitRole::kWeight) {
      write(0, weight);
    } else if (section.role == DigitRole::kScale) {
      for (size_t scale = 0; scale < scales_.size(); ++scale)
        write(static_cast<int64_t>(scale), MeanSquare(scale));
    } else if (section.role == DigitRole::kMetric) {
      write(0, metrics.samples);
      write(1, metrics.evaluated);
      write(2, metrics.correct);
      write(3, fixed_point(metrics.train_loss));
      write(4, fixed_point(metrics.evaluation_loss));
    }
  }

  const ModelState& state_;
  const UpdatePlan& plan_;
  const absl::Span<const float> delta_, residual_;
  const std::vector<float>& scales_;
  const lowbit::NoiseStream noise_;
  std::vector<float>* const new_residual_;
  float factor_ = 1;
  int64_t norm_squared_ = 0;
  std::vector<double> squares_;  // a scale, of the scaled values
  std::vector<int64_t> counts_;
  IntegerVector values_;
};

absl::Status CheckArguments(const ModelState& state, const UpdatePlan& plan,
                            absl::Span<const float> delta, const SiteMetrics& metrics,
                            absl::Span<const float> residual) {
  const size_t wanted = static_cast<size_t>(plan.delta_size);
  if (delta.size() != wanted || (!residual.empty() && residual.size() != wanted)) {
    return absl::InvalidArgumentError(absl::StrCat("an update of ", delta.size(),
                                                   " floats with a residual of ", residual.size(),
                                                   " where the model's has ", wanted));
  }
  constexpr int64_t kMost = int64_t{1} << 40;
  for (const int64_t count : {metrics.samples, metrics.evaluated, metrics.correct}) {
    if (count < 0 || count >= kMost) {
      return absl::InvalidArgumentError(
          absl::StrCat("a count of ", count, " samples is not in [0, 2^40)"));
    }
  }
  DS_RETURN_IF_ERROR(CheckFinite(state.layout, delta, "update"));
  return CheckFinite(state.layout, residual, "residual");
}

// In units of kWeightUnit: at least one, so that no sum of weights is 0.
int64_t WeightOf(const ModelState& state, const UpdatePlan& plan, int64_t samples) {
  const int64_t full = static_cast<int64_t>(1 / kWeightUnit);
  if (!plan.weighted || samples >= state.samples_reference) return full;
  const double share = static_cast<double>(samples) / static_cast<double>(state.samples_reference);
  return std::max<int64_t>(1, static_cast<int64_t>(std::nearbyint(share / kWeightUnit)));
}

// Of the update without the control variates.
double ClipFactor(const ModelState& state, absl::Span<const float> delta) {
  const double most = state.options.update.clip_norm;
  if (most <= 0) return 1;
  const double norm = std::sqrt(ExactSumOfSquares(delta.first(state.weights.size())));
  return norm > most ? most / norm : 1;
}

// Rounds until the levels' norm is what the noise was calibrated to, and adds the site's share.
absl::StatusOr<IntegerVector> EncodePrivately(const ModelState& state, const UpdatePlan& plan,
                                              absl::Span<const float> delta,
                                              const SiteMetrics& metrics, double factor,
                                              int64_t weight, uint64_t noise_key,
                                              const RandomSource& random) {
  if (plan.noise.on_sites && !random)
    return absl::FailedPreconditionError("privacy needs a source of random bytes at the site");
  constexpr int kTries = 100;
  // Tries fail with a chance of 0.6 each, independently; an update that is a little shorter would
  // pass too.
  constexpr double kShorter = 0.99;
  for (int attempt = 0; attempt < kTries; ++attempt, ++noise_key) {
    Encoder encoder(state, plan, delta, {}, noise_key, nullptr);
    IntegerVector values = encoder.Run(static_cast<float>(factor), metrics, weight);
    if (encoder.norm() <= plan.noise.sensitivity) {
      if (plan.noise.on_sites) DS_RETURN_IF_ERROR(AddSumNoise(plan, random, values));
      return values;
    }
    if (attempt >= kTries / 2) factor *= kShorter;
  }
  return absl::InternalError("no rounding of a clipped update is within its norm");
}

}  // namespace

absl::Status AddSumNoise(const UpdatePlan& plan, const RandomSource& random, IntegerVector& sum) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<NoiseSampler> sampler,
                      NoiseSampler::Create(plan.noise.plan, random));
  if (sum.bits() < plan.modulus_bits) sum = sum.Widen(plan.modulus_bits);
  int32_t noise[kChunk];
  for (int64_t first = 0; first < plan.shape.coordinates; first += kChunk) {
    const int64_t count = std::min(kChunk, plan.shape.coordinates - first);
    sampler->Fill(absl::MakeSpan(noise, static_cast<size_t>(count)));
    for (int64_t i = 0; i < count; ++i)
      sum.Set(first + i, sum.Get(first + i) + static_cast<uint32_t>(noise[i]));
  }
  return absl::OkStatus();
}

absl::StatusOr<IntegerVector> EncodeUpdate(const ModelState& state, const UpdatePlan& plan,
                                           absl::Span<const float> delta,
                                           const SiteMetrics& metrics,
                                           absl::Span<const float> residual, uint64_t noise_key,
                                           std::vector<float>* new_residual,
                                           const RandomSource& random) {
  DS_RETURN_IF_ERROR(CheckArguments(state, plan, delta, metrics, residual));
  const int64_t weight = WeightOf(state, plan, metrics.samples);
  const double factor = ClipFactor(state, delta) * static_cast<double>(weight) * kWeightUnit;
  if (plan.noise.any()) {
    if (new_residual != nullptr) new_residual->clear();
    return EncodePrivately(state, plan, delta, metrics, factor, weight, noise_key, random);
  }
  // Not in place: the old one may be its source, and must be whole if anything goes wrong.
  std::vector<float> left;
  if (state.options.update.error_feedback) {
    left.resize(delta.size());
  } else {
    residual = {};
  }
  Encoder encoder(state, plan, delta, residual, noise_key, left.empty() ? nullptr : &left);
  IntegerVector values = encoder.Run(static_cast<float>(factor), metrics, weight);
  if (new_residual != nullptr) *new_residual = std::move(left);
  return values;
}

}  // namespace ds::federated

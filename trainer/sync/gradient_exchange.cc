#include "trainer/sync/gradient_exchange.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/status.h"
#include "comm/compress/compressed_all_reduce.h"
#include "comm/tuning/cost_model.h"

namespace ds {
namespace {

std::string Reason(const CompressionDecision& decision) {
  return absl::StrFormat(
      "a bucket round takes %.2f ms in fp32 and %.2f ms compressed, on this link of %.0f Mbit/s",
      1e3 * decision.raw.seconds(), 1e3 * decision.compressed.seconds(),
      decision.link.per_byte_s > 0 ? 8e-6 / decision.link.per_byte_s : 0.0);
}

// Steps that are held back to measure the first relative error: gradients may be all zeros, or not
// finite while fp16 finds its scale, but no run is to go without overlap for that.
constexpr int kMostErrorProbes = 8;

absl::Status CheckOptions(const CompressionOptions& options) {
  if (options.decide_every < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "compression.decide_every is ", options.decide_every, "; it must be at least 1 step"));
  }
  if (options.warmup_steps < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "compression.warmup_steps is ", options.warmup_steps, "; it must not be negative"));
  }
  return absl::OkStatus();
}

// ||Q(g) - g|| / ||g|| over the segments that have a codec; below 0 if there is nothing to measure.
double RelativeError(const std::vector<GradientBucket>& buckets, uint64_t seed, uint64_t step,
                     uint64_t rank) {
  double error = 0, norm = 0;
  std::vector<std::byte> encoded;
  std::vector<float> decoded;
  for (const GradientBucket& bucket : buckets) {
    for (const GradientSegment& segment : bucket) {
      if (segment.codec == nullptr) continue;
      const CodecNoise noise = {seed, step, segment.id(), rank, segment.first_element};
      encoded.resize(static_cast<size_t>(segment.EncodedSize(segment.count())));
      decoded.resize(segment.values.size());
      segment.codec->Encode(segment.values, noise, absl::MakeSpan(encoded));
      if (!segment.codec->Decode(encoded, noise, absl::MakeSpan(decoded)).ok()) return -1;
      for (size_t i = 0; i < decoded.size(); ++i) {
        const double value = segment.values[i], difference = decoded[i] - value;
        error += difference * difference;
        norm += value * value;
      }
    }
  }
  return norm > 0 && std::isfinite(error) ? std::sqrt(error / norm) : -1;
}

}  // namespace

absl::StatusOr<std::unique_ptr<GradientExchange>> GradientExchange::Create(
    std::unique_ptr<Communicator> communicator, std::vector<GradientBucket> buckets,
    CompressionOptions options, bool overlap, int forecast_threads) {
  auto made = std::unique_ptr<GradientExchange>(
      new GradientExchange(std::move(communicator), std::move(options), overlap));
  DS_RETURN_IF_ERROR(CheckOptions(made->options_));
  made->plain_ = std::move(buckets);
  DS_ASSIGN_OR_RETURN(made->raw_,
                      CompressedAllReduce::Create(made->communicator_.get(), made->plain_, {}));
  if (made->options_.method == "auto") {
    DS_RETURN_IF_ERROR(made->ChooseMethod(made->plain_));
  } else {
    DS_RETURN_IF_ERROR(made->UseMethod(made->options_.method));
  }
  made->exchanger_ = std::make_unique<BucketExchanger>(made->communicator_.get(), made->buckets());
  if (forecast_threads > 0 && made->Foreseeable()) {
    made->forecast_ = std::make_unique<ExchangeForecast>(
        ExchangeForecastOptions{forecast_threads, made->options_.error_feedback, overlap},
        made->buckets());
  }
  return made;
}

absl::Status GradientExchange::ChooseMethod(const std::vector<GradientBucket>& buckets) {
  CompressionOptions candidate = options_;
  candidate.method = "uniform";
  DS_ASSIGN_OR_RETURN(const std::vector<GradientBucket> compressed, WithCodecs(candidate, buckets));
  DS_ASSIGN_OR_RETURN(const CompressionDecision decision,
                      DecideCompression(*communicator_, compressed, options_.error_feedback));
  reason_ = Reason(decision);
  return UseMethod(decision.compress ? "uniform" : "none");
}

absl::Status GradientExchange::UseMethod(const std::string& method) {
  options_.method = method;
  DS_ASSIGN_OR_RETURN(buckets_, WithCodecs(options_, plain_));
  compressed_ = {};
  auto_bits_.reset();
  compressed_tensors_ = 0;
  for (const GradientBucket& bucket : plain_) {
    for (const GradientSegment& segment : bucket)
      compressed_tensors_ += IsCompressed(options_, segment.name, segment.shape) ? 1 : 0;
  }
  if (method == "none") return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(compressed_, MakeCompressor(options_, buckets_, communicator_.get()));
  if (!options_.auto_bits()) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const std::shared_ptr<const Codec> codec, MakeCodec(options_, 4));
  DS_ASSIGN_OR_RETURN(auto_bits_, AutoBits::Create({.codec = codec->options()}));
  return absl::OkStatus();
}

absl::Status GradientExchange::SetCodecs(const Codecs& codecs) {
  for (GradientBucket& bucket : buckets_) {
    for (GradientSegment& segment : bucket) {
      const auto found = codecs.find(segment.name);
      if (found != codecs.end() && segment.codec != nullptr) segment.codec = found->second;
    }
  }
  return compressed_.set_codecs(codecs);
}

bool GradientExchange::DecisionIsDue() const {
  return lossy() && (step_.step - options_.warmup_steps) % options_.decide_every == 0;
}

// A measurement needs the raw gradients of all buckets, before any is exchanged. The first lossy
// step is always measured, for the report.
bool GradientExchange::ProbeIsDue() const {
  if (!lossy() || !compressed_.set_codecs || compressed_tensors_ == 0) return false;
  return (relative_error_ < 0 && error_probes_ < kMostErrorProbes) || DecisionIsDue();
}

CompressorStep GradientExchange::Round() const {
  return {.step = static_cast<uint64_t>(step_.step),
          .scale = static_cast<float>(1.0 / (communicator_->size() * step_.loss_scale)),
          .limit = kGreatestGradient};
}

void GradientExchange::Begin(const SyncStep& step) {
  step_ = step;
  if (forecasting()) forecast_->Begin(SteadySeconds());
  held_back_ = !overlap_ || ProbeIsDue() || forecasting();
  if (held_back_) return;
  GradientCompressor& compressor = lossy() ? *compressed_.compressor : *raw_;
  exchanger_->Begin(compressor, Round());
}

void GradientExchange::MarkReady(int bucket) {
  if (forecasting()) forecast_->Ready(bucket, SteadySeconds());
  if (!held_back_) exchanger_->MarkReady(bucket);
}

absl::Status GradientExchange::Probe() {
  const CodecNoise noise = {options_.seed, static_cast<uint64_t>(step_.step), 0,
                            static_cast<uint64_t>(communicator_->rank()), 0};
  if (auto_bits_ != nullptr && DecisionIsDue()) {
    for (const GradientBucket& bucket : buckets_) auto_bits_->Measure(bucket, noise);
    DS_ASSIGN_OR_RETURN(const Codecs codecs, auto_bits_->Decide(*communicator_));
    DS_RETURN_IF_ERROR(SetCodecs(codecs));
  }
  ++error_probes_;
  const double error = RelativeError(buckets_, noise.seed, noise.step, noise.rank);
  if (error >= 0) relative_error_ = error;
  return absl::OkStatus();
}

absl::StatusOr<BucketResult> GradientExchange::Finish(bool flag, absl::Span<uint8_t> marks) {
  watched_ = forecasting() && forecast_->watches();
  if (!held_back_) return exchanger_->Finish(flag, marks);
  if (!forecasting()) return FinishHeldBack(flag, marks);
  forecast_->ComputeDone(SteadySeconds());
  DS_ASSIGN_OR_RETURN(BucketResult result, FinishHeldBack(flag, marks));
  DS_RETURN_IF_ERROR(forecast_->StepDone(*communicator_, buckets_));
  return result;
}

absl::StatusOr<BucketResult> GradientExchange::FinishHeldBack(bool flag,
                                                              absl::Span<uint8_t> marks) {
  const int64_t start_us = SteadyMicros();
  if (ProbeIsDue()) DS_RETURN_IF_ERROR(Probe());
  GradientCompressor& compressor = lossy() ? *compressed_.compressor : *raw_;
  exchanger_->Begin(compressor, Round());
  for (int bucket = 0; bucket < buckets(); ++bucket) exchanger_->MarkReady(bucket);
  DS_ASSIGN_OR_RETURN(BucketResult result, exchanger_->Finish(flag, marks));
  result.exposed_us = SteadyMicros() - start_us;
  return result;
}

SyncState GradientExchange::ExportState() const {
  SyncState state = {.method = options_.method};
  if (compressed_.compressor != nullptr) state.residuals = compressed_.compressor->ExportState();
  if (auto_bits_ == nullptr) return state;
  for (const GradientBucket& bucket : buckets_) {
    for (const GradientSegment& segment : bucket) {
      if (segment.codec != nullptr) state.bits[segment.name] = segment.codec->options().bits;
    }
  }
  return state;
}

absl::Status GradientExchange::ImportState(const SyncState& state) {
  // What `auto` chose then holds for the whole run: another choice would give other bits.
  if (!reason_.empty() && !state.method.empty() && state.method != options_.method) {
    reason_ = "as when the run began";
    DS_RETURN_IF_ERROR(UseMethod(state.method));
  }
  if (compressed_.compressor == nullptr) return absl::OkStatus();
  if (auto_bits_ != nullptr) {
    Codecs codecs;
    for (const auto& [name, bits] : state.bits) {
      DS_ASSIGN_OR_RETURN(codecs[name], MakeCodec(options_, bits));
    }
    DS_RETURN_IF_ERROR(SetCodecs(codecs));
  }
  return compressed_.compressor->ImportState(state.residuals);
}

CompressionReport GradientExchange::Report() const {
  CompressionReport report = {
      .method = options_.method, .reason = reason_, .relative_error = relative_error_};
  if (options_.method == "uniform") {
    absl::StrAppend(
        &report.method, ", ",
        options_.auto_bits() ? "bits by layer" : absl::StrCat(options_.codec.bits, " bit"));
  }
  if (options_.method == "powersgd") absl::StrAppend(&report.method, ", rank ", options_.rank);
  if (options_.method != "none" && compressed_tensors_ == 0)
    absl::StrAppend(&report.method, ", no tensor compressed");
  if (options_.method != "none" && options_.error_feedback)
    absl::StrAppend(&report.method, ", error feedback");
  if (options_.method != "none" && options_.hierarchical)
    absl::StrAppend(&report.method, ", between hosts");
  if (forecast_ != nullptr && forecast_->added_s() >= 0)
    report.added_ms = 1e3 * forecast_->added_s();
  for (int bucket = 0; bucket < buckets(); ++bucket)
    report.raw_bytes_per_step += raw_->PredictedWireBytes(bucket);
  return report;
}

SyncStats StatsOf(const BucketResult& result) {
  return {.exchange_ms = static_cast<double>(result.exchange_us) / 1000.0,
          .exposed_ms = static_cast<double>(result.exposed_us) / 1000.0,
          .wire_bytes = result.wire_bytes,
          .found_inf = result.flag || result.overflowed,
          .overflowed = result.overflowed,
          .not_finite = result.not_finite};
}

void AppendSpans(const BucketResult& result, int buckets, std::vector<TraceSpan>& spans) {
  for (const BucketInterval& interval : result.intervals) {
    const bool flag = interval.bucket == buckets;
    spans.push_back({flag ? "flag" : absl::StrCat("bucket ", interval.bucket), "exchange",
                     interval.start_us, interval.end_us});
  }
}

}  // namespace ds

// The way of gradient buckets through the ranks: in fp32 or compressed, with bits chosen by
// measurement, on a communication thread. Knows memory and names, nothing of autograd.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/compress/bucket_exchanger.h"
#include "comm/tuning/auto_bits.h"
#include "trainer/sync/compression.h"
#include "trainer/sync/exchange_forecast.h"
#include "trainer/sync/gradient_synchronizer.h"

namespace ds {

class GradientExchange {
 public:
  // Takes the communicator. The buckets' memory is the caller's and outlives this. Resolves
  // `method: auto` by measuring. Collective. `forecast_threads`: compute threads of a rank, to
  // foretell what exchange adds to a step (exchange_forecast.h); 0: not wanted.
  static absl::StatusOr<std::unique_ptr<GradientExchange>> Create(
      std::unique_ptr<Communicator> communicator, std::vector<GradientBucket> buckets,
      CompressionOptions options, bool overlap, int forecast_threads = 0);

  // Starts a step. MarkReady(bucket) after it, in any order, once each; then Finish. `flag`: this
  // rank's gradients are not finite. `marks`: as of BucketExchanger::Finish.
  void Begin(const SyncStep& step);
  void MarkReady(int bucket);
  absl::StatusOr<BucketResult> Finish(bool flag, absl::Span<uint8_t> marks = {});

  // The last finished step's times count for the forecast: its exchange went after its compute.
  bool watched() const { return watched_; }
  // The last step's buckets could go while others were still being filled.
  bool overlapped() const { return !held_back_; }
  int buckets() const { return static_cast<int>(buckets_.size()); }
  SyncState ExportState() const;
  absl::Status ImportState(const SyncState& state);
  CompressionReport Report() const;

 private:
  GradientExchange(std::unique_ptr<Communicator> communicator, CompressionOptions options,
                   bool overlap)
      : communicator_(std::move(communicator)), options_(std::move(options)), overlap_(overlap) {}
  absl::Status ChooseMethod(const std::vector<GradientBucket>& buckets);
  absl::Status UseMethod(const std::string& method);
  absl::Status SetCodecs(const Codecs& codecs);
  CompressorStep Round() const;
  absl::Status Probe();
  absl::StatusOr<BucketResult> FinishHeldBack(bool flag, absl::Span<uint8_t> marks);
  // Cost model and forecast know two-shot exchanges.
  bool Foreseeable() const { return options_.method != "powersgd" && !options_.hierarchical; }
  bool forecasting() const { return forecast_ != nullptr && forecast_->holds_back(); }
  bool DecisionIsDue() const;
  bool ProbeIsDue() const;
  bool lossy() const {
    return compressed_.compressor != nullptr && step_.step >= options_.warmup_steps;
  }

  std::unique_ptr<Communicator> communicator_;
  CompressionOptions options_;
  const bool overlap_;
  std::vector<GradientBucket> plain_;    // without codecs
  std::vector<GradientBucket> buckets_;  // with the codecs in use
  std::string reason_;
  std::unique_ptr<GradientCompressor> raw_;
  MadeCompressor compressed_;  // null where nothing is compressed
  std::unique_ptr<AutoBits> auto_bits_;
  std::unique_ptr<BucketExchanger> exchanger_;
  SyncStep step_;
  std::unique_ptr<ExchangeForecast> forecast_;
  bool watched_ = false;
  bool held_back_ = false;  // this step's buckets go when Finish is called
  int compressed_tensors_ = 0;
  double relative_error_ = -1;
  int error_probes_ = 0;  // attempts so far to measure it for the first time
};

// What a round tells of itself.
SyncStats StatsOf(const BucketResult& result);
// The round's intervals on track "exchange": "bucket 0" and so on, then "flag".
void AppendSpans(const BucketResult& result, int buckets, std::vector<TraceSpan>& spans);

}  // namespace ds

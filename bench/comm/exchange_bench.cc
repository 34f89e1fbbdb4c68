#include "bench/comm/exchange_bench.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "bench/comm/codec_name.h"
#include "comm/compress/compressed_all_reduce.h"
#include "comm/exchange_collectives.h"
#include "comm/tuning/cost_model.h"

namespace ds {
namespace {

using CodecPointer = std::shared_ptr<const Codec>;

constexpr char kTensor[] = "bench";

class Bench {
 public:
  Bench(Communicator& communicator, const ExchangeBenchOptions& options, const LinearCost& link)
      : communicator_(communicator), options_(options), link_(link) {
    if (options.threads > 0) pool_ = std::make_unique<ThreadPool>(options.threads);
  }

  absl::StatusOr<ExchangeBenchRow> Run(const std::string& name, const CodecPointer& codec,
                                       int64_t values) {
    ExchangeBenchRow row = {std::string(communicator_.backend()), communicator_.size(), name,
                            values};
    memory_.resize(static_cast<size_t>(values));
    FillBenchValues(communicator_.rank(), absl::MakeSpan(memory_));
    bucket_ = {{kTensor, absl::MakeSpan(memory_), 0, codec, {}}};
    DS_RETURN_IF_ERROR(Verify(codec, row));
    DS_RETURN_IF_ERROR(Time(row));
    MeasureCodecs({bucket_}, communicator_.size(), options_.error_feedback,
                  {.coding_values = options_.model_values}, costs_);
    DS_ASSIGN_OR_RETURN(const ExchangeCost cost,
                        PredictExchange({bucket_}, communicator_.size(), link_, costs_));
    row.model_seconds = cost.seconds();
    // The slowest and the one that sends most, for all ranks.
    std::array<double, 2> times = {row.seconds, row.model_seconds};
    std::array<int64_t, 2> bytes = {row.wire_bytes, row.predicted_bytes};
    DS_RETURN_IF_ERROR(
        communicator_.AllReduce(MutableBuffer::Of(absl::MakeSpan(times)), ReduceOp::kMax));
    DS_RETURN_IF_ERROR(
        communicator_.AllReduce(MutableBuffer::Of(absl::MakeSpan(bytes)), ReduceOp::kMax));
    row.seconds = times[0];
    row.model_seconds = times[1];
    row.wire_bytes = bytes[0];
    row.predicted_bytes = bytes[1];
    return row;
  }

 private:
  float scale() const { return 1.0f / static_cast<float>(communicator_.size()); }

  absl::StatusOr<std::unique_ptr<CompressedAllReduce>> Reducer(bool error_feedback) {
    return CompressedAllReduce::Create(&communicator_, {bucket_},
                                       {.error_feedback = error_feedback,
                                        .chunk_bytes = options_.chunk_bytes,
                                        .pool = pool_.get()});
  }

  absl::Status Verify(const CodecPointer& codec, ExchangeBenchRow& row) {
    DS_ASSIGN_OR_RETURN(const std::unique_ptr<CompressedAllReduce> reducer, Reducer(false));
    reducer->BeginStep({0, scale()});
    const int64_t before = communicator_.wire_stats().bytes_sent;
    DS_RETURN_IF_ERROR(reducer->Exchange(0));
    row.wire_bytes = communicator_.wire_stats().bytes_sent - before;
    row.predicted_bytes = reducer->PredictedWireBytes(0);
    DS_ASSIGN_OR_RETURN(row.check, CheckExchange(communicator_, memory_, codec,
                                                 {.tensor = bucket_[0].id()}, scale()));
    return absl::OkStatus();
  }

  absl::Status Time(ExchangeBenchRow& row) {
    DS_ASSIGN_OR_RETURN(const std::unique_ptr<CompressedAllReduce> reducer,
                        Reducer(options_.error_feedback));
    std::vector<double> times;
    for (int repeat = 0; repeat <= options_.repeats; ++repeat) {
      reducer->BeginStep({static_cast<uint64_t>(repeat), scale()});
      DS_RETURN_IF_ERROR(communicator_.Barrier());
      const double start = SteadySeconds();
      DS_RETURN_IF_ERROR(reducer->Exchange(0));
      if (repeat > 0) times.push_back(SteadySeconds() - start);  // the first one touches the memory
      reducer->EndStep(true);
    }
    std::sort(times.begin(), times.end());
    row.seconds = times[times.size() / 2];
    return absl::OkStatus();
  }

  Communicator& communicator_;
  const ExchangeBenchOptions& options_;
  const LinearCost link_;
  CodingCosts costs_;  // of the codecs so far
  std::unique_ptr<ThreadPool> pool_;
  std::vector<float> memory_;
  GradientBucket bucket_;
};

}  // namespace

double ExchangeBenchRow::fewer_bytes() const {
  int64_t raw = 0;
  for (int r = 0; r < ranks; ++r)
    raw = std::max(raw, AllReduceWireBytes(values, sizeof(float), ranks, r));
  return wire_bytes > 0 ? static_cast<double>(raw) / static_cast<double>(wire_bytes) : 1;
}

absl::StatusOr<std::vector<ExchangeBenchRow>> RunExchangeBench(
    Communicator& communicator, const ExchangeBenchOptions& options) {
  std::vector<CodecPointer> codecs;
  for (const std::string& name : options.codecs) {
    DS_ASSIGN_OR_RETURN(CodecPointer codec, CodecByName(name, options.codec));
    codecs.push_back(std::move(codec));
  }
  const bool sizes = std::all_of(options.sizes.begin(), options.sizes.end(),
                                 [](int64_t size) { return size >= 0; });
  if (!sizes || options.repeats < 1 || options.threads < 0) {
    return absl::InvalidArgumentError("sizes and threads are not negative, repeats at least 1");
  }
  DS_ASSIGN_OR_RETURN(const LinearCost link, MeasureLink(communicator));
  Bench bench(communicator, options, link);
  std::vector<ExchangeBenchRow> rows;
  for (const int64_t size : options.sizes) {
    for (size_t c = 0; c < codecs.size(); ++c) {
      DS_ASSIGN_OR_RETURN(ExchangeBenchRow row, bench.Run(options.codecs[c], codecs[c], size));
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace ds

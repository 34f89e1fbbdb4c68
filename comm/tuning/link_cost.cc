#include "comm/tuning/link_cost.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/status.h"

namespace ds {
namespace {

// Threads that do arithmetic on memory of their own, and count it.
class Load {
 public:
  explicit Load(int threads) {
    for (int i = 0; i < threads; ++i) counts_.push_back(std::make_unique<std::atomic<int64_t>>(0));
    for (const auto& count : counts_)
      threads_.emplace_back([this, count = count.get()] { Work(*count); });
  }
  ~Load() {
    stopping_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

  // Of all threads so far, in units of its own.
  double work() const {
    int64_t sum = 0;
    for (const auto& count : counts_) sum += count->load(std::memory_order_relaxed);
    return static_cast<double>(sum);
  }

 private:
  // A usual second-level cache full: like a layer's, its data suffer where another thread comes in
  // between.
  static constexpr size_t kValues = size_t{512 << 10} / sizeof(float);

  void Work(std::atomic<int64_t>& count) const {
    std::vector<float> values(kValues, 1.0f);
    while (!stopping_.load(std::memory_order_relaxed)) {
      for (float& value : values) value = value * 0.999f + 0.001f;
      count.fetch_add(1, std::memory_order_relaxed);
    }
  }

  std::atomic<bool> stopping_ = false;
  std::vector<std::unique_ptr<std::atomic<int64_t>>> counts_;
  std::vector<std::thread> threads_;
};

// Buffers of an exchange in which this rank sends `bytes`, equally to all others.
class ProbeExchange {
 public:
  ProbeExchange(Communicator& communicator, int64_t bytes) : communicator_(communicator) {
    const int ranks = communicator.size(), me = communicator.rank();
    const size_t each = static_cast<size_t>(bytes / (ranks - 1));
    out_.resize(each);
    in_.resize(each * static_cast<size_t>(ranks));
    for (int r = 0; r < ranks; ++r) {
      const size_t size = r == me ? 0 : each;
      send_.push_back(absl::MakeConstSpan(out_).subspan(0, size));
      receive_.push_back(absl::MakeSpan(in_).subspan(static_cast<size_t>(r) * each, size));
    }
  }

  absl::Status Run(int times) {
    for (int i = 0; i < times; ++i) DS_RETURN_IF_ERROR(communicator_.Exchange(send_, receive_));
    return absl::OkStatus();
  }

 private:
  Communicator& communicator_;
  std::vector<std::byte> out_, in_;
  std::vector<absl::Span<const std::byte>> send_;
  std::vector<absl::Span<std::byte>> receive_;
};

// Seconds of one exchange, and of the load's time that it cost.
struct ExchangeTime {
  double wall_s = 0, stolen_s = 0;
};

// `load` may be null; `rate`: its work a second when nothing hinders it. `repeat_s`: more repeats
// where all take less.
absl::StatusOr<ExchangeTime> TimeExchange(Communicator& communicator, int64_t bytes, int repeats,
                                          double repeat_s, const Load* load, double rate) {
  constexpr double kMostRepeats = 64;
  ProbeExchange exchange(communicator, bytes);
  // Connections are made, memory is touched, and what a link lends to bursts is used up.
  double first = SteadySeconds();
  DS_RETURN_IF_ERROR(exchange.Run(1));
  first = SteadySeconds() - first;
  DS_RETURN_IF_ERROR(
      communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(&first, 1)), ReduceOp::kMax));
  repeats =
      std::max(repeats, static_cast<int>(std::min(kMostRepeats, repeat_s / std::max(first, 1e-6))));
  const double start = SteadySeconds(), work = load != nullptr ? load->work() : 0;
  DS_RETURN_IF_ERROR(exchange.Run(repeats));
  const double wall = SteadySeconds() - start;
  const double stolen = load != nullptr ? wall - (load->work() - work) / rate : 0;
  std::array<double, 2> sums = {wall, std::clamp(stolen, 0.0, wall)};
  DS_RETURN_IF_ERROR(
      communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(sums)), ReduceOp::kMax));
  return ExchangeTime{sums[0] / repeats, sums[1] / repeats};
}

LinearCost Line(const CostProbe& probe, double small_s, double large_s) {
  LinearCost line;
  line.per_byte_s =
      std::max(0.0, large_s - small_s) / static_cast<double>(probe.large_bytes - probe.small_bytes);
  line.each_s = std::max(0.0, small_s - static_cast<double>(probe.small_bytes) * line.per_byte_s);
  return line;
}

absl::Status CheckProbe(const CostProbe& probe) {
  if (probe.small_bytes >= 0 && probe.large_bytes > probe.small_bytes && probe.repeats >= 1 &&
      probe.small_repeats >= 1) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("a link is probed with two ascending sizes, at least once");
}

// Work a second during the probe's window.
double Rate(const Load& load, const CostProbe& probe) {
  const double start = SteadySeconds(), work = load.work();
  absl::SleepFor(absl::Seconds(probe.window_s));
  return (load.work() - work) / (SteadySeconds() - start);
}

}  // namespace

absl::StatusOr<LinearCost> MeasureLink(Communicator& communicator, const CostProbe& probe) {
  DS_RETURN_IF_ERROR(CheckProbe(probe));
  if (communicator.size() == 1) return LinearCost();
  DS_ASSIGN_OR_RETURN(const ExchangeTime small, TimeExchange(communicator, probe.small_bytes,
                                                             probe.small_repeats, 0, nullptr, 0));
  DS_ASSIGN_OR_RETURN(
      const ExchangeTime large,
      TimeExchange(communicator, probe.large_bytes, probe.repeats, probe.repeat_s, nullptr, 0));
  return Line(probe, small.wall_s, large.wall_s);
}

absl::StatusOr<SharedCost> MeasureShared(Communicator& communicator, int compute_threads,
                                         const CostProbe& probe) {
  DS_RETURN_IF_ERROR(CheckProbe(probe));
  if (compute_threads < 1)
    return absl::InvalidArgumentError(
        "exchange is measured beside one compute thread a rank at least");
  SharedCost cost;
  if (communicator.size() == 1) return cost;
  const Load compute(compute_threads);
  // All ranks' loads are busy from here on: they may share a core, its clock or memory.
  DS_RETURN_IF_ERROR(communicator.Barrier());
  const double alone = Rate(compute, probe);
  double compute_rate = alone, other_rate = alone;
  DS_RETURN_IF_ERROR(communicator.Barrier());
  {
    const Load other(1);
    DS_RETURN_IF_ERROR(communicator.Barrier());
    const double work = other.work(), start = SteadySeconds();
    compute_rate = Rate(compute, probe);
    other_rate = (other.work() - work) / (SteadySeconds() - start) * compute_threads;
    DS_RETURN_IF_ERROR(communicator.Barrier());
  }
  // The largest loss counts: AllReduce takes the maximum.
  std::array<double, 2> losses = {1 - compute_rate / alone, 1 - other_rate / alone};
  DS_RETURN_IF_ERROR(
      communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(losses)), ReduceOp::kMax));
  constexpr double kMostLoss = 0.95;  // a thread that hardly ran tells nothing
  cost.compute_rate = 1 - std::clamp(losses[0], 0.0, kMostLoss);
  cost.other_rate = 1 - std::clamp(losses[1], 0.0, kMostLoss);
  DS_ASSIGN_OR_RETURN(
      const ExchangeTime small,
      TimeExchange(communicator, probe.small_bytes, probe.small_repeats, 0, &compute, alone));
  DS_ASSIGN_OR_RETURN(const ExchangeTime large,
                      TimeExchange(communicator, probe.large_bytes, probe.repeats, probe.repeat_s,
                                   &compute, alone));
  cost.exchange = Line(probe, small.wall_s, large.wall_s);
  cost.stolen = Line(probe, small.stolen_s, large.stolen_s);
  return cost;
}

}  // namespace ds

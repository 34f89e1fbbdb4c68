#include "tests/contract/communicator_contract.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "comm/consistency.h"

namespace ds {
namespace {

// Empty, one, fewer than the ranks, primes, and above any eager limit.
constexpr int64_t kSizes[] = {0, 1, 3, 17, 1009, 65537, 400009};

class Contract {
 public:
  explicit Contract(Communicator& communicator) : comm_(communicator) {}

  std::vector<std::string> Run() {
    for (int64_t size : kSizes) {
      Sums<float>(size);
      Sums<double>(size);
      Sums<int32_t>(size);
      Sums<int64_t>(size);
      Extremes(size);
      Broadcasts(size);
      Gathers(size);
      Exchanges(size);
    }
    FloatSumsFollowRankOrder();
    BytesAreCounted();
    BadCallsAreRefused();
    DuplicatesAreIndependent();
    SplitsFormGroups();
    DifferencesAreNamed();
    Expect(comm_.Barrier(), "barrier");
    return std::move(faults_);
  }

 private:
  int ranks() const { return comm_.size(); }
  int me() const { return comm_.rank(); }

  void Expect(const absl::Status& status, const std::string& what) {
    if (!status.ok()) faults_.push_back(absl::StrCat(what, ": ", status.message()));
  }
  void Expect(bool holds, const std::string& what) {
    if (!holds) faults_.push_back(what);
  }

  // Small whole numbers: exact in every type, whatever the order.
  template <typename T>
  void Sums(int64_t size) {
    std::vector<T> values(static_cast<size_t>(size));
    for (int64_t i = 0; i < size; ++i)
      values[static_cast<size_t>(i)] = static_cast<T>((i % 101) * (me() + 1));
    Expect(comm_.AllReduce(MutableBuffer::Of(absl::MakeSpan(values)), ReduceOp::kSum), "sum");
    const int64_t factor = ranks() * (ranks() + 1) / 2;
    for (int64_t i = 0; i < size; ++i) {
      if (values[static_cast<size_t>(i)] != static_cast<T>((i % 101) * factor)) {
        return Expect(false, absl::StrCat("sum of ", size, ": wrong at ", i));
      }
    }
  }

  void Extremes(int64_t size) {
    std::vector<int32_t> high(static_cast<size_t>(size), me()), low = high;
    Expect(comm_.AllReduce(MutableBuffer::Of(absl::MakeSpan(high)), ReduceOp::kMax), "max");
    Expect(comm_.AllReduce(MutableBuffer::Of(absl::MakeSpan(low)), ReduceOp::kMin), "min");
    const auto all = [](const std::vector<int32_t>& values, int32_t wanted) {
      return std::all_of(values.begin(), values.end(),
                         [&](int32_t value) { return value == wanted; });
    };
    Expect(all(high, ranks() - 1), absl::StrCat("max of ", size));
    Expect(all(low, 0), absl::StrCat("min of ", size));
  }

  static std::byte Pattern(int64_t i, int rank) {
    return static_cast<std::byte>((i * 31 + rank * 7 + 3) & 0xff);
  }

  void Broadcasts(int64_t size) {
    for (int root : {0, ranks() - 1}) {
      std::vector<std::byte> bytes(static_cast<size_t>(size));
      if (me() == root) {
        for (int64_t i = 0; i < size; ++i) bytes[static_cast<size_t>(i)] = Pattern(i, root);
      }
      Expect(comm_.Broadcast(absl::MakeSpan(bytes), root), "broadcast");
      for (int64_t i = 0; i < size; ++i) {
        if (bytes[static_cast<size_t>(i)] != Pattern(i, root)) {
          return Expect(false,
                        absl::StrCat("broadcast of ", size, " from ", root, ": wrong at ", i));
        }
      }
    }
  }

  void Gathers(int64_t size) {
    std::vector<std::byte> mine(static_cast<size_t>(size)),
        all(mine.size() * static_cast<size_t>(ranks()));
    for (int64_t i = 0; i < size; ++i) mine[static_cast<size_t>(i)] = Pattern(i, me());
    Expect(comm_.AllGather(mine, absl::MakeSpan(all)), "all-gather");
    for (int r = 0; r < ranks(); ++r) {
      for (int64_t i = 0; i < size; ++i) {
        if (all[static_cast<size_t>(r * size + i)] != Pattern(i, r)) {
          return Expect(false,
                        absl::StrCat("all-gather of ", size, ": wrong at ", i, " of rank ", r));
        }
      }
    }
  }

  // Every pair has a size of its own: from r to s go size / (1 + r + 2 s) bytes.
  void Exchanges(int64_t size) {
    const auto pair_size = [&](int from, int to) {
      return static_cast<size_t>(size / (1 + from + 2 * to));
    };
    std::vector<std::vector<std::byte>> out(static_cast<size_t>(ranks())), in(out.size());
    std::vector<absl::Span<const std::byte>> send;
    std::vector<absl::Span<std::byte>> receive;
    for (int r = 0; r < ranks(); ++r) {
      std::vector<std::byte>& to = out[static_cast<size_t>(r)];
      to.resize(pair_size(me(), r));
      for (size_t i = 0; i < to.size(); ++i) to[i] = Pattern(static_cast<int64_t>(i) + r, me());
      in[static_cast<size_t>(r)].resize(pair_size(r, me()));
      send.push_back(to);
      receive.push_back(absl::MakeSpan(in[static_cast<size_t>(r)]));
    }
    Expect(comm_.Exchange(send, receive), "exchange");
    for (int r = 0; r < ranks(); ++r) {
      for (size_t i = 0; i < in[static_cast<size_t>(r)].size(); ++i) {
        if (in[static_cast<size_t>(r)][i] != Pattern(static_cast<int64_t>(i) + me(), r)) {
          return Expect(false, absl::StrCat("exchange of ", size, ": wrong at ", i, " from ", r));
        }
      }
    }
  }

  // Values for which the order of additions shows: the result must be the one of rank order, on
  // every rank and every time.
  void FloatSumsFollowRankOrder() {
    constexpr size_t kCount = 5003;
    std::vector<float> expected(kCount, 0), mine;
    for (int r = 0; r < ranks(); ++r) {
      CounterRandom random(99, static_cast<uint64_t>(r));
      std::vector<float> values(kCount);
      for (float& value : values)
        value = static_cast<float>(random.NextNormal()) * (r % 2 == 0 ? 1e6f : 1.0f);
      for (size_t i = 0; i < kCount; ++i)
        expected[i] = r == 0 ? values[i] : expected[i] + values[i];
      if (r == me()) mine = values;
    }
    for (int repeat = 0; repeat < 3; ++repeat) {
      std::vector<float> sum = mine;
      Expect(comm_.AllReduce(MutableBuffer::Of(absl::MakeSpan(sum)), ReduceOp::kSum),
             "ordered sum");
      Expect(std::memcmp(sum.data(), expected.data(), kCount * sizeof(float)) == 0,
             "sum is not in rank order");
    }
  }

  // Two-shot: what is not mine goes out once, then my part goes to each of the others.
  void BytesAreCounted() {
    constexpr int64_t kPerRank = 1000;
    std::vector<float> values(static_cast<size_t>(kPerRank * ranks()), 1.0f);
    const WireStats before = comm_.wire_stats();
    Expect(comm_.AllReduce(MutableBuffer::Of(absl::MakeSpan(values)), ReduceOp::kSum),
           "counted sum");
    const WireStats after = comm_.wire_stats();
    const int64_t predicted = 2 * (ranks() - 1) * kPerRank * static_cast<int64_t>(sizeof(float));
    Expect(after.bytes_sent - before.bytes_sent == predicted, "bytes sent are not the prediction");
    Expect(after.bytes_received - before.bytes_received == predicted,
           "bytes received are not the prediction");
  }

  // Refused before anything is sent, so that the group stays whole.
  void BadCallsAreRefused() {
    std::byte halves[8] = {};
    Expect(!comm_.AllReduce({halves, 4, DType::kFloat16}, ReduceOp::kSum).ok(),
           "a sum of halves was taken");
    std::vector<std::byte> bytes(3), wrong(bytes.size() * static_cast<size_t>(ranks()) + 1);
    Expect(!comm_.AllGather(bytes, absl::MakeSpan(wrong)).ok(),
           "all-gather into a wrong size was taken");
    Expect(!comm_.Broadcast(absl::MakeSpan(bytes), ranks()).ok(),
           "broadcast from nobody was taken");
    Expect(comm_.Barrier(), "barrier after bad calls");
  }

  void DuplicatesAreIndependent() {
    absl::StatusOr<std::unique_ptr<Communicator>> copy = comm_.Duplicate();
    Expect(copy.status(), "duplicate");
    if (!copy.ok()) return;
    int64_t a = me() + 1, b = 10 * (me() + 1);
    Expect((*copy)->AllReduce(MutableBuffer::Of(absl::MakeSpan(&b, 1)), ReduceOp::kSum),
           "sum on the duplicate");
    Expect(comm_.AllReduce(MutableBuffer::Of(absl::MakeSpan(&a, 1)), ReduceOp::kSum),
           "sum on the original");
    Expect(b == 10 * a && a == ranks() * (ranks() + 1) / 2, "duplicate and original disagree");
  }

  // Odd and even ranks apart, each in reverse order; then everybody but the last rank.
  void SplitsFormGroups() {
    Expect(!comm_.Split(-2, 0).ok(), "a split with a negative color was taken");
    const auto group = comm_.Split(me() % 2, -me());
    Expect(group.status(), "split");
    if (!group.ok()) return;
    std::vector<int> members;
    for (int r = ranks() - 1; r >= 0; --r) {
      if (r % 2 == me() % 2) members.push_back(r);
    }
    const auto place = std::find(members.begin(), members.end(), me()) - members.begin();
    Expect((*group)->size() == static_cast<int>(members.size()) && (*group)->rank() == place,
           "split: wrong place");
    std::vector<int32_t> gathered(members.size());
    const int32_t mine = me();
    Expect((*group)->AllGather(
               {reinterpret_cast<const std::byte*>(&mine), sizeof(mine)},
               {reinterpret_cast<std::byte*>(gathered.data()), gathered.size() * sizeof(int32_t)}),
           "gather in a part");
    Expect(std::equal(gathered.begin(), gathered.end(), members.begin()), "split: wrong members");

    const bool out = me() == ranks() - 1;
    const auto rest = comm_.Split(out ? Communicator::kNoGroup : 7, 0);
    Expect(rest.status(), "second split");
    if (!rest.ok()) return;
    Expect((*rest == nullptr) == out, "split: the rank without a group");
    int64_t sum = 1;
    if (!out)
      Expect((*rest)->AllReduce(MutableBuffer::Of(absl::MakeSpan(&sum, 1)), ReduceOp::kSum),
             "sum in a part");
    Expect(sum == (out ? 1 : ranks() - 1), "split: wrong sum");
    Expect(comm_.Barrier(), "barrier after splits");
  }

  void DifferencesAreNamed() {
    Expect(CheckSameOnAllRanks(comm_, {{"configuration", "a: 1\nb: 2\n"}}), "same lists");
    if (ranks() == 1) return;
    const std::string text = me() == ranks() - 1 ? "a: 1\nb: 3\n" : "a: 1\nb: 2\n";
    const absl::Status status =
        CheckSameOnAllRanks(comm_, {{"model", "same"}, {"configuration", text}});
    const std::string wanted =
        absl::StrCat("configuration: rank 0 has 'b: 2', rank ", ranks() - 1, " has 'b: 3'");
    Expect(std::string(status.message()).find(wanted) != std::string::npos,
           absl::StrCat("a difference is not named: ", status.message()));
  }

  Communicator& comm_;
  std::vector<std::string> faults_;
};

}  // namespace

std::vector<std::string> CheckContract(Communicator& communicator) {
  return Contract(communicator).Run();
}

}  // namespace ds

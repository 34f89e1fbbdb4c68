#include "comm/inprocess/inprocess.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/status.h"
#include "comm/exchange_collectives.h"

namespace ds {
namespace {

// What the ranks share. A slot [from][to] holds the bytes that `from` offers until `to` has copied
// them.
class Hub {
 public:
  explicit Hub(int size)
      : size_(static_cast<size_t>(size)),
        slots_(size_ * size_),
        gone_(size_, false),
        made_(size_, 0) {}

  size_t size() const { return size_; }

  absl::Status Transfer(size_t me, absl::Span<const absl::Span<const std::byte>> send,
                        absl::Span<const absl::Span<std::byte>> receive, Deadline deadline) {
    const MutexLock lock(mutex_);
    for (size_t r = 0; r < size_; ++r) {
      if (r != me) {
        Slot& slot = slots_[me * size_ + r];
        slot.bytes = send[r];
        slot.full = true;
      }
    }
    changed_.NotifyAll();
    absl::Status status;
    for (size_t r = 0; r < size_ && status.ok(); ++r) {
      if (r != me) status = Take(r, me, receive[r], deadline);
    }
    for (size_t r = 0; r < size_ && status.ok(); ++r) {
      if (r != me) status = AwaitTaken(me, r, deadline);
    }
    if (!status.ok()) {
      // The buffers are the caller's again: nobody may read them any more.
      for (size_t r = 0; r < size_; ++r) slots_[me * size_ + r].full = false;
      gone_[me] = true;
      changed_.NotifyAll();
    }
    return status;
  }

  void Leave(size_t me) {
    const MutexLock lock(mutex_);
    gone_[me] = true;
    changed_.NotifyAll();
  }

  // The hub of `color` in the k-th duplication or split: the same object for all ranks that are at
  // their k-th and give that color.
  std::shared_ptr<Hub> Child(size_t me, int color, int size) {
    const MutexLock lock(mutex_);
    const size_t generation = made_[me]++;
    if (color == Communicator::kNoGroup) return nullptr;
    std::shared_ptr<Hub>& hub = children_[{generation, color}];
    if (hub == nullptr) hub = std::make_shared<Hub>(size);
    return hub;
  }

 private:
  struct Slot {
    absl::Span<const std::byte> bytes;
    bool full = false;
  };

  absl::Status Await(size_t peer, Deadline deadline, const bool& full, bool wanted)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Patience patience(deadline);
    while (full != wanted) {
      if (gone_[peer]) {
        return absl::UnavailableError(absl::StrCat("rank ", peer, " has left the group"));
      }
      if (patience.IsOver())
        return absl::DeadlineExceededError(absl::StrCat("waited too long for rank ", peer));
      changed_.WaitUntil(mutex_, patience.NextLook());
    }
    return absl::OkStatus();
  }

  absl::Status Take(size_t from, size_t me, absl::Span<std::byte> into, Deadline deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Slot& slot = slots_[from * size_ + me];
    DS_RETURN_IF_ERROR(Await(from, deadline, slot.full, true));
    if (slot.bytes.size() != into.size()) {
      return absl::InvalidArgumentError(absl::StrCat("rank ", from, " sends ", slot.bytes.size(),
                                                     " bytes, rank ", me, " expects ",
                                                     into.size()));
    }
    if (!into.empty()) std::memcpy(into.data(), slot.bytes.data(), into.size());
    slot.full = false;
    changed_.NotifyAll();
    return absl::OkStatus();
  }

  absl::Status AwaitTaken(size_t me, size_t to, Deadline deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return Await(to, deadline, slots_[me * size_ + to].full, false);
  }

  const size_t size_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<Slot> slots_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> gone_ ABSL_GUARDED_BY(mutex_);
  // Duplications and splits of each rank so far.
  std::vector<size_t> made_ ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<size_t, int>, std::shared_ptr<Hub>> children_ ABSL_GUARDED_BY(mutex_);
};

class InProcessCommunicator final : public ExchangeCollectives {
 public:
  InProcessCommunicator(std::shared_ptr<Hub> hub, size_t rank)
      : hub_(std::move(hub)), rank_(rank) {}
  ~InProcessCommunicator() override { hub_->Leave(rank_); }

  int rank() const override { return static_cast<int>(rank_); }
  int size() const override { return static_cast<int>(hub_->size()); }
  absl::string_view backend() const override { return "inprocess"; }

  absl::StatusOr<std::unique_ptr<Communicator>> Duplicate() override {
    auto copy = std::make_unique<InProcessCommunicator>(hub_->Child(rank_, 0, size()), rank_);
    copy->set_timeout(timeout());
    return copy;
  }

 protected:
  absl::StatusOr<std::unique_ptr<Communicator>> MakeGroup(int color,
                                                          absl::Span<const int> members) override {
    const std::shared_ptr<Hub> hub = hub_->Child(rank_, color, static_cast<int>(members.size()));
    if (hub == nullptr) return nullptr;
    const auto place = std::find(members.begin(), members.end(), rank()) - members.begin();
    return std::make_unique<InProcessCommunicator>(hub, static_cast<size_t>(place));
  }

  absl::Status Transfer(absl::Span<const absl::Span<const std::byte>> send,
                        absl::Span<const absl::Span<std::byte>> receive,
                        Deadline deadline) override {
    return hub_->Transfer(rank_, send, receive, deadline);
  }

 private:
  std::shared_ptr<Hub> hub_;
  size_t rank_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> CreateInProcessGroup(int size) {
  auto hub = std::make_shared<Hub>(size);
  std::vector<std::unique_ptr<Communicator>> group;
  for (int r = 0; r < size; ++r)
    group.push_back(std::make_unique<InProcessCommunicator>(hub, static_cast<size_t>(r)));
  return group;
}

}  // namespace ds

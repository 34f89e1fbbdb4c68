#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "tests/comm/nccl/fake_world.h"

namespace ds {
namespace {

constexpr int kPolls = 2;  // before a call that is in progress is through

FakeComm* Raw(NcclComm comm) { return reinterpret_cast<FakeComm*>(comm); }
FakeStream* Raw(DeviceStream stream) { return reinterpret_cast<FakeStream*>(stream); }

using Messages = std::vector<std::shared_ptr<FakeMessage>>;

class FakeNccl final : public NcclApi {
 public:
  FakeNccl(std::shared_ptr<FakeWorld> world, int rank) : world_(std::move(world)), rank_(rank) {}

  absl::StatusOr<NcclUniqueId> MakeUniqueId() override {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "MakeUniqueId", ""));
    NcclUniqueId id = {};
    const uint64_t number = ++world_->ids;
    std::memcpy(id.data() + id.size() - sizeof(number), &number, sizeof(number));
    return id;
  }

  absl::StatusOr<NcclComm> StartInit(int size, const NcclUniqueId& id, int rank) override {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "StartInit", ""));
    std::shared_ptr<FakeGroup>& group = world_->groups[id];
    if (group == nullptr) group = std::make_shared<FakeGroup>();
    if (group->size == 0) group->size = size;
    const bool fits = rank >= 0 && rank < size && group->members.count(rank) == 0;
    if (group->size != size || !fits) world_->Violation(rank_, "joins wrongly");
    auto comm = std::make_unique<FakeComm>();
    comm->rank = rank;
    comm->device = world_->SelectedBy(rank_);
    comm->group = group;
    comm->polls_left = kPolls;
    group->members[rank] = comm.get();
    world_->comms.push_back(std::move(comm));
    return reinterpret_cast<NcclComm>(world_->comms.back().get());
  }

  absl::StatusOr<bool> Settled(NcclComm handle) override {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "Settled", ""));
    FakeComm* comm = Raw(handle);
    if (comm->gone()) world_->Violation(rank_, "polls a communicator that is gone");
    const auto error = world_->async_errors.find(rank_);
    if (error != world_->async_errors.end()) return error->second;
    if (comm->state == FakeComm::kIdle || comm->state == FakeComm::kFinalized) return true;
    if (!PeersAreThere(*comm) || --comm->polls_left > 0) return false;
    if (comm->state == FakeComm::kLaunching) comm->launch();
    comm->state = comm->state == FakeComm::kFinalizing ? FakeComm::kFinalized : FakeComm::kIdle;
    return true;
  }

  absl::Status GroupStart() override {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "GroupStart", "GroupStart"));
    if (!world_->open_groups.try_emplace(Me()).second)
      world_->Violation(rank_, "opens a group within a group");
    return absl::OkStatus();
  }

  absl::Status Send(const std::byte* from, size_t bytes, int peer, NcclComm comm,
                    DeviceStream stream) override {
    return Add("Send", true, const_cast<std::byte*>(from), bytes, peer, comm, stream);
  }

  absl::Status Receive(std::byte* into, size_t bytes, int peer, NcclComm comm,
                       DeviceStream stream) override {
    return Add("Receive", false, into, bytes, peer, comm, stream);
  }

  absl::Status GroupEnd() override {
    std::lock_guard lock(world_->mutex);
    const absl::Status fault = world_->Enter(rank_, "GroupEnd", "GroupEnd");
    const auto open = world_->open_groups.find(Me());
    if (open == world_->open_groups.end()) {
      world_->Violation(rank_, "ends a group that it did not start");
      return absl::InternalError("no group");
    }
    const FakeOpenGroup group = std::move(open->second);
    world_->open_groups.erase(open);
    DS_RETURN_IF_ERROR(fault);
    for (const auto& [comm, work] : group.messages) {
      comm->state = FakeComm::kLaunching;
      comm->polls_left = kPolls;
      comm->launch = [this, comm = comm, stream = work.first, messages = work.second] {
        world_->Enqueue(stream,
                        [world = world_.get(), comm, messages] { Move(*world, comm, messages); });
      };
    }
    return absl::OkStatus();
  }

  absl::Status Finalize(NcclComm comm) override {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "Finalize", "Finalize"));
    if (Raw(comm)->state != FakeComm::kIdle)
      world_->Violation(rank_, "finalizes a communicator in progress");
    Raw(comm)->state = FakeComm::kFinalizing;
    Raw(comm)->polls_left = kPolls;
    return absl::OkStatus();
  }

  absl::Status Destroy(NcclComm comm) override {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "Destroy", "Destroy"));
    if (Raw(comm)->state != FakeComm::kFinalized)
      world_->Violation(rank_, "destroys a communicator that is not finalized");
    Raw(comm)->state = FakeComm::kDestroyed;
    return absl::OkStatus();
  }

  absl::Status Abort(NcclComm comm) override {
    std::unique_lock lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "Abort", "Abort"));
    if (Raw(comm)->gone()) world_->Violation(rank_, "aborts a communicator that is gone");
    if (Raw(comm)->device != world_->SelectedBy(rank_))
      world_->Violation(rank_, "aborts with another device selected");
    world_->changed.wait(lock, [&] { return world_->over || !world_->aborts_hang[rank_]; });
    Raw(comm)->state = FakeComm::kAborted;
    world_->changed.notify_all();
    return absl::OkStatus();
  }

 private:
  std::pair<int, std::thread::id> Me() const { return {rank_, std::this_thread::get_id()}; }

  bool PeersAreThere(const FakeComm& comm) const {
    if (comm.state == FakeComm::kJoining)
      return static_cast<int>(comm.group->members.size()) == comm.group->size;
    if (comm.state != FakeComm::kFinalizing) return true;
    for (const auto& [rank, peer] : comm.group->members) {
      if (peer->state < FakeComm::kFinalizing) return false;
    }
    return true;
  }

  absl::Status Add(const char* function, bool send, std::byte* memory, size_t bytes, int peer,
                   NcclComm handle, DeviceStream stream) {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(
        world_->Enter(rank_, function, absl::StrCat(function, " ", peer, " ", bytes)));
    FakeComm* comm = Raw(handle);
    const auto message =
        std::make_shared<FakeMessage>(FakeMessage{send, nullptr, bytes, peer, false});
    const FakeBlock* block = world_->Find(memory, bytes, &message->memory);
    const auto open = world_->open_groups.find(Me());
    std::string fault;
    if (open == world_->open_groups.end()) fault = "sends or receives outside a group";
    if (comm->state != FakeComm::kIdle) fault = "uses a communicator that is in progress or gone";
    if (peer < 0 || peer >= comm->group->size || peer == comm->rank) fault = "names a wrong peer";
    if (block == nullptr || block->kind != MemoryKind::kDevice) fault = "gives NCCL host memory";
    if (comm->device != Raw(stream)->device || (block != nullptr && block->device != comm->device))
      fault = "mixes devices";
    if (world_->SelectedBy(rank_) != comm->device) fault = "calls with another device selected";
    if (!fault.empty()) {
      world_->Violation(rank_, fault);
      return absl::InvalidArgumentError(fault);
    }
    auto& [on, messages] = open->second.messages[comm];
    on = Raw(stream);
    messages.push_back(message);
    return absl::OkStatus();
  }

  // On the stream's thread: what the device does. Ends when all messages have met their
  // counterparts, or on abort.
  static void Move(FakeWorld& world, FakeComm* comm, const Messages& messages) {
    std::unique_lock lock(world.mutex);
    FakeGroup& group = *comm->group;
    for (const std::shared_ptr<FakeMessage>& message : messages) {
      const std::pair<int, int> way = message->send ? std::pair(comm->rank, message->peer)
                                                    : std::pair(message->peer, comm->rank);
      (message->send ? group.sent : group.expected)[way].push_back(message.get());
      std::deque<FakeMessage*>&sent = group.sent[way], &expected = group.expected[way];
      if (sent.empty() || expected.empty()) continue;
      if (sent.front()->bytes != expected.front()->bytes) {
        world.Violation(comm->rank, "sender and receiver disagree about a size");
        continue;
      }
      std::memcpy(expected.front()->memory, sent.front()->memory, sent.front()->bytes);
      sent.front()->done = expected.front()->done = true;
      sent.pop_front();
      expected.pop_front();
    }
    world.changed.notify_all();
    const auto done = [&] {
      for (const std::shared_ptr<FakeMessage>& message : messages) {
        if (!message->done) return false;
      }
      return true;
    };
    world.changed.wait(lock,
                       [&] { return world.over || comm->state == FakeComm::kAborted || done(); });
    if (done()) return;
    for (auto* queues : {&group.sent, &group.expected}) {
      for (auto& [way, queue] : *queues) {
        for (const std::shared_ptr<FakeMessage>& message : messages)
          std::erase(queue, message.get());
      }
    }
  }

  const std::shared_ptr<FakeWorld> world_;
  const int rank_;
};

}  // namespace

std::shared_ptr<NcclApi> MakeFakeNccl(std::shared_ptr<FakeWorld> world, int rank) {
  return std::make_shared<FakeNccl>(std::move(world), rank);
}

}  // namespace ds

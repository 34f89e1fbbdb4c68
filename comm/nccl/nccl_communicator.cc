#include "comm/nccl/nccl_communicator.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "comm/bytes.h"
#include "comm/exchange_collectives.h"
#include "comm/nccl/device_scope.h"
#include "comm/nccl/nccl_bootstrap.h"
#include "comm/nccl/nccl_session.h"
#include "comm/nccl/staging.h"

namespace ds {
namespace {

// One peer's part of a transfer.
template <typename Byte>
struct Leg {
  int peer;
  absl::Span<Byte> bytes;
  std::optional<size_t>
      staged_at;  // where in the staging blocks, if the bytes are not on the device
};

template <typename Byte>
struct Plan {
  std::vector<Leg<Byte>> legs;
  size_t staged_bytes = 0;  // of the blocks, gaps included
};

class NcclCommunicator final : public ExchangeCollectives {
 public:
  static absl::StatusOr<std::unique_ptr<Communicator>> Create(
      NcclRuntime runtime, std::unique_ptr<Communicator> bootstrap, const NcclOptions& options) {
    const Deadline deadline = Deadline::In(options.timeout);
    bootstrap->set_timeout(options.timeout);
    DS_ASSIGN_OR_RETURN(const int device,
                        AgreeOnDevice(*bootstrap, *runtime.device, options.device, options.host));
    const DeviceScope scope(*runtime.device, device);
    DS_RETURN_IF_ERROR(AgreeOnStatus(scope.status(), *bootstrap));
    DS_ASSIGN_OR_RETURN(const NcclUniqueId id, ShareUniqueId(*bootstrap, *runtime.nccl));
    DS_ASSIGN_OR_RETURN(
        std::unique_ptr<NcclSession> session,
        NcclSession::Create(
            runtime, id, {device, bootstrap->size(), bootstrap->rank(), options.grace}, deadline));
    NcclOptions own = options;
    own.device = device;
    auto made = std::unique_ptr<NcclCommunicator>(new NcclCommunicator(
        std::move(runtime), std::move(bootstrap), std::move(session), std::move(own)));
    made->set_timeout(options.timeout);
    return made;
  }

  ~NcclCommunicator() override {
    // The members' destructors free what is on the device.
    const DeviceScope scope(*runtime_.device, options_.device);
    session_.reset();
    outgoing_.reset();
    incoming_.reset();
  }

  int rank() const override { return bootstrap_->rank(); }
  int size() const override { return bootstrap_->size(); }
  absl::string_view backend() const override { return "nccl"; }

  absl::StatusOr<std::unique_ptr<Communicator>> Duplicate() override {
    DS_RETURN_IF_ERROR(broken());
    bootstrap_->set_timeout(timeout());
    DS_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> bootstrap, bootstrap_->Duplicate());
    NcclOptions options = options_;
    options.timeout = timeout();
    return Create(runtime_, std::move(bootstrap), options);
  }

 protected:
  absl::StatusOr<std::unique_ptr<Communicator>> MakeGroup(int color,
                                                          absl::Span<const int> members) override {
    const auto place = std::find(members.begin(), members.end(), rank()) - members.begin();
    bootstrap_->set_timeout(timeout());
    DS_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> group,
                        bootstrap_->Split(color, static_cast<int>(place)));
    if (group == nullptr) return nullptr;
    NcclOptions options = options_;
    options.timeout = timeout();
    return Create(runtime_, std::move(group), options);
  }

  absl::Status Transfer(absl::Span<const absl::Span<const std::byte>> send,
                        absl::Span<const absl::Span<std::byte>> receive,
                        Deadline deadline) override {
    return OnDevice([&] { return Move(send, receive, deadline); });
  }

  absl::Status CopyLocal(absl::Span<std::byte> to, absl::Span<const std::byte> from,
                         Deadline deadline) override {
    if (to.empty() || to.data() == from.data()) return absl::OkStatus();
    return OnDevice([&] { return Copy(to, from, deadline); });
  }

 private:
  NcclCommunicator(NcclRuntime runtime, std::unique_ptr<Communicator> bootstrap,
                   std::unique_ptr<NcclSession> session, NcclOptions options)
      : runtime_(std::move(runtime)),
        bootstrap_(std::move(bootstrap)),
        options_(std::move(options)),
        session_(std::move(session)),
        outgoing_(std::make_unique<Staging>(runtime_.device)),
        incoming_(std::make_unique<Staging>(runtime_.device)) {}

  // Runs `work` with the device selected. After an error nothing of it goes on.
  template <typename Work>
  absl::Status OnDevice(const Work& work) {
    const DeviceScope scope(*runtime_.device, options_.device);
    absl::Status status = scope.status();
    if (status.ok()) status = work();
    if (!status.ok() && !session_->Abort()) {
      outgoing_->Leak();
      incoming_->Leak();
    }
    return status;
  }

  absl::StatusOr<bool> OnThisDevice(const std::byte* address) {
    DS_ASSIGN_OR_RETURN(const MemoryPlace place, runtime_.device->Place(address));
    if (place.on_device && place.device != options_.device) {
      return absl::InvalidArgumentError(
          absl::StrCat("NCCL: rank ", rank(), " was given a buffer on device ", place.device,
                       ", but this communicator uses device ", options_.device));
    }
    return place.on_device;
  }

  // Who sends or receives what from where. Peers in rotated order: `step` of +1 begins with the
  // next rank, -1 with the one before.
  template <typename Byte>
  absl::StatusOr<Plan<Byte>> MakePlan(absl::Span<const absl::Span<Byte>> buffers, int step) {
    Plan<Byte> plan;
    for (int i = 1; i < size(); ++i) {
      const int peer = (rank() + size() + step * i) % size();
      const absl::Span<Byte> bytes = buffers[static_cast<size_t>(peer)];
      if (bytes.empty()) continue;
      DS_ASSIGN_OR_RETURN(const bool direct, OnThisDevice(bytes.data()));
      plan.legs.push_back({peer, bytes, std::nullopt});
      if (direct) continue;
      plan.legs.back().staged_at = plan.staged_bytes;
      plan.staged_bytes +=
          (bytes.size() + Staging::kAlignment - 1) / Staging::kAlignment * Staging::kAlignment;
    }
    return plan;
  }

  absl::Status Move(absl::Span<const absl::Span<const std::byte>> send,
                    absl::Span<const absl::Span<std::byte>> receive, Deadline deadline) {
    DS_ASSIGN_OR_RETURN(const Plan<const std::byte> out, MakePlan(send, 1));
    DS_ASSIGN_OR_RETURN(const Plan<std::byte> in, MakePlan(receive, -1));
    if (out.legs.empty() && in.legs.empty()) return absl::OkStatus();
    DS_RETURN_IF_ERROR(outgoing_->Reserve(out.staged_bytes));
    DS_RETURN_IF_ERROR(incoming_->Reserve(in.staged_bytes));
    std::vector<NcclSession::Outgoing> outgoing;
    for (const auto& leg : out.legs) {
      if (leg.staged_at)
        std::memcpy(outgoing_->host() + *leg.staged_at, leg.bytes.data(), leg.bytes.size());
      outgoing.push_back({leg.peer,
                          leg.staged_at ? outgoing_->device() + *leg.staged_at : leg.bytes.data(),
                          leg.bytes.size()});
    }
    std::vector<NcclSession::Incoming> incoming;
    for (const auto& leg : in.legs) {
      incoming.push_back({leg.peer,
                          leg.staged_at ? incoming_->device() + *leg.staged_at : leg.bytes.data(),
                          leg.bytes.size()});
    }
    if (out.staged_bytes > 0)
      DS_RETURN_IF_ERROR(session_->Copy(outgoing_->device(), outgoing_->host(), out.staged_bytes));
    DS_RETURN_IF_ERROR(session_->Exchange(outgoing, incoming, deadline));
    if (in.staged_bytes > 0)
      DS_RETURN_IF_ERROR(session_->Copy(incoming_->host(), incoming_->device(), in.staged_bytes));
    DS_RETURN_IF_ERROR(session_->AwaitIdle(deadline));
    for (const auto& leg : in.legs) {
      if (leg.staged_at)
        std::memcpy(leg.bytes.data(), incoming_->host() + *leg.staged_at, leg.bytes.size());
    }
    return absl::OkStatus();
  }

  absl::Status Copy(absl::Span<std::byte> to, absl::Span<const std::byte> from, Deadline deadline) {
    DS_ASSIGN_OR_RETURN(const bool into_device, OnThisDevice(to.data()));
    DS_ASSIGN_OR_RETURN(const bool from_device, OnThisDevice(from.data()));
    if (!into_device && !from_device) {
      std::memcpy(to.data(), from.data(), to.size());
      return absl::OkStatus();
    }
    DS_RETURN_IF_ERROR(outgoing_->Reserve(to.size()));
    if (!from_device) std::memcpy(outgoing_->host(), from.data(), to.size());
    DS_RETURN_IF_ERROR(session_->Copy(into_device ? to.data() : outgoing_->host(),
                                      from_device ? from.data() : outgoing_->host(), to.size()));
    DS_RETURN_IF_ERROR(session_->AwaitIdle(deadline));
    if (!into_device) std::memcpy(to.data(), outgoing_->host(), to.size());
    return absl::OkStatus();
  }

  const NcclRuntime runtime_;
  const std::unique_ptr<Communicator>
      bootstrap_;              // used by Create and Duplicate only, so by the thread that owns this
  const NcclOptions options_;  // `device` is the one chosen: all that follows lives there
  std::unique_ptr<NcclSession> session_;  // calls on it only under a DeviceScope
  std::unique_ptr<Staging> outgoing_;
  std::unique_ptr<Staging> incoming_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> CreateNcclCommunicator(
    NcclRuntime runtime, std::unique_ptr<Communicator> bootstrap, const NcclOptions& options) {
  return NcclCommunicator::Create(std::move(runtime), std::move(bootstrap), options);
}

}  // namespace ds

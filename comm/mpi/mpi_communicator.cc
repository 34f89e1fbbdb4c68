#include "comm/mpi/mpi_communicator.h"

#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status.h"
#include "comm/call_thread.h"
#include "comm/exchange_collectives.h"
#include "comm/mpi/mpi_context.h"
#include "comm/mpi/mpi_link.h"

namespace ds {
namespace {

// Beyond a deadline, for the call that keeps it itself to return.
constexpr absl::Duration kGrace = absl::Seconds(1);
constexpr absl::Duration kFreePatience = absl::Seconds(5);
constexpr absl::Duration kAbortPatience = absl::Seconds(5);

class MpiCommunicator final : public ExchangeCollectives {
 public:
  static absl::StatusOr<std::unique_ptr<Communicator>> Create(std::shared_ptr<MpiContext> context,
                                                              MPI_Comm parent,
                                                              absl::Duration timeout) {
    const Deadline deadline = Deadline::In(timeout);
    return Make(context, timeout, [=] { return MpiLink::Create(context, parent, deadline); });
  }

  ~MpiCommunicator() override {
    if (link_ == nullptr || !context_->broken().ok()) return;
    (void)OnThread(Deadline::In(kFreePatience), [link = link_] {
      link->Free();
      return absl::OkStatus();
    });
  }

  int rank() const override { return link_->rank(); }
  int size() const override { return link_->size(); }
  absl::string_view backend() const override { return "mpi"; }
  absl::StatusOr<std::unique_ptr<Communicator>> Duplicate() override {
    DS_RETURN_IF_ERROR(broken());
    return Create(context_, link_->comm(), timeout());
  }

 protected:
  absl::StatusOr<std::unique_ptr<Communicator>> MakeGroup(int color,
                                                          absl::Span<const int> members) override {
    const int place =
        static_cast<int>(std::find(members.begin(), members.end(), rank()) - members.begin());
    return Make(context_, timeout(), [context = context_, parent = link_->comm(), color, place] {
      return MpiLink::Split(context, parent, color == kNoGroup ? MPI_UNDEFINED : color, place);
    });
  }

  absl::Status Transfer(absl::Span<const absl::Span<const std::byte>> send,
                        absl::Span<const absl::Span<std::byte>> receive,
                        Deadline deadline) override {
    const auto empty = [](const auto& span) { return span.empty(); };
    if (std::all_of(send.begin(), send.end(), empty) &&
        std::all_of(receive.begin(), receive.end(), empty)) {
      return context_->broken();
    }
    return OnThread(deadline, [link = link_, deadline, out = std::vector(send.begin(), send.end()),
                               in = std::vector(receive.begin(), receive.end())] {
      return link->Transfer(out, in, deadline);
    });
  }

 private:
  explicit MpiCommunicator(std::shared_ptr<MpiContext> context) : context_(std::move(context)) {}

  // Over the link that `make` gives on the new communicator's thread; null where that is null.
  static absl::StatusOr<std::unique_ptr<Communicator>> Make(
      std::shared_ptr<MpiContext> context, absl::Duration timeout,
      std::function<absl::StatusOr<std::shared_ptr<MpiLink>>()> make) {
    std::unique_ptr<MpiCommunicator> made(new MpiCommunicator(std::move(context)));
    made->set_timeout(timeout);
    const auto link = std::make_shared<std::shared_ptr<MpiLink>>();
    DS_RETURN_IF_ERROR(
        made->OnThread(Deadline::In(timeout), [make = std::move(make), link]() -> absl::Status {
          absl::StatusOr<std::shared_ptr<MpiLink>> created = make();
          if (created.ok()) *link = *std::move(created);
          return created.status();
        }));
    if (*link == nullptr) return nullptr;
    made->link_ = *link;
    return made;
  }

  // `call` keeps `deadline` by itself unless MPI does not return to it. It shares all it touches.
  absl::Status OnThread(Deadline deadline, std::function<absl::Status()> call) {
    DS_RETURN_IF_ERROR(context_->broken());
    const auto result = std::make_shared<absl::Status>();
    const bool returned = thread_.Run([result, call = std::move(call)] { *result = call(); },
                                      deadline.LaterBy(kGrace));
    const absl::Status status = returned ? *result
                                         : absl::DeadlineExceededError(
                                               "a call of MPI did not return by its deadline: the "
                                               "library is stuck, as it may be when "
                                               "the connection to a peer breaks");
    if (!status.ok()) context_->Break(status);
    return status;
  }

  const std::shared_ptr<MpiContext> context_;
  std::shared_ptr<MpiLink> link_;  // used on thread_ only, but for rank, size and comm
  CallThread thread_;              // makes every call of MPI
};

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> CreateMpiCommunicator(absl::Duration timeout) {
  DS_ASSIGN_OR_RETURN(std::shared_ptr<MpiContext> context, MpiContext::Create(timeout));
  return MpiCommunicator::Create(std::move(context), MPI_COMM_WORLD, timeout);
}

void AbortMpiJob(int exit_code) {
  CallThread thread;
  const auto abort = [exit_code] {
    int initialized = 0, finalized = 0;
    MPI_Initialized(&initialized);
    MPI_Finalized(&finalized);
    if (initialized != 0 && finalized == 0) MPI_Abort(MPI_COMM_WORLD, exit_code);
  };
  if (thread.Run(abort, Deadline::In(kAbortPatience))) return;
  // Its launcher ends the job when it sees how this rank ends.
  Log(LogLevel::kError, "MPI_Abort did not return; this rank ends without it");
  std::_Exit(exit_code);
}

}  // namespace ds

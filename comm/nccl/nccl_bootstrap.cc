#include "comm/nccl/nccl_bootstrap.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "comm/bytes.h"
#include "comm/hosts.h"

namespace ds {
namespace {

// What each rank says about where it runs, in the order of ranks.
struct Seats {
  std::vector<std::string> hosts;
  std::vector<std::string> bus_ids;
  std::vector<std::string> names;  // of the hosts, for messages
};

// How many ranks below this one run on its host.
int PlaceOnHost(const std::vector<std::string>& hosts, int rank) {
  return static_cast<int>(
      std::count(hosts.begin(), hosts.begin() + rank, hosts[static_cast<size_t>(rank)]));
}

absl::StatusOr<int> ChooseDevice(DeviceApi& devices, int wanted, int place) {
  DS_ASSIGN_OR_RETURN(const int count, devices.Count());
  if (count < 1) return absl::UnavailableError("there is no device");
  if (wanted < 0) return place % count;
  if (wanted >= count) {
    return absl::InvalidArgumentError(
        absl::StrCat("device ", wanted, " was asked for, but only ", count, " are there"));
  }
  return wanted;
}

absl::Status CheckNoneIsShared(const Seats& seats) {
  for (size_t b = 1; b < seats.hosts.size(); ++b) {
    for (size_t a = 0; a < b; ++a) {
      if (seats.hosts[a] != seats.hosts[b] || seats.bus_ids[a] != seats.bus_ids[b]) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          "NCCL: ranks ", a, " and ", b, " would share the device ", seats.bus_ids[a], " of ",
          seats.names[a],
          "; start no more ranks on a host than it has devices, or use comm.backend mpi"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int> AgreeOnDevice(Communicator& bootstrap, DeviceApi& devices, int wanted,
                                  const std::string& host) {
  const HostIdentity here = host.empty() ? ThisHost() : HostIdentity{host, host};
  Seats seats;
  DS_ASSIGN_OR_RETURN(seats.hosts, AllGatherBytes(here.id, bootstrap));
  const absl::StatusOr<int> device =
      ChooseDevice(devices, wanted, PlaceOnHost(seats.hosts, bootstrap.rank()));
  const absl::StatusOr<std::string> bus_id =
      device.ok() ? devices.BusId(*device) : absl::StatusOr<std::string>(device.status());
  DS_RETURN_IF_ERROR(Annotate(AgreeOnStatus(bus_id.status(), bootstrap),
                              "the NCCL backend needs a device for every rank"));
  DS_ASSIGN_OR_RETURN(seats.bus_ids, AllGatherBytes(*bus_id, bootstrap));
  DS_ASSIGN_OR_RETURN(seats.names, AllGatherBytes(here.name, bootstrap));
  DS_RETURN_IF_ERROR(CheckNoneIsShared(seats));
  return *device;
}

absl::StatusOr<NcclUniqueId> ShareUniqueId(Communicator& bootstrap, NcclApi& nccl) {
  absl::StatusOr<NcclUniqueId> id = NcclUniqueId{};
  if (bootstrap.rank() == 0) id = nccl.MakeUniqueId();
  DS_RETURN_IF_ERROR(AgreeOnStatus(id.status(), bootstrap));
  DS_RETURN_IF_ERROR(bootstrap.Broadcast(absl::MakeSpan(*id), 0));
  return *id;
}

}  // namespace ds

#include "comm/nccl/nccl_bootstrap.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status.h"

namespace ds {
namespace {

// Text of a fixed length, as it travels.
template <size_t kBytes>
struct Text {
  char bytes[kBytes] = {};
  void Set(absl::string_view text) {
    std::memcpy(bytes, text.data(), std::min(text.size(), kBytes - 1));
  }
  absl::string_view view() const { return {bytes, strnlen(bytes, kBytes)}; }
};

struct Verdict {
  int32_t code = 0;
  Text<508> message;
};

struct Seat {
  Text<256> host;
  Text<64> bus_id;
  bool operator==(const Seat& other) const {
    return host.view() == other.host.view() && bus_id.view() == other.bus_id.view();
  }
};

template <typename T>
absl::StatusOr<std::vector<T>> Gather(Communicator& bootstrap, const T& mine) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::vector<T> all(static_cast<size_t>(bootstrap.size()));
  DS_RETURN_IF_ERROR(
      bootstrap.AllGather({reinterpret_cast<const std::byte*>(&mine), sizeof(T)},
                          {reinterpret_cast<std::byte*>(all.data()), all.size() * sizeof(T)}));
  return all;
}

// Host names alone are not unique ("localhost"); the boot id tells machines apart.
std::string ThisHost() {
  char name[128] = "";
  (void)gethostname(name, sizeof(name) - 1);
  std::string boot_id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot_id;
  return absl::StrCat(name, " ", boot_id);
}

// How many ranks below this one run on its host.
int PlaceOnHost(const std::vector<Text<256>>& hosts, int rank) {
  const absl::string_view mine = hosts[static_cast<size_t>(rank)].view();
  return static_cast<int>(
      std::count_if(hosts.begin(), hosts.begin() + rank,
                    [&](const Text<256>& host) { return host.view() == mine; }));
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

absl::Status CheckNoneIsShared(const std::vector<Seat>& seats) {
  for (size_t b = 1; b < seats.size(); ++b) {
    for (size_t a = 0; a < b; ++a) {
      if (!(seats[a] == seats[b])) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          "NCCL: ranks ", a, " and ", b, " would share the device ", seats[a].bus_id.view(), " of ",
          seats[a].host.view().substr(0, seats[a].host.view().find(' ')),
          "; start no more ranks on a host than it has devices, or use comm.backend mpi"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status AgreeThatAllAreOk(Communicator& bootstrap, const absl::Status& mine) {
  Verdict verdict;
  verdict.code = mine.raw_code();
  verdict.message.Set(mine.message());
  DS_ASSIGN_OR_RETURN(const std::vector<Verdict> all, Gather(bootstrap, verdict));
  for (size_t r = 0; r < all.size(); ++r) {
    if (all[r].code == 0) continue;
    const std::string where = all.size() == 1 ? "" : absl::StrCat("rank ", r, ": ");
    return absl::Status(static_cast<absl::StatusCode>(all[r].code),
                        absl::StrCat(where, all[r].message.view()));
  }
  return absl::OkStatus();
}

absl::StatusOr<int> AgreeOnDevice(Communicator& bootstrap, DeviceApi& devices, int wanted,
                                  const std::string& host) {
  Seat seat;
  seat.host.Set(host.empty() ? ThisHost() : host);
  DS_ASSIGN_OR_RETURN(const std::vector<Text<256>> hosts, Gather(bootstrap, seat.host));
  const absl::StatusOr<int> device =
      ChooseDevice(devices, wanted, PlaceOnHost(hosts, bootstrap.rank()));
  absl::Status status = device.status();
  if (device.ok()) {
    const absl::StatusOr<std::string> bus_id = devices.BusId(*device);
    status = bus_id.status();
    if (bus_id.ok()) seat.bus_id.Set(*bus_id);
  }
  DS_RETURN_IF_ERROR(Annotate(AgreeThatAllAreOk(bootstrap, status),
                              "the NCCL backend needs a device for every rank"));
  DS_ASSIGN_OR_RETURN(const std::vector<Seat> seats, Gather(bootstrap, seat));
  DS_RETURN_IF_ERROR(CheckNoneIsShared(seats));
  return *device;
}

absl::StatusOr<NcclUniqueId> ShareUniqueId(Communicator& bootstrap, NcclApi& nccl) {
  absl::StatusOr<NcclUniqueId> id = NcclUniqueId{};
  if (bootstrap.rank() == 0) id = nccl.MakeUniqueId();
  DS_RETURN_IF_ERROR(AgreeThatAllAreOk(bootstrap, id.status()));
  DS_RETURN_IF_ERROR(bootstrap.Broadcast(absl::MakeSpan(*id), 0));
  return *id;
}

}  // namespace ds

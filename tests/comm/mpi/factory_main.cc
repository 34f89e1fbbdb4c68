// Under mpirun, a rank a process: what the factory makes of each backend's name.
#include <cstdio>
#include <string>

#include "absl/time/time.h"
#include "comm/factory/factory.h"
#include "comm/mpi/mpi_communicator.h"

namespace ds {
namespace {

constexpr double kTimeoutS = 30;

int Check() {
  int faults = 0;
  const auto expect = [&](bool holds, const std::string& what) {
    if (holds) return;
    std::fprintf(stderr, "%s\n", what.c_str());
    ++faults;
  };
  // Keeps MPI running: it would end with the first communicator and cannot start again.
  const auto keep = CreateMpiCommunicator(absl::Seconds(kTimeoutS));
  expect(keep.ok(), "mpi: " + keep.status().ToString());
  const LaunchInfo launch = DetectLaunch();
  const auto automatic = CreateCommunicator({"auto", kTimeoutS});
  if (!automatic.ok()) {
    expect(false, "auto: " + automatic.status().ToString());
    return faults;
  }
  expect((*automatic)->backend() == "mpi", "auto under mpirun is not mpi");
  expect((*automatic)->size() == launch.size && (*automatic)->rank() == launch.rank,
         "MPI and the environment disagree");
  expect(launch.local_size == launch.size, "not all ranks are on this host");
  const auto nccl = CreateCommunicator({"nccl", kTimeoutS});
  if (nccl.ok()) {
    expect((*nccl)->backend() == "nccl" && (*nccl)->Barrier().ok(), "nccl does not work");
  } else {
    // No device, or fewer than ranks: on every rank alike, and the group below still works.
    expect(absl::IsUnavailable(nccl.status()) || absl::IsFailedPrecondition(nccl.status()),
           "nccl: " + nccl.status().ToString());
    expect(nccl.status().message().find("NCCL") != absl::string_view::npos,
           "nccl: " + nccl.status().ToString());
  }
  expect((*automatic)->Barrier().ok(), "the group is broken after nccl was refused");
  expect(CreateCommunicator({"none", kTimeoutS}).ok() == (launch.size == 1),
         "none among several ranks was taken");
  return faults;
}

}  // namespace
}  // namespace ds

int main() { return ds::Check() == 0 ? 0 : 1; }

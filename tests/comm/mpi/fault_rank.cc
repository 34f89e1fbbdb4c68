// A rank of the kill tests (kill_test.py): sums over and over until something goes wrong, then
// tells how in a file.
//
//   fault_rank FOLDER TIMEOUT_S FLOATS
//
// Writes FOLDER/RANK.ready (its process id) once the group has summed a while, and
// FOLDER/RANK.status when a call fails: the status's code, how long that call took in seconds, what
// a call after it and one on a second communicator gave and took, and the message.
// FOLDER/RANK.closed when all communicators are destroyed. Once FOLDER/finish exists, ranks stop
// summing and finish in order.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "comm/mpi/mpi_communicator.h"

namespace ds {
namespace {

constexpr int kWarmUp = 20;

struct Timed {
  absl::Status status;
  double seconds = 0;
};

Timed Reduce(Communicator& comm, MutableBuffer buffer, ReduceOp op) {
  const absl::Time start = absl::Now();
  const absl::Status status = comm.AllReduce(buffer, op);
  return {status, absl::ToDoubleSeconds(absl::Now() - start)};
}

Timed Sum(Communicator& comm, std::vector<float>& values) {
  std::fill(values.begin(), values.end(), 1.0f);
  return Reduce(comm, MutableBuffer::Of(absl::MakeSpan(values)), ReduceOp::kSum);
}

// Whole or not at all: the driver watches for it.
void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path + ".part") << text;
  std::filesystem::rename(path + ".part", path);
}

std::string Line(const Timed& timed) {
  return std::string(absl::StatusCodeToString(timed.status.code())) + " " +
         std::to_string(timed.seconds) + "\n";
}

int Run(const std::string& folder, absl::Duration timeout, size_t floats) {
  auto comm = CreateMpiCommunicator(timeout);
  if (!comm.ok()) return 1;
  auto second = (*comm)->Duplicate();
  if (!second.ok()) return 1;
  const std::string name = folder + "/" + std::to_string((*comm)->rank());
  std::vector<float> values(floats);
  Timed first = Sum(**comm, values);
  int32_t finish = 0;
  for (int sums = 1; first.status.ok() && finish == 0; ++sums) {
    for (float value : values) {
      if (value != static_cast<float>((*comm)->size())) return 2;
    }
    if (sums == kWarmUp) WriteFile(name + ".ready", std::to_string(getpid()));
    first = Sum(**comm, values);
    // All stop after the same sum.
    finish = std::filesystem::exists(folder + "/finish") ? 1 : 0;
    if (first.status.ok())
      first = Reduce(**comm, MutableBuffer::Of(absl::MakeSpan(&finish, 1)), ReduceOp::kMax);
  }
  if (first.status.ok()) {
    WriteFile(name + ".finishing", "");
    // Time for the driver to stop one.
    absl::SleepFor(absl::Seconds(1));
    second->reset();
    comm->reset();
    WriteFile(name + ".closed", "");
    return 0;
  }
  const Timed again = Sum(**comm, values), other = Sum(**second, values);
  WriteFile(name + ".status",
            Line(first) + Line(again) + Line(other) + std::string(first.status.message()) + "\n");
  // Destroying what is broken must not wait for the peer either.
  second->reset();
  comm->reset();
  WriteFile(name + ".closed", "");
  return 3;
}

}  // namespace
}  // namespace ds

int main(int argc, char** argv) {
  double timeout_s = 0;
  int floats = 0;
  if (argc != 4 || !absl::SimpleAtod(argv[2], &timeout_s) || !absl::SimpleAtoi(argv[3], &floats))
    return 64;
  return ds::Run(argv[1], absl::Seconds(timeout_s), static_cast<size_t>(floats));
}

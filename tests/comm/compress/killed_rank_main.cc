// One rank of a job whose rank `victim` dies by SIGKILL in the middle of a compressed all-reduce.
// Every other rank notes in a file how its call ended. Usage, under mpirun: killed_rank FOLDER
// VICTIM TIMEOUT_S. killed_rank_test.py starts it and judges.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/file/file.h"
#include "comm/compress/compressed_all_reduce.h"
#include "comm/mpi/mpi_communicator.h"

namespace {

constexpr size_t kCount = 3'000'017;
constexpr uint64_t kFatalStep = 2;

std::string NoteOf(const std::string& folder, int rank) {
  return absl::StrCat(folder, "/rank", rank);
}

void DieSoon() {
  std::thread([] {
    absl::SleepFor(absl::Milliseconds(20));  // less than an exchange takes
    kill(getpid(), SIGKILL);
  }).detach();
}

// Exchanges until one fails; returns what to note.
std::string ExchangeUntilAnError(ds::Communicator& communicator, int victim) {
  auto codec = ds::Codec::Create({.bits = 4});
  DS_CHECK(codec.ok());
  std::vector<float> values(kCount, 1.0f);
  ds::ThreadPool pool(1);
  auto reducer = ds::CompressedAllReduce::Create(
      &communicator, {{{"w", absl::MakeSpan(values), 0, std::move(*codec), {}}}},
      {.chunk_bytes = 1 << 16, .pool = &pool});
  DS_CHECK(reducer.ok());
  for (uint64_t step = 0;; ++step) {
    (*reducer)->BeginStep({step, 0.25f});
    if (communicator.rank() == victim && step == kFatalStep) DieSoon();
    const absl::Time start = absl::Now();
    const absl::Status status = (*reducer)->Exchange(0);
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
    (*reducer)->EndStep(status.ok());
    if (!status.ok()) return absl::StrCat(step, " ", seconds, " ", status.ToString(), "\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string folder = argv[1];
  const int victim = std::atoi(argv[2]);
  auto communicator = ds::CreateMpiCommunicator();
  DS_CHECK(communicator.ok()) << communicator.status().ToString();
  (*communicator)->set_timeout(absl::Seconds(std::atof(argv[3])));
  DS_CHECK((*communicator)->Barrier().ok());
  const int me = (*communicator)->rank(), ranks = (*communicator)->size();
  const std::string note = ExchangeUntilAnError(**communicator, victim);
  const absl::Status written = ds::WriteFileAtomically(NoteOf(folder, me), note);
  // The launcher may end everybody as soon as one rank leaves without finalising MPI: all notes
  // must be there first.
  for (int tries = 0; tries < 200; ++tries) {
    int notes = 0;
    for (int r = 0; r < ranks; ++r) notes += std::filesystem::exists(NoteOf(folder, r));
    if (notes == ranks - 1) break;
    absl::SleepFor(absl::Milliseconds(100));
  }
  std::fflush(nullptr);
  _exit(written.ok() ? 0 : 1);
}

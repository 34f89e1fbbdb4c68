// What running a .dsm file takes of this process' memory, as JSON:
//   engine_memory_probe FILE REQUESTS
// opens the file, runs each of its shapes once, then REQUESTS more in random shapes, prints, and
// waits for the end of its input with the file still open.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <string>

#include "deploy/engine/runtime/session.h"

namespace {

using ds::engine::Session;
using ds::engine::Status;

// The sum of a field's values in /proc/self/FILE, of mappings whose line ends with `path` (empty:
// of all).
int64_t Kibibytes(const char* file, const std::string& field, const std::string& path = "") {
  std::ifstream in(file);
  int64_t sum = 0;
  bool counts = path.empty();
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(':');
    const bool is_field = colon != std::string::npos && line.find(" kB") != std::string::npos;
    if (!is_field && !path.empty() && line.find('-') != std::string::npos)
      counts = line.ends_with(path);
    if (is_field && counts && line.compare(0, colon, field) == 0)
      sum += std::atoll(line.c_str() + colon + 1);
  }
  return sum;
}

int64_t PrivateKibibytes() {
  const char* file = "/proc/self/smaps_rollup";
  return Kibibytes(file, "Private_Clean") + Kibibytes(file, "Private_Dirty");
}

Status Run(const char* path, int requests) {
  const int64_t at_start = PrivateKibibytes();
  std::shared_ptr<const ds::engine::Model> model;
  std::unique_ptr<Session> session;
  DS_ENGINE_RETURN_IF_ERROR(ds::engine::Model::Open(path, {}, model));
  DS_ENGINE_RETURN_IF_ERROR(Session::Create(model, {}, session));
  for (int shape = 0; shape < model->shape_count(); ++shape) {
    DS_ENGINE_RETURN_IF_ERROR(session->SelectShape(shape));
    session->Run();
  }
  const int64_t first = Kibibytes("/proc/self/status", "VmRSS");
  std::mt19937 random(1);
  for (int i = 0; i < requests; ++i) {
    const auto shapes = static_cast<uint32_t>(model->shape_count());
    DS_ENGINE_RETURN_IF_ERROR(session->SelectShape(static_cast<int>(random() % shapes)));
    session->Run();
  }
  const int64_t last = Kibibytes("/proc/self/status", "VmRSS");
  const std::string whole = path;
  const auto of_file = [&](const char* field) {
    return static_cast<long long>(Kibibytes("/proc/self/smaps", field, whole));
  };
  std::printf(
      "{\"buffers\": %lld, \"private_kib\": %lld, \"private_before_kib\": %lld, "
      "\"rss_first_kib\": %lld, \"rss_last_kib\": %lld, \"file_rss_kib\": %lld, "
      "\"file_dirty_kib\": %lld, \"file_private_kib\": %lld}\n",
      static_cast<long long>(session->buffer_bytes()), static_cast<long long>(PrivateKibibytes()),
      static_cast<long long>(at_start), static_cast<long long>(first), static_cast<long long>(last),
      of_file("Rss"), of_file("Private_Dirty") + of_file("Shared_Dirty"),
      of_file("Private_Clean") + of_file("Private_Dirty"));
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: engine_memory_probe FILE REQUESTS\n");
    return 2;
  }
  const Status status = Run(argv[1], std::atoi(argv[2]));
  if (status.ok()) return 0;
  std::fprintf(stderr, "engine_memory_probe: %s\n", status.message().c_str());
  return 1;
}

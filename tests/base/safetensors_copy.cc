// safetensors_copy IN OUT: reads one file and writes what it read, for safetensors_peer_test.py.
#include <cstdio>
#include <string>

#include "base/tensor/safetensors.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  ds::StringMap metadata;
  const auto tensors = ds::ReadSafetensors(argv[1], &metadata);
  const absl::Status status =
      tensors.ok() ? ds::WriteSafetensors(argv[2], *tensors, metadata) : tensors.status();
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return 1;
}

// A file mapped read-only: its pages are shared by all processes that map it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "deploy/engine/runtime/status.h"

namespace ds::engine {

class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  // Errors name the path and what the system said. May be called once.
  Status Open(const std::string& path);
  // Maps the pages of these bytes now, reading what is not in memory yet, so that the first run
  // does not wait for them one by one. A wish: where the system cannot, they come as they are
  // touched.
  void Populate(uint64_t offset, uint64_t bytes) const;
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace ds::engine

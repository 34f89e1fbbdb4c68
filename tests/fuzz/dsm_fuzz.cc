// Any bytes as a .dsm file, its tables' hash made right so that what lies behind it is reached: an
// error, or a session that runs in each of its shapes where it is small, without leaving a buffer.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "deploy/engine/runtime/session.h"

namespace {

constexpr int64_t kMostBytes = 64 << 20, kMostWork = 1 << 22;

void Seal(std::span<std::byte> bytes) {
  ds::engine::file::Header header;
  if (bytes.size() < sizeof(header)) return;
  std::memcpy(&header, bytes.data(), sizeof(header));
  header.file_bytes = bytes.size();
  if (header.tables_bytes < sizeof(header) || header.tables_bytes > bytes.size()) return;
  std::memcpy(bytes.data(), &header, sizeof(header));
  header.tables_hash = ds::engine::TablesHash(bytes.first(header.tables_bytes));
  std::memcpy(bytes.data(), &header, sizeof(header));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  // As a mapping has it: aligned, and not a byte more.
  const std::unique_ptr<void, Free> memory(std::aligned_alloc(64, (size + 63) / 64 * 64 + 64));
  auto* copy = static_cast<std::byte*>(memory.get());
  if (size > 0) std::memcpy(copy, data, size);
  Seal({copy, size});
  std::shared_ptr<const ds::engine::Model> model;
  if (!ds::engine::Model::FromBytes({copy, size}, {}, model).ok()) return 0;
  std::unique_ptr<ds::engine::Session> session;
  if (!ds::engine::Session::Create(model, {.most_bytes = kMostBytes}, session).ok()) return 0;
  for (int shape = 0; shape < model->shape_count(); ++shape) {
    if (session->SelectShape(shape).ok() && session->work() < kMostWork) session->Run();
  }
  return 0;
}

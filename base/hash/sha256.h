// SHA-256 (FIPS 180-4), for checksums of files and parameters: OpenSSL's, which uses the
// processor's own instructions for it. The edge side, which needs none, is built without.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ds {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void Update(absl::Span<const std::byte> bytes);
  void Update(absl::string_view text) {
    Update(
        absl::Span<const std::byte>(reinterpret_cast<const std::byte*>(text.data()), text.size()));
  }
  // 64 lower-case hexadecimal digits of everything so far. Ends the object's use.
  std::string Hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string Sha256Hex(absl::Span<const std::byte> bytes);
std::string Sha256Hex(absl::string_view bytes);

}  // namespace ds

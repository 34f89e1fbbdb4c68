// Makes .npy and .npz files for the tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace ds::testing {

// `header` is written as it stands.
std::string NpyFromBytes(const std::string& header, const std::string& content, int version);

template <typename T>
std::string NpyWithHeader(const std::string& header, const std::vector<T>& values, int version) {
  return NpyFromBytes(
      header, std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)),
      version);
}

// `descr` "<f4", say; `shape` "(2, 3)".
template <typename T>
std::string Npy(const std::string& descr, const std::string& shape, const std::vector<T>& values) {
  return NpyWithHeader(
      absl::StrCat("{'descr': '", descr, "', 'fortran_order': False, 'shape': ", shape, ", }"),
      values, /*version=*/1);
}

struct ZipEntry {
  std::string name;
  std::string content;
  bool deflate = false;
};

// With `zip64` all sizes and offsets stand in the extra fields, and the directory in its zip64
// form.
std::string Zip(const std::vector<ZipEntry>& entries, bool zip64);

}  // namespace ds::testing

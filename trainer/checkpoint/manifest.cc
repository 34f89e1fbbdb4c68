#include "trainer/checkpoint/manifest.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/hash/sha256.h"
#include "base/hex.h"
#include "nlohmann/json.hpp"

namespace ds {
namespace {

using Json = nlohmann::json;

constexpr int kFormatVersion = 1;
constexpr size_t kHexDigits = 64;
// What follows the bytes that the manifest's own checksum covers, around its 64 digits.
constexpr char kChecksumStart[] = ",\n  \"manifest_sha256\": \"";
constexpr char kChecksumEnd[] = "\"\n}\n";

absl::Status Damaged(absl::string_view path, absl::string_view why) {
  return absl::DataLossError(
      absl::StrCat(path, " is damaged: ", why, "; resume from another checkpoint"));
}

}  // namespace

bool IsCheckpointFileName(absl::string_view name) {
  return !name.empty() && name[0] != '.' && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.';
  });
}

std::string RenderManifest(const Manifest& manifest) {
  Json files = Json::object();
  for (const auto& [name, entry] : manifest)
    files[name] = {{"bytes", entry.bytes}, {"sha256", entry.sha256}};
  std::string text = Json{{"files", files}, {"format_version", kFormatVersion}}.dump(2);
  text.resize(text.size() - 2);  // the closing "\n}" comes after the checksum
  return absl::StrCat(text, kChecksumStart, Sha256Hex(text), kChecksumEnd);
}

absl::StatusOr<Manifest> ParseManifest(absl::string_view text, absl::string_view path) {
  const size_t tail = std::size(kChecksumStart) - 1 + kHexDigits + std::size(kChecksumEnd) - 1;
  if (text.size() < tail) return Damaged(path, "it is too short");
  const absl::string_view body = text.substr(0, text.size() - tail);
  if (text.substr(body.size()) != absl::StrCat(kChecksumStart, Sha256Hex(body), kChecksumEnd)) {
    return Damaged(path, "its own SHA-256 does not fit");
  }
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("format_version") || !json.contains("files") ||
      !json["files"].is_object()) {
    return Damaged(path, "it is no checkpoint's manifest");
  }
  if (json["format_version"] != kFormatVersion) {
    return absl::UnimplementedError(
        absl::StrCat(path, " has format version ", json["format_version"].dump(),
                     ", this program reads ", kFormatVersion, ": use a newer one"));
  }
  Manifest manifest;
  for (const auto& [name, entry] : json["files"].items()) {
    if (!IsCheckpointFileName(name) || !entry.is_object() || !entry.contains("bytes") ||
        !entry["bytes"].is_number_unsigned() || !entry.contains("sha256") ||
        !entry["sha256"].is_string() ||
        !IsSha256Hex(entry["sha256"].get_ref<const std::string&>())) {
      return Damaged(path, absl::StrCat("its entry '", name, "' makes no sense"));
    }
    manifest[name] = {.bytes = entry["bytes"].get<uint64_t>(),
                      .sha256 = entry["sha256"].get<std::string>()};
  }
  return manifest;
}

}  // namespace ds

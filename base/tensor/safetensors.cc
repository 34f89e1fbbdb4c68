// Our own and not a library's: it is stricter than other readers, maps the file, and needs no Rust.
#include "base/tensor/safetensors.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace ds {
namespace {

using Json = nlohmann::json;

constexpr size_t kLengthBytes = 8;
constexpr size_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr size_t kDataAlignment = 64;

struct TypeName {
  DType dtype;
  const char* name;
};

constexpr TypeName kTypeNames[] = {
    {DType::kFloat64, "F64"},   {DType::kFloat32, "F32"}, {DType::kFloat16, "F16"},
    {DType::kBFloat16, "BF16"}, {DType::kInt64, "I64"},   {DType::kInt32, "I32"},
    {DType::kInt16, "I16"},     {DType::kInt8, "I8"},     {DType::kUInt64, "U64"},
    {DType::kUInt32, "U32"},    {DType::kUInt16, "U16"},  {DType::kUInt8, "U8"},
    {DType::kBool, "BOOL"}};

absl::Status Damaged(absl::string_view origin, absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat(origin, ": ", what, "; the file is damaged or not safetensors"));
}

// One entry of the header, checked against itself but not yet against its neighbours.
struct Entry {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;
  uint64_t begin = 0;
  uint64_t end = 0;
};

// Depth is bounded while parsing, and a name that stands twice is refused: the later one would win
// in silence.
absl::StatusOr<Json> ParseHeader(absl::string_view text, absl::string_view origin) {
  constexpr int kMaxDepth = 8;
  std::set<std::string> names;
  bool duplicate = false, too_deep = false;
  const Json::parser_callback_t watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    too_deep |= depth > kMaxDepth;
    if (event == Json::parse_event_t::key && depth == 1) {
      duplicate |= !names.insert(parsed.get<std::string>()).second;
    }
    return !too_deep;
  };
  Json header = Json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  // The format wants '{' first, where JSON would allow white space.
  if (text.empty() || text[0] != '{' || too_deep || header.is_discarded() || !header.is_object()) {
    return Damaged(origin, "the header is not a JSON object");
  }
  if (duplicate) return Damaged(origin, "a tensor's name stands twice in the header");
  return header;
}

absl::StatusOr<Entry> ParseEntry(const std::string& name, const Json& json,
                                 absl::string_view origin) {
  const auto bad = [&](absl::string_view what) {
    return Damaged(origin, absl::StrCat("tensor '", name.substr(0, 200), "': ", what));
  };
  if (!json.is_object() || !json.contains("dtype") || !json.contains("shape") ||
      !json.contains("data_offsets")) {
    return bad("needs dtype, shape and data_offsets");
  }
  Entry entry;
  entry.name = name;
  const Json& dtype = json["dtype"];
  const auto* row =
      std::find_if(std::begin(kTypeNames), std::end(kTypeNames),
                   [&](const TypeName& type) { return dtype.is_string() && dtype == type.name; });
  if (row == std::end(kTypeNames))
    return bad(absl::StrCat("unknown dtype ", dtype.dump().substr(0, 50)));
  entry.dtype = row->dtype;
  if (!json["shape"].is_array()) return bad("shape is not a list");
  for (const Json& extent : json["shape"]) {
    if (!extent.is_number_unsigned()) return bad("shape has an entry that is not a natural number");
    if (extent.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return bad("shape is too large");
    entry.shape.push_back(static_cast<int64_t>(extent.get<uint64_t>()));
  }
  const Json& offsets = json["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    return bad("data_offsets is not a pair of natural numbers");
  }
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  const absl::StatusOr<int64_t> count = NumElements(entry.shape);
  if (!count.ok()) return bad(absl::StrCat(count.status().message()));
  if (entry.end < entry.begin ||
      entry.end - entry.begin != static_cast<uint64_t>(ByteSize(entry.dtype, *count))) {
    return bad(absl::StrCat("data_offsets do not hold a ", Name(entry.dtype), " of shape ",
                            ShapeString(entry.shape)));
  }
  return entry;
}

absl::Status ReadMetadata(const Json& json, absl::string_view origin, StringMap* metadata) {
  if (!json.is_object()) return Damaged(origin, "__metadata__ is not an object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) return Damaged(origin, "__metadata__ holds something that is not text");
    if (metadata != nullptr) (*metadata)[key] = value.get<std::string>();
  }
  return absl::OkStatus();
}

// Sorted by offset, the entries must tile the data section exactly.
absl::Status CheckTiling(std::vector<Entry>& entries, uint64_t data_bytes,
                         absl::string_view origin) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t position = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != position) {
      return Damaged(origin, absl::StrCat("tensor '", entry.name, "' starts at ", entry.begin,
                                          ", not at ", position));
    }
    position = entry.end;
  }
  if (position == data_bytes) return absl::OkStatus();
  return Damaged(origin,
                 absl::StrCat("its tensors take ", position, " bytes, the file has ", data_bytes));
}

// Only 0 and 1 may be read as a bool.
absl::Status CheckBools(const Entry& entry, absl::string_view data, absl::string_view origin) {
  for (const char byte : data.substr(entry.begin, entry.end - entry.begin)) {
    if (byte != 0 && byte != 1) {
      return Damaged(origin, absl::StrCat("tensor '", entry.name, "' of type BOOL holds the byte ",
                                          static_cast<int>(static_cast<uint8_t>(byte))));
    }
  }
  return absl::OkStatus();
}

Tensor Extract(const Entry& entry, absl::string_view data, const std::shared_ptr<void>& owner) {
  std::byte* bytes =
      const_cast<std::byte*>(reinterpret_cast<const std::byte*>(data.data())) + entry.begin;
  const size_t element = static_cast<size_t>(BitWidth(entry.dtype)) / 8;
  // Foreign files need not be aligned; a typed span must be.
  if (reinterpret_cast<uintptr_t>(bytes) % element == 0) {
    return Tensor::Wrap(entry.dtype, entry.shape, bytes, owner);
  }
  Tensor copy(entry.dtype, entry.shape);
  if (copy.size_bytes() > 0)
    std::memcpy(copy.mutable_data(), bytes, static_cast<size_t>(copy.size_bytes()));
  return copy;
}

const char* FormatName(DType dtype) {
  for (const TypeName& row : kTypeNames) {
    if (row.dtype == dtype) return row.name;
  }
  return nullptr;
}

// Wide elements first, then by name: every tensor is then aligned to its element without gaps,
// which the format forbids.
std::vector<const TensorMap::value_type*> DataOrder(const TensorMap& tensors) {
  std::vector<const TensorMap::value_type*> order;
  for (const auto& item : tensors) order.push_back(&item);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return BitWidth(a->second.dtype()) > BitWidth(b->second.dtype());
  });
  return order;
}

// Padded with spaces so that the data starts aligned.
absl::StatusOr<std::string> HeaderText(const Json& header) {
  std::string text;
  try {
    text = header.dump();
  } catch (const Json::exception&) {  // the library's way to say that a string is not UTF-8
    return absl::InvalidArgumentError(
        "safetensors cannot hold a tensor's name or a metadata entry that is not UTF-8");
  }
  text.resize((kLengthBytes + text.size() + kDataAlignment - 1) / kDataAlignment * kDataAlignment -
                  kLengthBytes,
              ' ');
  if (text.size() > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("safetensors cannot hold a header of ", text.size(), " bytes"));
  }
  return text;
}

}  // namespace

absl::StatusOr<TensorMap> ParseSafetensors(absl::string_view bytes, absl::string_view origin,
                                           const std::shared_ptr<void>& owner,
                                           StringMap* metadata) {
  if (bytes.size() < kLengthBytes) return Damaged(origin, "it is shorter than 8 bytes");
  uint64_t header_bytes = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    header_bytes |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  if (header_bytes > kMaxHeaderBytes || header_bytes > bytes.size() - kLengthBytes) {
    return Damaged(origin, absl::StrCat("its header claims ", header_bytes, " bytes"));
  }
  DS_ASSIGN_OR_RETURN(const Json header,
                      ParseHeader(bytes.substr(kLengthBytes, header_bytes), origin));
  const absl::string_view data = bytes.substr(kLengthBytes + header_bytes);
  std::vector<Entry> entries;
  for (const auto& [name, json] : header.items()) {
    if (name == "__metadata__") {
      DS_RETURN_IF_ERROR(ReadMetadata(json, origin, metadata));
      continue;
    }
    DS_ASSIGN_OR_RETURN(Entry entry, ParseEntry(name, json, origin));
    entries.push_back(std::move(entry));
  }
  DS_RETURN_IF_ERROR(CheckTiling(entries, data.size(), origin));
  TensorMap tensors;
  for (const Entry& entry : entries) {
    if (entry.dtype == DType::kBool) DS_RETURN_IF_ERROR(CheckBools(entry, data, origin));
    tensors[entry.name] = Extract(entry, data, owner);
  }
  return tensors;
}

absl::StatusOr<TensorMap> ReadSafetensors(const std::string& path, StringMap* metadata) {
  DS_ASSIGN_OR_RETURN(std::shared_ptr<MappedFile> file, MappedFile::Open(path));
  const absl::Span<const std::byte> bytes = file->bytes();
  return ParseSafetensors(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), path,
      std::move(file), metadata);
}

absl::Status SerializeSafetensorsTo(const TensorMap& tensors, const StringMap& metadata,
                                    ByteSink sink) {
  const std::vector<const TensorMap::value_type*> order = DataOrder(tensors);
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t position = 0;
  for (const auto* item : order) {
    const auto& [name, tensor] = *item;
    const char* type = FormatName(tensor.dtype());
    if (type == nullptr || name == "__metadata__") {
      return absl::InvalidArgumentError(absl::StrCat("safetensors cannot hold tensor '", name,
                                                     "' of type ", Name(tensor.dtype())));
    }
    const uint64_t end = position + static_cast<uint64_t>(tensor.size_bytes());
    header[name] = {{"dtype", type}, {"shape", tensor.shape()}, {"data_offsets", {position, end}}};
    position = end;
  }
  DS_ASSIGN_OR_RETURN(const std::string text, HeaderText(header));
  std::string length;
  for (size_t i = 0; i < kLengthBytes; ++i)
    length.push_back(static_cast<char>(text.size() >> (8 * i)));
  DS_RETURN_IF_ERROR(sink(length + text));
  for (const auto* item : order) {
    const Tensor& tensor = item->second;
    if (tensor.size_bytes() == 0) continue;
    DS_RETURN_IF_ERROR(sink(absl::string_view(reinterpret_cast<const char*>(tensor.data()),
                                              static_cast<size_t>(tensor.size_bytes()))));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> SerializeSafetensors(const TensorMap& tensors,
                                                 const StringMap& metadata) {
  int64_t data_bytes = 0;
  for (const auto& [name, tensor] : tensors) data_bytes += tensor.size_bytes();
  std::string bytes;
  DS_RETURN_IF_ERROR(SerializeSafetensorsTo(tensors, metadata, [&](absl::string_view piece) {
    if (bytes.empty()) bytes.reserve(piece.size() + static_cast<size_t>(data_bytes));
    bytes.append(piece.data(), piece.size());
    return absl::OkStatus();
  }));
  return bytes;
}

absl::Status WriteSafetensors(const std::string& path, const TensorMap& tensors,
                              const StringMap& metadata) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  DS_RETURN_IF_ERROR(SerializeSafetensorsTo(
      tensors, metadata, [&](absl::string_view bytes) { return file->Append(bytes); }));
  return file->Commit();
}

}  // namespace ds

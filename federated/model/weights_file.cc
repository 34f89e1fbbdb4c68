#include "federated/model/weights_file.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/tensor/safetensors.h"
#include "nlohmann/json.hpp"

namespace ds::federated {
namespace {

constexpr char kTensor[] = "weights";
constexpr char kLayout[] = "layout";
constexpr const char* kKindNames[] = {"parameter", "statistic", "variance"};

std::string LayoutText(const ModelLayout& layout) {
  nlohmann::json slots = nlohmann::json::array();
  for (const ModelSlot& slot : layout.slots) {
    slots.push_back({slot.name, slot.count, kKindNames[static_cast<size_t>(slot.kind)]});
  }
  return slots.dump();
}

absl::StatusOr<SlotKind> KindFromName(const std::string& name) {
  for (size_t kind = 0; kind < std::size(kKindNames); ++kind) {
    if (name == kKindNames[kind]) return static_cast<SlotKind>(kind);
  }
  return absl::DataLossError(absl::StrCat("its layout has an unknown kind '", name, "'"));
}

absl::StatusOr<ModelLayout> LayoutFromText(const std::string& text) {
  const nlohmann::json slots = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!slots.is_array()) return absl::DataLossError("its metadata has no layout");
  ModelLayout layout;
  for (const nlohmann::json& slot : slots) {
    if (!slot.is_array() || slot.size() != 3 || !slot[0].is_string() ||
        !slot[1].is_number_integer() || !slot[2].is_string() || slot[1].get<int64_t>() < 0) {
      return absl::DataLossError("its layout has a slot that is not [name, count, kind]");
    }
    DS_ASSIGN_OR_RETURN(const SlotKind kind, KindFromName(slot[2].get<std::string>()));
    layout.slots.push_back({slot[0].get<std::string>(), slot[1].get<int64_t>(), kind});
  }
  return layout;
}

absl::StatusOr<FlatModel> Read(const std::string& path) {
  StringMap metadata;
  DS_ASSIGN_OR_RETURN(TensorMap tensors, ReadSafetensors(path, &metadata));
  FlatModel model;
  DS_ASSIGN_OR_RETURN(model.layout, LayoutFromText(metadata[kLayout]));
  const auto found = tensors.find(kTensor);
  if (found == tensors.end() || found->second.dtype() != DType::kFloat32) {
    return absl::DataLossError("it has no float32 tensor 'weights'");
  }
  const absl::Span<const float> weights = found->second.span<float>();
  // What is left is counted down, so that no sum can overflow.
  int64_t left = static_cast<int64_t>(weights.size());
  for (const ModelSlot& slot : model.layout.slots)
    left = slot.count > left ? -1 : left - slot.count;
  if (left != 0) {
    return absl::DataLossError(
        absl::StrCat("its layout does not fill its ", weights.size(), " weights"));
  }
  model.weights.assign(weights.begin(), weights.end());
  return model;
}

}  // namespace

absl::Status WriteFlatModel(const std::string& path, const ModelLayout& layout,
                            absl::Span<const float> weights) {
  // The writer only reads them.
  std::byte* bytes = reinterpret_cast<std::byte*>(const_cast<float*>(weights.data()));
  TensorMap tensors;
  tensors.emplace(kTensor, Tensor::Wrap(DType::kFloat32, {static_cast<int64_t>(weights.size())},
                                        bytes, nullptr));
  return WriteSafetensors(path, tensors, {{kLayout, LayoutText(layout)}});
}

absl::StatusOr<FlatModel> ReadFlatModel(const std::string& path) {
  absl::StatusOr<FlatModel> model = Read(path);
  if (!model.ok()) return Annotate(model.status(), path);
  return model;
}

}  // namespace ds::federated

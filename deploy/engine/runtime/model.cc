#include "deploy/engine/runtime/model.h"

#include <cstdlib>

#include "deploy/engine/runtime/check/plan.h"
#include "deploy/engine/runtime/hash.h"
#include "deploy/engine/runtime/steps/step.h"

namespace ds::engine {
namespace {

bool HasPackingsFor(const FileView& view, Isa isa) {
  for (const file::Operator& op : view.operators) {
    for (const uint32_t constant : view.Constants(op)) {
      if (PackingFor(view, constant, isa) == nullptr) return false;
    }
  }
  return true;
}

std::string Names(const FileView& view, bool of_file) {
  std::string names;
  for (int i = 0; i < kIsaCount; ++i) {
    const auto isa = static_cast<Isa>(i);
    if (of_file ? HasPackingsFor(view, isa) : KernelsFor(isa) != nullptr)
      names += (names.empty() ? "" : ", ") + std::string(IsaName(isa));
  }
  return names.empty() ? "none" : names;
}

Status Choose(const FileView& view, const std::string& forced, const Kernels*& kernels) {
  for (int i = kIsaCount - 1; i >= 0; --i) {
    const auto isa = static_cast<Isa>(i);
    kernels = KernelsFor(isa);
    if (kernels == nullptr || (!forced.empty() && forced != kernels->name)) continue;
    if (HasPackingsFor(view, isa)) return {};
  }
  return Status::Error(
      "no instruction set fits: " + (forced.empty() ? "" : "'" + forced + "' was asked for, ") +
      "this processor has " + Names(view, false) + ", the file's weights are for " +
      Names(view, true) + "; write the file again for this processor (--isa)");
}

}  // namespace

Status Model::Verify(std::span<const std::byte> bytes, const ModelOptions& options) {
  DS_ENGINE_RETURN_IF_ERROR(FileView::Open(bytes, view_));
  DS_ENGINE_RETURN_IF_ERROR(CheckPlan(view_));
  if (options.verify_weights) {
    const auto weights = bytes.subspan(view_.header->tables_bytes);
    if (Hash64(weights.data(), weights.size()) != view_.header->weights_hash) {
      return Status::Error("the weights' hash is wrong: the file is damaged; copy it again");
    }
  }
  std::string forced = options.isa;
  if (const char* named = std::getenv("DS_ISA"); forced.empty() && named != nullptr) forced = named;
  return Choose(view_, forced, kernels_);
}

Status Model::FromBytes(std::span<const std::byte> bytes, const ModelOptions& options,
                        std::shared_ptr<const Model>& model) {
  auto made = std::make_shared<Model>();
  DS_ENGINE_RETURN_IF_ERROR(made->Verify(bytes, options));
  model = std::move(made);
  return {};
}

Status Model::Open(const std::string& path, const ModelOptions& options,
                   std::shared_ptr<const Model>& model) {
  auto made = std::make_shared<Model>();
  DS_ENGINE_RETURN_IF_ERROR(made->file_.Open(path));
  if (Status status = made->Verify(made->file_.bytes(), options); !status.ok()) {
    return Status::Error("'" + path + "': " + status.message());
  }
  if (options.populate) made->file_.Populate();
  model = std::move(made);
  return {};
}

}  // namespace ds::engine

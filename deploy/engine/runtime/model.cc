#include "deploy/engine/runtime/model.h"

#include <algorithm>
#include <cstdlib>

#include "deploy/engine/runtime/check/plan.h"
#include "deploy/engine/runtime/hash.h"
#include "deploy/engine/runtime/steps/step.h"

namespace ds::engine {
namespace {

using Plans = std::vector<FileView>;

bool HasPackingsFor(const Plans& plans, Isa isa) {
  for (const FileView& view : plans) {
    for (const file::Operator& op : view.operators) {
      for (const uint32_t constant : view.Constants(op)) {
        if (PackingFor(view, constant, isa) == nullptr) return false;
      }
    }
  }
  return true;
}

std::string Names(const Plans& plans, bool of_file) {
  std::string names;
  for (int i = 0; i < kIsaCount; ++i) {
    const auto isa = static_cast<Isa>(i);
    if (of_file ? HasPackingsFor(plans, isa) : KernelsFor(isa) != nullptr)
      names += (names.empty() ? "" : ", ") + std::string(IsaName(isa));
  }
  return names.empty() ? "none" : names;
}

Status Choose(const Plans& plans, const std::string& forced, const Kernels*& kernels) {
  for (int i = kIsaCount - 1; i >= 0; --i) {
    const auto isa = static_cast<Isa>(i);
    kernels = KernelsFor(isa);
    if (kernels == nullptr || (!forced.empty() && forced != kernels->name)) continue;
    if (HasPackingsFor(plans, isa)) return {};
  }
  return Status::Error(
      "no instruction set fits: " + (forced.empty() ? "" : "'" + forced + "' was asked for, ") +
      "this processor has " + Names(plans, false) + ", the file's weights are for " +
      Names(plans, true) + "; write the file again for this processor (--isa)");
}

std::string DimsText(std::span<const uint32_t> dims) {
  std::string text;
  for (const uint32_t dim : dims) text += (text.empty() ? "" : ", ") + std::to_string(dim);
  return "[" + text + "]";
}

}  // namespace

Status Model::Verify(std::span<const std::byte> bytes, const ModelOptions& options) {
  FileView first;
  DS_ENGINE_RETURN_IF_ERROR(FileView::Open(bytes, first));
  plans_.reserve(first.plans.size());
  for (size_t i = 0; i < first.plans.size(); ++i) {
    plans_.push_back(first.Of(i));
    DS_ENGINE_RETURN_IF_ERROR(CheckPlan(plans_.back()));
  }
  if (options.verify_weights) {
    const auto weights = bytes.subspan(first.header->tables_bytes);
    if (Hash64(weights.data(), weights.size()) != first.header->weights_hash) {
      return Status::Error("the weights' hash is wrong: the file is damaged; copy it again");
    }
  }
  std::string forced = options.isa;
  if (const char* named = std::getenv("DS_ISA"); forced.empty() && named != nullptr) forced = named;
  return Choose(plans_, forced, kernels_);
}

int Model::FindShape(std::span<const uint32_t> dims) const {
  for (size_t i = 0; i < plans_.size(); ++i) {
    size_t at = 0;
    bool equal = true;
    for (const uint32_t id : plans_[i].inputs) {
      const file::Tensor& tensor = plans_[i].tensors[id];
      equal = equal && dims.size() - at >= tensor.rank &&
              std::equal(tensor.dims, tensor.dims + tensor.rank, dims.begin() + at);
      if (!equal) break;
      at += tensor.rank;
    }
    if (equal && at == dims.size()) return static_cast<int>(i);
  }
  return -1;
}

int Model::FindBatch(uint32_t batch) const {
  for (size_t i = 0; i < plans_.size(); ++i) {
    if (plans_[i].inputs.empty()) continue;
    const file::Tensor& input = plans_[i].tensors[plans_[i].inputs[0]];
    if (input.rank > 0 && input.dims[0] == batch) return static_cast<int>(i);
  }
  return -1;
}

std::string Model::ShapesText() const {
  std::string text;
  for (const FileView& view : plans_) {
    text += text.empty() ? "" : "; ";
    for (size_t i = 0; i < view.inputs.size(); ++i) {
      const file::Tensor& tensor = view.tensors[view.inputs[i]];
      text += (i == 0 ? "" : ", ") + std::string(view.Name(tensor)) + " " +
              DimsText({tensor.dims, tensor.rank});
    }
  }
  return text;
}

// Only what the running instruction set reads: neighbours together, and over gaps that cost less
// than another call.
void Model::Populate() const {
  constexpr uint64_t kGap = 1 << 16;
  uint64_t begin = 0, end = 0;
  for (const file::Constant& constant : view().constants) {
    if (!(constant.kernels >> static_cast<int>(kernels_->isa) & 1)) continue;
    if (constant.offset < begin || constant.offset > end + kGap) {
      if (end > begin) file_.Populate(begin, end - begin);
      begin = constant.offset;
    }
    end = std::max(end, constant.offset + constant.bytes);
  }
  if (end > begin) file_.Populate(begin, end - begin);
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
  if (options.populate) made->Populate();
  model = std::move(made);
  return {};
}

}  // namespace ds::engine

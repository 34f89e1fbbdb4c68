#include "trainer/divergence.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "comm/bytes.h"

namespace ds {

const char kLowerLearningRate[] =
    "lower optimizer.learning_rate, let it rise slowly (schedule.warmup_epochs), or set "
    "optimizer.clip_norm";

namespace {

constexpr char kHalfRange[] =
    "fp16 holds magnitudes up to 65504: train with precision.mode=bf16 or fp32, or lower "
    "optimizer.learning_rate";
constexpr char kBadData[] = "look at that sample, and at data.mean and data.stddev";
constexpr char kBadConstant[] =
    "it is in the model's file, no step made it so: repair the constant or export the model again";

// What a tensor holds.
struct Seen {
  int64_t nans = 0, infinities = 0, count = 0;
  double largest = 0;  // finite magnitude
  bool half = false;   // float16

  bool finite() const { return nans + infinities == 0; }
  std::string Text() const {
    return absl::StrCat("holds ", nans, " NaN and ", infinities, " Inf among ", count, " values");
  }
};

Seen Look(const at::Tensor& tensor) {
  Seen seen;
  if (!tensor.defined() || !tensor.is_floating_point() || tensor.numel() == 0) return seen;
  const at::NoGradGuard no_grad;
  const at::Tensor values = tensor.detach();
  seen.count = values.numel();
  seen.half = values.scalar_type() == at::kHalf;
  const at::Tensor finite = values.isfinite();
  if (!finite.all().item<bool>()) {
    seen.nans = values.isnan().sum().item<int64_t>();
    seen.infinities = values.isinf().sum().item<int64_t>();
  }
  seen.largest =
      at::where(finite, values.abs(), at::zeros({}, values.options())).max().item<double>();
  return seen;
}

std::optional<Divergence> FindIn(absl::string_view kind, const std::string& name,
                                 const at::Tensor& tensor) {
  const Seen seen = Look(tensor);
  if (seen.finite()) return std::nullopt;
  return Divergence{absl::StrCat(kind, " '", name, "' ", seen.Text()), kLowerLearningRate};
}

// One forward pass, every value looked at.
class ForwardLook {
 public:
  explicit ForwardLook(GraphModule& module) : module_(module), graph_(module.graph()) {
    for (const Node& node : graph_.nodes()) {
      for (const ValueId id : node.outputs) {
        if (id != kNoValue) makers_[id] = &node;
      }
    }
    for (const auto& [id, initializer] : graph_.initializers()) {
      const bool number = IsFloatingPoint(initializer.data.dtype());
      // Parameters and statistics, of which the graph has what they began with, are finite.
      if (number && !Trained(id)) seen_[id] = Look(ToTorch(initializer.data));
    }
  }

  absl::Status Run(const std::vector<at::Tensor>& inputs) {
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> statistics;
    for (const NamedTensor& buffer : module_.buffers()) statistics.push_back(buffer.tensor.clone());
    module_.set_value_observer(
        [this](ValueId id, const at::Tensor& tensor) { seen_[id] = Look(tensor); });
    const absl::Status status = module_.Forward(inputs).status();
    module_.set_value_observer(nullptr);
    for (size_t i = 0; i < statistics.size(); ++i) {
      at::Tensor buffer = module_.buffers()[i].tensor;
      buffer.copy_(statistics[i]);
    }
    return status;
  }

  std::optional<Divergence> Find() const {
    for (const ValueId id : graph_.inputs()) {
      if (Bad(id))
        return Divergence{absl::StrCat("input '", Name(id), "' ", At(id).Text()), kBadData};
    }
    for (const ValueId id : graph_.outputs()) {
      if (Bad(id)) return Origin(id);
    }
    return std::nullopt;
  }

 private:
  bool Trained(ValueId id) const {
    const std::string& name = graph_.value(id).name;
    const auto named = [&](const NamedTensor& entry) { return entry.name == name; };
    return std::any_of(module_.parameters().begin(), module_.parameters().end(), named) ||
           std::any_of(module_.buffers().begin(), module_.buffers().end(), named);
  }

  const std::string& Name(ValueId id) const { return graph_.value(id).name; }
  const Seen& At(ValueId id) const { return seen_.at(id); }
  bool Bad(ValueId id) const {
    const auto found = seen_.find(id);
    return found != seen_.end() && !found->second.finite();
  }
  // Made inside a fused step, where nobody looks.
  bool Hidden(ValueId id) const { return makers_.contains(id) && !seen_.contains(id); }

  // How likely a value that is not finite comes from this operand; 0: not at all. A mask's -Inf is
  // the last to be blamed.
  int Suspicion(ValueId id) const {
    if (id == kNoValue) return 0;
    if (Hidden(id)) return 1;
    if (!Bad(id)) return 0;
    return (At(id).nans > 0 ? 4 : 2) + (graph_.IsInitializer(id) ? 0 : 1);
  }

  Divergence Origin(ValueId bad) const {
    ValueId visible = bad;
    absl::flat_hash_set<ValueId> passed;
    while (!graph_.IsInitializer(bad) && passed.insert(bad).second) {
      const auto maker = makers_.find(bad);
      if (maker == makers_.end()) break;
      const std::vector<ValueId>& operands = maker->second->inputs;
      const auto worst =
          std::max_element(operands.begin(), operands.end(),
                           [this](ValueId a, ValueId b) { return Suspicion(a) < Suspicion(b); });
      if (worst == operands.end() || Suspicion(*worst) == 0) break;
      bad = *worst;
      if (!Hidden(bad)) visible = bad;
    }
    if (graph_.IsInitializer(visible)) {
      return {absl::StrCat("constant '", Name(visible), "' of the model ", At(visible).Text()),
              kBadConstant};
    }
    return MadeBy(*makers_.at(visible), visible);
  }

  Divergence MadeBy(const Node& node, ValueId value) const {
    double largest = 0;
    for (const ValueId id : node.inputs) {
      if (const auto found = seen_.find(id); found != seen_.end())
        largest = std::max(largest, found->second.largest);
    }
    const bool low = node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul";
    return {absl::StrFormat("'%s', which node '%s' (%s) makes of finite values up to %.3g, %s",
                            Name(value), node.name, node.op, largest, At(value).Text()),
            At(value).half || (low && module_.precision() == Precision::kFloat16)
                ? kHalfRange
                : absl::StrCat("look for a division by 0 or a logarithm of 0 there; if values grew "
                               "too large in training, ",
                               kLowerLearningRate)};
  }

  GraphModule& module_;
  const Graph& graph_;
  absl::flat_hash_map<ValueId, const Node*> makers_;
  absl::flat_hash_map<ValueId, Seen> seen_;
};

std::string Encode(const Divergence& divergence) {
  return absl::StrCat(divergence.step, "\n", divergence.what, "\n", divergence.help);
}

std::optional<Divergence> Decode(absl::string_view text) {
  const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits('\n', 2));
  Divergence divergence;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[0], &divergence.step)) return std::nullopt;
  divergence.what = parts[1];
  divergence.help = parts[2];
  return divergence;
}

}  // namespace

std::optional<Divergence> FindInTensors(absl::string_view kind,
                                        const std::map<std::string, at::Tensor>& tensors) {
  for (const auto& [name, tensor] : tensors) {
    if (auto found = FindIn(kind, name, tensor); found.has_value()) return found;
  }
  return std::nullopt;
}

std::optional<Divergence> FindInWeights(const GraphModule& module) {
  for (const int i : module.forward_order()) {
    const NamedTensor& parameter = module.parameters()[static_cast<size_t>(i)];
    if (auto found = FindIn("parameter", parameter.name, parameter.tensor); found.has_value())
      return found;
  }
  for (const NamedTensor& buffer : module.buffers()) {
    if (auto found = FindIn("statistic", buffer.name, buffer.tensor); found.has_value())
      return found;
  }
  return std::nullopt;
}

bool ParametersAreFinite(const GraphModule& module) {
  const at::NoGradGuard no_grad;
  return std::all_of(module.parameters().begin(), module.parameters().end(),
                     [](const NamedTensor& parameter) {
                       return parameter.tensor.detach().isfinite().all().item<bool>();
                     });
}

absl::StatusOr<std::optional<Divergence>> FindInForward(GraphModule& module,
                                                        const std::vector<at::Tensor>& inputs) {
  if (std::optional<Divergence> found = FindInWeights(module); found.has_value()) return found;
  ForwardLook look(module);
  DS_RETURN_IF_ERROR(look.Run(inputs));
  return look.Find();
}

absl::Status DivergenceError(absl::string_view headline, const std::optional<Divergence>& mine,
                             Communicator& communicator) {
  DS_ASSIGN_OR_RETURN(
      const std::vector<std::string> all,
      AllGatherBytes(mine.has_value() ? Encode(*mine) : std::string(), communicator));
  std::optional<Divergence> first;
  size_t rank = 0;
  for (size_t r = 0; r < all.size(); ++r) {
    const std::optional<Divergence> other = Decode(all[r]);
    if (!other.has_value() || (first.has_value() && other->step >= first->step)) continue;
    first = other;
    rank = r;
  }
  if (!first.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        headline, "; every tensor that can be looked at is finite: ", kLowerLearningRate));
  }
  std::string where;
  if (all.size() > 1) absl::StrAppend(&where, ", first on rank ", rank);
  if (first->step >= 0) absl::StrAppend(&where, ", at step ", first->step);
  return absl::InvalidArgumentError(
      absl::StrCat(headline, ": ", first->what, where, "; ", first->help));
}

}  // namespace ds

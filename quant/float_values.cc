#include "quant/float_values.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "base/status.h"

namespace ds {
namespace {

constexpr double kShareToBlame = 0.25;  // of the error that is allowed
constexpr size_t kFew = 4, kOfSo = 16;  // how many such there may be: 4, or a 16th
constexpr double kWorthIt = 0.25;       // of the error, to be left by what does not suffice

double Worst(const std::vector<double>& errors) {
  double worst = 0;
  for (const double error : errors) worst = std::max(worst, std::isnan(error) ? HUGE_VAL : error);
  return worst;
}

// Takes values out of a plan, and what is of no use without them.
class Remover {
 public:
  Remover(const Graph& graph, const QuantSelection& selection)
      : graph_(graph), selection_(selection) {
    for (const SharedSite& shared : selection.shared) moved_[shared.source].push_back(shared.value);
    for (size_t n = 0; n < graph.nodes().size(); ++n) {
      for (const ValueId id : graph.nodes()[n].outputs) makers_[id] = static_cast<int>(n);
    }
  }

  QuantPlan Without(QuantPlan plan, const std::set<ValueId>& values) const {
    for (const ValueId id : values) Erase(id, plan);
    for (bool changed = true; changed;) {
      changed = false;
      const std::set<int> integers = IntegerNodes(plan);
      for (const WeightSite& site : selection_.weights) {
        const std::vector<int> readers = graph_.Consumers(site.weight);
        const bool used = std::ranges::any_of(readers, [&](int n) { return integers.contains(n); });
        if (!used) plan.weights.erase(Name(site.weight));
      }
      for (const ActivationSite& site : selection_.activations) {
        if (!plan.activations.contains(Name(site.value)) || IsOfUse(site, integers)) continue;
        Erase(site.value, plan);
        changed = true;
      }
    }
    return plan;
  }

  // A site's value and what only moves its numbers.
  std::vector<ValueId> Moved(ValueId id) const {
    std::vector<ValueId> all = {id};
    for (size_t i = 0; i < all.size(); ++i) {
      const auto found = moved_.find(all[i]);
      if (found != moved_.end()) all.insert(all.end(), found->second.begin(), found->second.end());
    }
    return all;
  }

 private:
  const std::string& Name(ValueId id) const { return graph_.value(id).name; }

  void Erase(ValueId id, QuantPlan& plan) const {
    for (const ValueId one : Moved(id)) plan.activations.erase(Name(one));
  }

  std::set<int> IntegerNodes(const QuantPlan& plan) const {
    std::set<int> integers;
    for (size_t n = 0; n < graph_.nodes().size(); ++n) {
      if (ComputesIntegers(graph_.nodes()[n], plan)) integers.insert(static_cast<int>(n));
    }
    return integers;
  }

  // Runtimes take a matrix product's result in float; all others want integers on both sides.
  bool ComputesIntegers(const Node& node, const QuantPlan& plan) const {
    if (HandsOnValues(node)) return false;
    for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
      const ValueId id = node.inputs[slot];
      if (id == kNoValue || (slot == 2 && (node.op == "Conv" || node.op == "Gemm"))) continue;
      const std::string& name = Name(id);
      if (!plan.activations.contains(name) && !plan.weights.contains(name) &&
          !plan.constants.contains(name))
        return false;
    }
    return node.op == "Gemm" || node.op == "MatMul" || HasIntegerResult(node, plan);
  }

  bool HasIntegerResult(const Node& node, const QuantPlan& plan) const {
    const ValueId result = node.outputs[0];
    if (plan.activations.contains(Name(result))) return true;
    const std::vector<int> readers = graph_.Consumers(result);
    if (readers.size() != 1) return false;
    const Node& clamp = graph_.nodes()[static_cast<size_t>(readers[0])];
    return (clamp.op == "Relu" || clamp.op == "Clip") &&
           plan.activations.contains(Name(clamp.outputs[0]));
  }

  // A node that reads it, or the one that makes it, computes with integers.
  bool IsOfUse(const ActivationSite& site, const std::set<int>& integers) const {
    if (std::ranges::any_of(site.readers, [&](int n) { return integers.contains(n); })) return true;
    auto maker = makers_.find(site.value);
    if (maker == makers_.end()) return false;
    if (integers.contains(maker->second)) return true;
    const Node& node = graph_.nodes()[static_cast<size_t>(maker->second)];
    if (node.op != "Relu" && node.op != "Clip") return false;
    maker = makers_.find(node.inputs[0]);
    return maker != makers_.end() && integers.contains(maker->second);
  }

  const Graph& graph_;
  const QuantSelection& selection_;
  std::map<ValueId, std::vector<ValueId>> moved_;  // source -> values of its numbers
  std::map<ValueId, int> makers_;
};

class Search {
 public:
  Search(const Graph& graph, const QuantSelection& selection, const QuantPlan& plan,
         const MeasureErrors& measure, const FloatValuesOptions& options)
      : graph_(graph),
        selection_(selection),
        plan_(plan),
        measure_(measure),
        options_(options),
        remover_(graph, selection) {}

  absl::StatusOr<FloatValues> Run() {
    FloatValues found{.plan = plan_, .values = {}, .error_before = {}, .error_after = {}};
    DS_ASSIGN_OR_RETURN(found.error_before, measure_(plan_));
    found.error_after = found.error_before;
    if (Worst(found.error_before) <= options_.most_error) return found;
    parts_.push_back({0, selection_.activations.size(), found.error_before});
    while (!parts_.empty() && measurements_ < options_.most_measurements) {
      const Part part = TakeWorst();
      if (!IsToBlame(part)) break;
      if (part.end - part.begin > 1) {
        const size_t middle = part.begin + (part.end - part.begin) / 2;
        DS_RETURN_IF_ERROR(Push(part.begin, middle));
        DS_RETURN_IF_ERROR(Push(middle, part.end));
        continue;
      }
      found.values.push_back(selection_.activations[part.begin].value);
      if (Expected() > options_.most_error) continue;
      DS_RETURN_IF_ERROR(TakeOut(found));
      if (Worst(found.error_after) <= options_.most_error) return found;
    }
    if (!found.values.empty()) DS_RETURN_IF_ERROR(TakeOut(found));
    if (Worst(found.error_after) <= kWorthIt * Worst(found.error_before)) return found;
    return FloatValues{plan_, {}, found.error_before, found.error_before};
  }

 private:
  struct Part {  // of the sites, with the errors of it alone being rounded
    size_t begin = 0, end = 0;
    std::vector<double> errors;
  };

  // A part below the quarter holds no value above it.
  bool IsToBlame(const Part& part) {
    const double worst = Worst(part.errors);
    if (worst >= options_.most_error) return true;
    if (worst < kShareToBlame * options_.most_error) return false;
    const size_t few = std::max(kFew, selection_.activations.size() / kOfSo);
    return part.end - part.begin > 1 || ++lesser_ <= few;
  }

  absl::Status TakeOut(FloatValues& found) {
    std::ranges::sort(found.values);
    found.plan = remover_.Without(plan_, {found.values.begin(), found.values.end()});
    ++measurements_;
    DS_ASSIGN_OR_RETURN(found.error_after, measure_(found.plan));
    return absl::OkStatus();
  }

  Part TakeWorst() {
    const auto worst =
        std::ranges::max_element(parts_, {}, [](const Part& part) { return Worst(part.errors); });
    Part part = std::move(*worst);
    parts_.erase(worst);
    return part;
  }

  absl::Status Push(size_t begin, size_t end) {
    ++measurements_;
    DS_ASSIGN_OR_RETURN(std::vector<double> errors, measure_(Only(begin, end)));
    parts_.push_back({begin, end, std::move(errors)});
    return absl::OkStatus();
  }

  // What the parts that are left cause together: small errors add up.
  double Expected() const {
    std::vector<double> sums;
    for (const Part& part : parts_) {
      sums.resize(part.errors.size());
      for (size_t o = 0; o < sums.size(); ++o) sums[o] += part.errors[o];
    }
    return Worst(sums);
  }

  // These sites alone, with the weights of the nodes that read them.
  QuantPlan Only(size_t begin, size_t end) const {
    QuantPlan plan;
    std::set<int> readers;
    const auto copy = [this](const std::map<std::string, QuantParams>& from, ValueId id,
                             std::map<std::string, QuantParams>& to) {
      const auto found = from.find(graph_.value(id).name);
      if (found != from.end()) to.insert(*found);
    };
    for (size_t i = begin; i < end; ++i) {
      const ActivationSite& site = selection_.activations[i];
      readers.insert(site.readers.begin(), site.readers.end());
      for (const ValueId id : remover_.Moved(site.value))
        copy(plan_.activations, id, plan.activations);
    }
    for (const WeightSite& site : selection_.weights) {
      if (readers.contains(site.node)) copy(plan_.weights, site.weight, plan.weights);
    }
    return plan;
  }

  const Graph& graph_;
  const QuantSelection& selection_;
  const QuantPlan& plan_;
  const MeasureErrors& measure_;
  const FloatValuesOptions options_;
  const Remover remover_;
  std::vector<Part> parts_;  // whose values stay integers so far
  int measurements_ = 1;
  size_t lesser_ = 0;  // values found that alone make less than too much
};

}  // namespace

absl::StatusOr<FloatValues> FindFloatValues(const Graph& graph, const QuantSelection& selection,
                                            const QuantPlan& plan, const MeasureErrors& measure,
                                            const FloatValuesOptions& options) {
  return Search(graph, selection, plan, measure, options).Run();
}

QuantSelection SelectionIn(const Graph& graph, const QuantSelection& selection,
                           const QuantPlan& plan) {
  QuantSelection left = selection;
  const auto name = [&graph](ValueId id) { return graph.value(id).name; };
  std::erase_if(left.weights,
                [&](const WeightSite& site) { return !plan.weights.contains(name(site.weight)); });
  std::erase_if(left.multipliers, [&](int n) {
    return !plan.weights.contains(name(graph.nodes()[static_cast<size_t>(n)].inputs[1]));
  });
  std::erase_if(left.activations, [&](const ActivationSite& site) {
    return !plan.activations.contains(name(site.value));
  });
  std::erase_if(left.shared, [&](const SharedSite& shared) {
    return !plan.activations.contains(name(shared.value));
  });
  return left;
}

}  // namespace ds

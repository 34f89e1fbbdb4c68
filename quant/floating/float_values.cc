#include "quant/floating/float_values.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "base/status.h"
#include "quant/floating/plan_cutter.h"

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

class Search {
 public:
  Search(const Graph& graph, const QuantSelection& selection, const QuantPlan& plan,
         const MeasureErrors& measure, const FloatValuesOptions& options)
      : graph_(graph),
        selection_(selection),
        plan_(plan),
        measure_(measure),
        options_(options),
        cutter_(graph, selection) {}

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
    found.plan = cutter_.Without(plan_, {found.values.begin(), found.values.end()});
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
      for (const ValueId id : cutter_.Moved(site.value))
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
  const PlanCutter cutter_;
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

}  // namespace ds

#include "quant/torch/widths.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace ds {
namespace {

constexpr int kLeastBits = 2, kMostBits = 8;
// Widths that a search gives activations.
constexpr int kActivationWidths[] = {4, 8};

absl::Status CheckBits(absl::string_view what, int bits) {
  if (bits >= kLeastBits && bits <= kMostBits) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " is ", bits, "; it must be in 2..8"));
}

}  // namespace

absl::Status CheckOptions(const QuantizerOptions& options) {
  DS_RETURN_IF_ERROR(CheckBits("bits", options.bits));
  DS_RETURN_IF_ERROR(CheckBits("activation_bits", options.activation_bits));
  DS_RETURN_IF_ERROR(CheckBits("end_bits", options.end_bits));
  DS_RETURN_IF_ERROR(CheckBits("sum_bits", options.sum_bits));
  for (const auto& [name, bits] : options.named_bits) {
    DS_RETURN_IF_ERROR(CheckBits(absl::StrCat("named_bits of \"", name, "\""), bits));
  }
  DS_RETURN_IF_ERROR(CheckMixedBits(options.mixed_bits));
  if (options.method != "auto")
    DS_RETURN_IF_ERROR(CalibrationMethodFromName(options.method).status());
  const bool known_group =
      options.group == 0 || options.group == 32 || options.group == 64 || options.group == 128;
  if (!known_group) {
    return absl::InvalidArgumentError(
        absl::StrCat("group is ", options.group, "; it must be 0, 32, 64 or 128"));
  }
  const std::string& equalization = options.equalization;
  if (equalization != "on" && equalization != "off" && equalization != "auto") {
    return absl::InvalidArgumentError(
        absl::StrCat("equalization is '", equalization, "'; it must be on, off or auto"));
  }
  if (options.weights_only && (options.mixed_bits.activations || options.symmetric_activations)) {
    return absl::InvalidArgumentError(
        "with weights alone as integers, activations have no bits to search for and no codes "
        "(TensorRT): leave these options out");
  }
  DS_RETURN_IF_ERROR(CheckReconstruction(options.reconstruction));
  if (!(options.most_clipped >= 0 && options.most_clipped <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("most_clipped is ", options.most_clipped, "; it must be in [0, 1]"));
  }
  return absl::OkStatus();
}

absl::Status Widths::CheckNames() const {
  std::set<std::string> known;
  for (const WeightSite& site : selection_.weights) known.insert(graph_.value(site.weight).name);
  for (const ActivationSite& site : selection_.activations) {
    known.insert(graph_.value(site.value).name);
  }
  for (const auto& [name, bits] : options_.named_bits) {
    if (known.contains(name)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("bits are given for \"", name,
                     "\", which is no weight or activation that is quantised (batch norms are"
                     " folded); these are ",
                     absl::StrJoin(known, ", ")));
  }
  return absl::OkStatus();
}

int Widths::Of(const WeightSite& site, const std::map<std::string, int>& chosen) const {
  const int* named = Named(site.weight, chosen);
  return named != nullptr ? *named : std::max(Least(site), options_.bits);
}

int Widths::Of(const ActivationSite& site, const std::map<std::string, int>& chosen) const {
  const int* named = Named(site.value, chosen);
  return named != nullptr ? *named : std::max(Least(site), options_.activation_bits);
}

std::vector<int> Widths::Choices(const WeightSite& site) const {
  if (const int* named = Named(site.weight, {})) return {*named};
  std::vector<int> widths;
  for (int bits = Least(site); bits <= kMostBits; ++bits) widths.push_back(bits);
  return widths;
}

std::vector<int> Widths::Choices(const ActivationSite& site) const {
  if (const int* named = Named(site.value, {})) return {*named};
  std::vector<int> widths;
  std::copy_if(std::begin(kActivationWidths), std::end(kActivationWidths),
               std::back_inserter(widths),
               [least = Least(site)](int bits) { return bits >= least; });
  return widths;
}

int Widths::Least(const WeightSite& site) const {
  return IsEnd(selection_, site.node) ? options_.end_bits : kLeastBits;
}

int Widths::Least(const ActivationSite& site) const {
  return std::max(IsReadAtEnd(selection_, site) ? options_.end_bits : kLeastBits,
                  OnlyAdded(graph_, site) ? options_.sum_bits : kLeastBits);
}

const int* Widths::Named(ValueId id, const std::map<std::string, int>& chosen) const {
  const std::string& name = graph_.value(id).name;
  for (const auto* bits : {&chosen, &options_.named_bits}) {
    if (const auto found = bits->find(name); found != bits->end()) return &found->second;
  }
  return nullptr;
}

}  // namespace ds

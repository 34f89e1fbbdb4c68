// Which bits a quantiser's options give each weight and activation.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "graph/graph.h"
#include "quant/selection.h"
#include "quant/torch/quantizer.h"

namespace ds {

// Refers to what it is made of.
class Widths {
 public:
  Widths(const Graph& graph, const QuantSelection& selection, const QuantizerOptions& options)
      : graph_(graph), selection_(selection), options_(options) {}

  // InvalidArgument where `named_bits` names what is not quantised.
  absl::Status CheckNames() const;

  // `chosen`: what a search has found, by name, before all else.
  int Of(const WeightSite& site, const std::map<std::string, int>& chosen) const;
  int Of(const ActivationSite& site, const std::map<std::string, int>& chosen) const;
  // What a search may choose from, rising.
  std::vector<int> Choices(const WeightSite& site) const;
  std::vector<int> Choices(const ActivationSite& site) const;

 private:
  int Least(const WeightSite& site) const;
  int Least(const ActivationSite& site) const;
  const int* Named(ValueId id, const std::map<std::string, int>& chosen) const;

  const Graph& graph_;
  const QuantSelection& selection_;
  const QuantizerOptions& options_;
};

// InvalidArgument naming the option that is out of range.
absl::Status CheckOptions(const QuantizerOptions& options);

}  // namespace ds

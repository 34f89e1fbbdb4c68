// One site's share of a data set, as if its samples lay with different owners: for demonstrations
// and simulations of federated training. A pure function of labels and options: every site works
// out its own share, and all shares together are the data set, each sample once.
//
// Label skew by Dirichlet's distribution (Hsu et al. 2019, "Measuring the effects of non-identical
// data distribution", section 3): each class is dealt to the sites in proportions drawn from
// Dirichlet(alpha); a small alpha gives sites few classes each. The proportions depend on seed,
// class and site alone, so that a site's test split has the classes of its training split.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/dataset.h"

namespace ds {

struct PartitionOptions {
  int64_t sites = 1;  // >= 1; 1: everything is this site's
  int64_t site = 0;   // 0..sites-1
  double alpha = 0;   // of Dirichlet's distribution, > 0; 0: equal shares at random
  uint64_t seed = 1;  // of the split, the same at all sites
};

// Samples that a site has at least, where the data set has so many: it could not train otherwise.
constexpr int64_t kLeastSamplesOfSite = 8;

// Indices of the site's samples, ascending. `labels`: of all samples, 0..classes-1.
// InvalidArgument: options out of range, or fewer samples than sites.
absl::StatusOr<std::vector<int64_t>> SamplesOfSite(absl::Span<const int64_t> labels,
                                                   int64_t classes,
                                                   const PartitionOptions& options);

// A view of `dataset` that holds the site's samples only; `dataset` itself for one site.
// InvalidArgument as above, and for text with an alpha: its labels are not one a sample.
absl::StatusOr<std::shared_ptr<const Dataset>> PartOfSite(std::shared_ptr<const Dataset> dataset,
                                                          const PartitionOptions& options);

}  // namespace ds

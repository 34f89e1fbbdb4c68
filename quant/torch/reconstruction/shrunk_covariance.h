// A covariance from fewer samples than it has rows: the sample covariance, drawn towards a multiple
// of the identity by as much as it owes to chance. Ledoit and Wolf, "A well-conditioned estimator
// for large-dimensional covariance matrices" (Journal of Multivariate Analysis 88, 2004).
#pragma once

#include "ATen/core/Tensor.h"

namespace ds {

// `columns`: [samples, groups, rows, positions]; of each group [rows, rows], symmetric and positive
// definite. Positions of one sample depend on each other, and so chance is that of whole samples. A
// group without variance has the identity.
at::Tensor ShrunkCovariance(const at::Tensor& columns);

}  // namespace ds

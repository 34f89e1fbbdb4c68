// Options of distillation, which a run's configuration fills. Torch-free.
#pragma once

namespace ds {

struct DistillationOptions {
  double weight = 0;       // of the teacher's part, [0, 1]; 0: none
  double temperature = 4;  // > 0
};

}  // namespace ds

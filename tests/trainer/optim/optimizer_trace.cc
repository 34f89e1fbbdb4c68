// Prints parameters after a number of steps, for torch_oracle_test.py: "name value value ...", one
// parameter a line. Arguments: optimizer, learning rate, momentum, nesterov (0|1), weight decay,
// clip norm, steps.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/trainer/optim/optim_testing.h"
#include "trainer/optim/optimizer.h"

int main(int argc, char** argv) {
  if (argc != 8) return 2;
  const ds::OptimizerOptions options{.name = argv[1],
                                     .learning_rate = std::atof(argv[2]),
                                     .momentum = std::atof(argv[3]),
                                     .nesterov = std::string(argv[4]) == "1",
                                     .weight_decay = std::atof(argv[5])};
  std::vector<ds::NamedTensor> parameters = ds::TestParameters();
  auto optimizer = ds::Optimizer::Create(parameters, options);
  if (!optimizer.ok()) return 1;
  for (int step = 0; step < std::atoi(argv[7]); ++step) {
    ds::SetGradients(parameters, step);
    ds::ClipGradNorm(parameters, std::atof(argv[6]));
    if (!(*optimizer)->Step().ok()) return 1;
  }
  for (const ds::NamedTensor& parameter : parameters) {
    const at::Tensor values = parameter.tensor.detach().contiguous();
    std::printf("%s", parameter.name.c_str());
    for (int64_t i = 0; i < values.numel(); ++i) std::printf(" %.9g", values.data_ptr<float>()[i]);
    std::printf("\n");
  }
  return 0;
}

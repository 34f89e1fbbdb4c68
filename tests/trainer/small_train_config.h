// A run that takes a second or so: what tests of training jobs begin with.
#pragma once

#include <cstdint>

#include "trainer/config/train_config.h"

namespace ds {

// ResNet-8 in fp32 on `size` synthetic images of 1 x 8 x 8, 4 classes, in batches of 16; nothing is
// kept beside the results.
inline TrainConfig SmallTrainConfig(int64_t epochs, int64_t size) {
  TrainConfig config;
  config.run.threads = 1;
  config.run.epochs = epochs;
  config.model.name = "resnet8";
  config.data.type = "synthetic";
  config.data.channels = 1;
  config.data.height = config.data.width = 8;
  config.data.classes = 4;
  config.data.size = size;
  config.data.batch_size = 16;
  config.data.test_batch_size = 32;
  config.precision.mode = "fp32";
  config.checkpoint.enabled = false;
  config.log.tensorboard = false;
  return config;
}

}  // namespace ds

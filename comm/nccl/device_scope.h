// Selects a device for the calling thread and, at its end, the one that was selected before: calls
// on a communicator may come from any thread, and other libraries' choice of device must survive
// them.
#pragma once

#include "absl/status/status.h"
#include "comm/nccl/device_api.h"

namespace ds {

class DeviceScope {
 public:
  DeviceScope(DeviceApi& api, int device) : api_(api) {
    const absl::StatusOr<int> before = api_.Selected();
    status_ = before.status();
    if (!before.ok() || *before == device) return;
    status_ = api_.Select(device);
    if (status_.ok()) before_ = *before;
  }
  ~DeviceScope() {
    if (before_ >= 0) (void)api_.Select(before_);
  }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

  // Of the selection. After an error nothing may be done on the device.
  const absl::Status& status() const { return status_; }

 private:
  DeviceApi& api_;
  absl::Status status_;
  int before_ = -1;  // device to go back to; -1: none
};

}  // namespace ds

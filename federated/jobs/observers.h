// Several observers in the place of one, in order.
#pragma once

#include <vector>

#include "federated/aggregator/observer.h"

namespace ds::federated {

class Observers final : public Observer {
 public:
  // Not owned; null ones are left out.
  explicit Observers(const std::vector<Observer*>& observers) {
    for (Observer* observer : observers) {
      if (observer != nullptr) observers_.push_back(observer);
    }
  }

  void Changed(const RunReport& report) override {
    for (Observer* observer : observers_) observer->Changed(report);
  }
  void RoundEnded(const RoundReport& report) override {
    for (Observer* observer : observers_) observer->RoundEnded(report);
  }
  void Published(const RoundReport& report, const GlobalModel& model) override {
    for (Observer* observer : observers_) observer->Published(report, model);
  }
  void Ended(const RunReport& report, const GlobalModel* model) override {
    for (Observer* observer : observers_) observer->Ended(report, model);
  }
  void Warned(absl::string_view text) override {
    for (Observer* observer : observers_) observer->Warned(text);
  }

 private:
  std::vector<Observer*> observers_;
};

}  // namespace ds::federated

#include "trainer/optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/trainer/optim/optim_testing.h"
#include "trainer/optim/parameter_group.h"

namespace ds {
namespace {

constexpr int kSteps = 25;
constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

using Values = std::vector<double>;

Values ToDouble(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().contiguous().view({-1}).to(at::kDouble);
  return Values(flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel());
}

double Norm(const Values& values) {
  double sum = 0;
  for (double value : values) sum += value * value;
  return std::sqrt(sum);
}

// One parameter under the textbook rules, a scalar at a time, in double.
class Reference {
 public:
  Reference(const NamedTensor& parameter, const OptimizerOptions& options)
      : options_(options), x_(ToDouble(parameter.tensor)), m_(x_.size()), v_(x_.size()) {
    decayed_ = parameter.tensor.dim() >= 2;
    largest_ = x_.empty() ? 0 : std::abs(*std::max_element(x_.begin(), x_.end(), SmallerMagnitude));
  }

  void Step(const Values& gradient) {
    ++t_;
    if (options_.name == "sgd") Sgd(gradient);
    if (options_.name == "adamw") AdamW(gradient);
    if (options_.name == "lamb") Lamb(gradient);
    for (double value : x_) largest_ = std::max(largest_, std::abs(value));
  }

  const Values& x() const { return x_; }

  // Rounding of kSteps float32 steps. Each rounds the parameter a few times (4 eps |x|) and carries
  // the error of its update: that of sums over t steps, at most 5 t eps of their largest term. For
  // Adam that term may be sqrt(t) times the root of the mean square it is divided by.
  double Tolerance() const {
    const double sum_error = 5.0 * kSteps * kEpsilon;
    const double largest_update =
        options_.name == "sgd"
            ? 2.0 / (1 - options_.momentum) * (1 + options_.weight_decay * largest_)
            : (std::sqrt(kSteps) + options_.weight_decay * largest_) * largest_ratio_;
    return kSteps * (4 * kEpsilon * largest_ + options_.learning_rate * largest_update * sum_error);
  }

 private:
  static bool SmallerMagnitude(double a, double b) { return std::abs(a) < std::abs(b); }

  void Sgd(const Values& gradient) {
    for (size_t i = 0; i < x_.size(); ++i) {
      const double g = gradient[i] + (decayed_ ? options_.weight_decay * x_[i] : 0);
      m_[i] = t_ == 1 ? g : options_.momentum * m_[i] + g;
      x_[i] -= options_.learning_rate * (options_.nesterov ? g + options_.momentum * m_[i] : m_[i]);
    }
  }

  double AdamDirection(size_t i, double g) {
    m_[i] = options_.beta1 * m_[i] + (1 - options_.beta1) * g;
    v_[i] = options_.beta2 * v_[i] + (1 - options_.beta2) * g * g;
    const double m_hat = m_[i] / (1 - std::pow(options_.beta1, t_)),
                 v_hat = v_[i] / (1 - std::pow(options_.beta2, t_));
    return m_hat / (std::sqrt(v_hat) + options_.epsilon);
  }

  void AdamW(const Values& gradient) {
    for (size_t i = 0; i < x_.size(); ++i) {
      if (decayed_) x_[i] -= options_.learning_rate * options_.weight_decay * x_[i];
      x_[i] -= options_.learning_rate * AdamDirection(i, gradient[i]);
    }
  }

  void Lamb(const Values& gradient) {
    Values update(x_.size());
    for (size_t i = 0; i < x_.size(); ++i) {
      update[i] = AdamDirection(i, gradient[i]) + (decayed_ ? options_.weight_decay * x_[i] : 0);
    }
    double ratio = 1;
    if (decayed_ && Norm(x_) > 0 && Norm(update) > 0) ratio = Norm(x_) / Norm(update);
    largest_ratio_ = std::max(largest_ratio_, ratio);
    for (size_t i = 0; i < x_.size(); ++i) x_[i] -= options_.learning_rate * ratio * update[i];
  }

  OptimizerOptions options_;
  Values x_, m_, v_;
  bool decayed_ = false;
  int t_ = 0;
  double largest_ = 0, largest_ratio_ = 1;
};

double LargestDifference(const Values& a, const Values& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

std::unique_ptr<Optimizer> Make(const std::vector<NamedTensor>& parameters,
                                const OptimizerOptions& options) {
  absl::StatusOr<std::unique_ptr<Optimizer>> optimizer = Optimizer::Create(parameters, options);
  EXPECT_TRUE(optimizer.ok()) << optimizer.status();
  return std::move(optimizer).value();
}

std::vector<OptimizerOptions> AllOptions() {
  return {
      {.name = "sgd",
       .learning_rate = 0.05,
       .momentum = 0.9,
       .nesterov = true,
       .weight_decay = 0.02},
      {.name = "sgd",
       .learning_rate = 0.05,
       .momentum = 0.9,
       .nesterov = false,
       .weight_decay = 0.02},
      {.name = "sgd",
       .learning_rate = 0.05,
       .momentum = 0.0,
       .nesterov = false,
       .weight_decay = 0.0},
      {.name = "adamw", .learning_rate = 0.01, .weight_decay = 0.1},
      {.name = "adamw",
       .learning_rate = 0.01,
       .beta1 = 0.5,
       .beta2 = 0.95,
       .epsilon = 1e-3,
       .weight_decay = 0},
      {.name = "lamb", .learning_rate = 0.01, .weight_decay = 0.1},
  };
}

class OptimizerTest : public ::testing::TestWithParam<OptimizerOptions> {};

TEST_P(OptimizerTest, FollowsTheScalarReferenceWhateverTheStrides) {
  std::vector<NamedTensor> parameters = TestParameters();
  std::vector<Reference> references;
  for (const NamedTensor& parameter : parameters) references.emplace_back(parameter, GetParam());
  std::unique_ptr<Optimizer> optimizer = Make(parameters, GetParam());
  for (int step = 0; step < kSteps; ++step) {
    SetGradients(parameters, step);
    for (size_t i = 0; i < parameters.size(); ++i)
      references[i].Step(ToDouble(parameters[i].tensor.grad()));
    ASSERT_TRUE(optimizer->Step().ok());
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_LE(LargestDifference(ToDouble(parameters[i].tensor), references[i].x()),
              references[i].Tolerance())
        << parameters[i].name;
    // The tolerance must not be so wide that a forgotten decay could hide in it.
    EXPECT_LT(references[i].Tolerance(), 2e-3) << parameters[i].name;
  }
  EXPECT_TRUE(parameters[0].tensor.is_contiguous(at::MemoryFormat::ChannelsLast));
}

TEST_P(OptimizerTest, TheGradientsStridesDoNotMatter) {
  std::vector<NamedTensor> a = TestParameters(), b = TestParameters();
  std::unique_ptr<Optimizer> of_a = Make(a, GetParam()), of_b = Make(b, GetParam());
  for (int step = 0; step < 3; ++step) {
    SetGradients(a, step);
    SetGradients(b, step);
    b[0].tensor.mutable_grad() = b[0].tensor.grad().contiguous(at::MemoryFormat::ChannelsLast);
    b[2].tensor.mutable_grad() = b[2].tensor.grad().t().contiguous().t();
    ASSERT_TRUE(of_a->Step().ok());
    ASSERT_TRUE(of_b->Step().ok());
  }
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_TRUE(at::equal(a[i].tensor, b[i].tensor)) << a[i].name;
}

TEST_P(OptimizerTest, SavedLoadedAndContinuedIsBitIdentical) {
  std::vector<NamedTensor> straight = TestParameters(), resumed = TestParameters();
  std::unique_ptr<Optimizer> one = Make(straight, GetParam());
  for (int step = 0; step < 4; ++step) {
    SetGradients(straight, step);
    ASSERT_TRUE(one->Step().ok());
  }
  std::unique_ptr<Optimizer> other = Make(resumed, GetParam());
  const std::map<std::string, at::Tensor> state = one->State();
  {
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < straight.size(); ++i) resumed[i].tensor.copy_(straight[i].tensor);
    std::map<std::string, at::Tensor> from_file;  // as a file gives it: contiguous
    for (const auto& [name, tensor] : state) from_file[name] = tensor.contiguous();
    ASSERT_TRUE(other->LoadState(from_file).ok());
  }
  for (int step = 4; step < 9; ++step) {
    SetGradients(straight, step);
    SetGradients(resumed, step);
    ASSERT_TRUE(one->Step().ok());
    ASSERT_TRUE(other->Step().ok());
  }
  for (size_t i = 0; i < straight.size(); ++i) {
    EXPECT_TRUE(at::equal(straight[i].tensor, resumed[i].tensor)) << straight[i].name;
  }
  EXPECT_EQ(other->State().at("step").item<int64_t>(), 9);
  EXPECT_EQ(state.at("step").item<int64_t>(), 4) << "State() must copy";
}

TEST_P(OptimizerTest, ZerosThatAreKeptStayAndAllElseIsAsWithoutThem) {
  std::vector<NamedTensor> free = TestParameters(), kept = TestParameters();
  std::map<std::string, at::Tensor> zeros;
  for (const NamedTensor& parameter : kept) {
    if (parameter.tensor.dim() > 1) zeros[parameter.name] = parameter.tensor.detach().gt(0);
  }
  ASSERT_FALSE(zeros.empty());
  std::unique_ptr<Optimizer> of_free = Make(free, GetParam()), of_kept = Make(kept, GetParam());
  ASSERT_TRUE(of_kept->KeepZeros(zeros).ok());
  for (int step = 0; step < 4; ++step) {
    for (const NamedTensor& parameter : kept) {
      if (!zeros.contains(parameter.name)) continue;
      const at::Tensor values = parameter.tensor.detach().masked_select(zeros.at(parameter.name));
      EXPECT_TRUE(values.eq(0).all().item<bool>()) << parameter.name << " after step " << step;
    }
    SetGradients(free, step);
    SetGradients(kept, step);
    ASSERT_TRUE(of_free->Step().ok());
    ASSERT_TRUE(of_kept->Step().ok());
  }
  for (size_t i = 0; i < kept.size() && GetParam().name != "lamb";
       ++i) {  // whose steps depend on the whole tensor's norm
    at::Tensor expected = free[i].tensor.detach().clone();
    if (zeros.contains(kept[i].name)) expected.masked_fill_(zeros.at(kept[i].name), 0);
    EXPECT_TRUE(at::equal(kept[i].tensor, expected)) << kept[i].name;
  }
  EXPECT_EQ(of_kept->KeepZeros({{"nobody", at::ones({1}, at::kBool)}}).code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(of_kept->KeepZeros({{kept[0].name, at::ones({1}, at::kBool)}}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_P(OptimizerTest, AParameterWithoutGradientIsLeftAlone) {
  std::vector<NamedTensor> parameters = TestParameters();
  std::unique_ptr<Optimizer> optimizer = Make(parameters, GetParam());
  SetGradients(parameters, 1);
  parameters[2].tensor.mutable_grad() = at::Tensor();
  const at::Tensor before = parameters[2].tensor.detach().clone(),
                   other = parameters[0].tensor.detach().clone();
  ASSERT_TRUE(optimizer->Step().ok());
  EXPECT_TRUE(at::equal(before, parameters[2].tensor));
  EXPECT_FALSE(at::equal(other, parameters[0].tensor));
  // Its first gradient, later, is a first step: as if the optimiser were new.
  std::vector<NamedTensor> fresh = TestParameters();
  std::unique_ptr<Optimizer> new_optimizer = Make(fresh, GetParam());
  SetGradients(parameters, 2);
  SetGradients(fresh, 2);
  ASSERT_TRUE(optimizer->Step().ok());
  ASSERT_TRUE(new_optimizer->Step().ok());
  EXPECT_TRUE(at::equal(fresh[2].tensor, parameters[2].tensor));
}

TEST_P(OptimizerTest, DoesNotDependOnTheNumberOfThreads) {
  const int threads = at::get_num_threads();
  std::vector<std::vector<at::Tensor>> results;
  for (int count : {1, 2, 3}) {
    at::set_num_threads(count);
    std::vector<NamedTensor> parameters = {{"big", TestValues({257, 1031}, 3), "Gemm", 1}};
    parameters[0].tensor.requires_grad_(true);
    std::unique_ptr<Optimizer> optimizer = Make(parameters, GetParam());
    for (int step = 0; step < 3; ++step) {
      SetGradients(parameters, step);
      ClipGradNorm(parameters, 1.0);
      ASSERT_TRUE(optimizer->Step().ok());
    }
    results.push_back({parameters[0].tensor.detach()});
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(results[0][0], results[1][0]));
  EXPECT_TRUE(at::equal(results[0][0], results[2][0]));
}

INSTANTIATE_TEST_SUITE_P(All, OptimizerTest, ::testing::ValuesIn(AllOptions()),
                         [](const auto& info) {
                           return info.param.name + std::to_string(info.index);
                         });

TEST(WeightDecay, SparesNormsBiasesAndOneDimensionalTensors) {
  EXPECT_TRUE(TakesWeightDecay({"w", at::zeros({2, 2}), "Gemm", 1}));
  EXPECT_FALSE(TakesWeightDecay({"b", at::zeros({2}), "Gemm", 2}));
  EXPECT_FALSE(TakesWeightDecay({"scale", at::zeros({2, 2}), "LayerNormalization", 1}));
  EXPECT_FALSE(TakesWeightDecay({"scale", at::zeros({2, 2}), "BatchNormalization", 1}));
}

TEST(OptimizerState, RefusesWhatDoesNotFitAndChangesNothing) {
  std::vector<NamedTensor> parameters = TestParameters();
  std::unique_ptr<Optimizer> optimizer = Make(parameters, {.name = "adamw", .learning_rate = 0.1});
  SetGradients(parameters, 1);
  ASSERT_TRUE(optimizer->Step().ok());
  const std::map<std::string, at::Tensor> good = optimizer->State();
  ASSERT_TRUE(good.contains("exp_avg/conv.weight") && good.contains("exp_avg_sq/bias") &&
              good.contains("steps/one"));
  const auto expect_refused = [&](const std::map<std::string, at::Tensor>& bad,
                                  absl::StatusCode code, const char* name) {
    const absl::Status status = optimizer->LoadState(bad);
    EXPECT_EQ(status.code(), code);
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(name));
    const std::map<std::string, at::Tensor> after = optimizer->State();
    for (const auto& [key, tensor] : good) EXPECT_TRUE(at::equal(tensor, after.at(key))) << key;
  };
  std::map<std::string, at::Tensor> changed;
  for (const auto& [name, tensor] : good) changed[name] = tensor.clone();
  changed.at("exp_avg/conv.weight").fill_(7);  // would be seen if it were loaded
  auto missing = changed;
  missing.erase("exp_avg_sq/fc.weight");
  expect_refused(missing, absl::StatusCode::kNotFound, "exp_avg_sq/fc.weight");
  auto unknown = changed;
  unknown["momentum/bias"] = at::zeros({11});
  expect_refused(unknown, absl::StatusCode::kInvalidArgument, "momentum/bias");
  auto misshapen = changed;
  misshapen["exp_avg_sq/fc.weight"] = at::zeros({67, 31});
  expect_refused(misshapen, absl::StatusCode::kInvalidArgument, "exp_avg_sq/fc.weight");
  auto mistyped = changed;
  mistyped["step"] = at::zeros({}, at::kFloat);
  expect_refused(mistyped, absl::StatusCode::kInvalidArgument, "'step'");
  auto negative = changed;
  negative["steps/one"] = at::full({}, -1, at::kLong);
  expect_refused(negative, absl::StatusCode::kInvalidArgument, "steps/one");
}

TEST(OptimizerOptionsCheck, NamesTheBadField) {
  const std::vector<NamedTensor> parameters = TestParameters();
  const auto message = [&](const OptimizerOptions& options) {
    const absl::Status status = Optimizer::Create(parameters, options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(message({.name = "adagrad"}), ::testing::HasSubstr("adagrad"));
  EXPECT_THAT(message({.learning_rate = 0}), ::testing::HasSubstr("learning_rate"));
  EXPECT_THAT(message({.learning_rate = NAN}), ::testing::HasSubstr("learning_rate"));
  EXPECT_THAT(message({.momentum = 1}), ::testing::HasSubstr("momentum"));
  EXPECT_THAT(message({.weight_decay = -1}), ::testing::HasSubstr("weight_decay"));
  EXPECT_THAT(message({.name = "lamb", .beta2 = 1}), ::testing::HasSubstr("beta2"));
  EXPECT_THAT(message({.name = "adamw", .epsilon = 0}), ::testing::HasSubstr("epsilon"));
  std::vector<NamedTensor> twice = {parameters[0], parameters[0]};
  EXPECT_FALSE(Optimizer::Create(twice, {}).ok());
  std::vector<NamedTensor> half = {{"h", at::zeros({2}, at::kHalf), "Gemm", 1}};
  EXPECT_FALSE(Optimizer::Create(half, {}).ok());
}

TEST(ZeroGrad, ZeroesInPlaceOrDrops) {
  std::vector<NamedTensor> parameters = TestParameters();
  std::unique_ptr<Optimizer> optimizer = Make(parameters, {});
  SetGradients(parameters, 1);
  const void* memory = parameters[2].tensor.grad().data_ptr();
  optimizer->ZeroGrad();
  EXPECT_EQ(parameters[2].tensor.grad().data_ptr(), memory);
  EXPECT_EQ(parameters[2].tensor.grad().count_nonzero().item<int64_t>(), 0);
  optimizer->ZeroGrad(/*drop=*/true);
  EXPECT_FALSE(parameters[2].tensor.grad().defined());
}

TEST(ClipGradNorm, MeasuresAndScalesTheGlobalNorm) {
  std::vector<NamedTensor> parameters = TestParameters();
  SetGradients(parameters, 3);
  parameters[4].tensor.mutable_grad() = at::Tensor();
  double sum = 0;
  std::vector<Values> before;
  for (const NamedTensor& parameter : parameters) {
    before.push_back(parameter.tensor.grad().defined() ? ToDouble(parameter.tensor.grad())
                                                       : Values{});
    for (double value : before.back()) sum += value * value;
  }
  const double norm = std::sqrt(sum);
  // Sums in double: the order of additions is all that may differ.
  EXPECT_NEAR(ClipGradNorm(parameters, 0), norm, norm * 1e-12);
  EXPECT_NEAR(ClipGradNorm(parameters, 2 * norm), norm, norm * 1e-12);
  EXPECT_EQ(ToDouble(parameters[0].tensor.grad()), before[0])
      << "a norm below the limit must not be touched";
  EXPECT_NEAR(ClipGradNorm(parameters, 0.5), norm, norm * 1e-12);
  EXPECT_NEAR(ClipGradNorm(parameters, 0), 0.5, 0.5 * 2 * kEpsilon);
  for (size_t i = 0; i < before[0].size(); ++i) {
    // Two roundings: of the factor and of the product.
    ASSERT_NEAR(ToDouble(parameters[0].tensor.grad())[i], before[0][i] * 0.5 / norm,
                std::abs(before[0][i]) * kEpsilon);
  }
}

// A trust ratio of 0 would keep them there for ever.
TEST(Lamb, WeightsThatAreZeroLeaveIt) {
  std::vector<NamedTensor> parameters = {{"w", at::zeros({4, 4}), "Gemm", 1}};
  parameters[0].tensor.mutable_grad() = at::ones({4, 4});
  const auto lamb = *Optimizer::Create(parameters, {.name = "lamb", .learning_rate = 0.5});
  ASSERT_TRUE(lamb->Step().ok());
  EXPECT_TRUE(at::allclose(parameters[0].tensor, at::full({4, 4}, -0.5)));
}

TEST(ClipGradNorm, HoldsElementsWhoseSquaresLeaveFloat32) {
  std::vector<NamedTensor> parameters = TestParameters();
  SetGradients(parameters, 3);
  const double norm = ClipGradNorm(parameters, 0);
  for (const NamedTensor& parameter : parameters) {
    if (parameter.tensor.grad().defined()) parameter.tensor.grad().mul_(1e25);
  }
  EXPECT_NEAR(ClipGradNorm(parameters, 2), norm * 1e25, norm * 1e25 * 2 * kEpsilon);
  EXPECT_NEAR(ClipGradNorm(parameters, 0), 2, 2 * 4 * kEpsilon);
}

TEST(ClipGradNorm, ReportsNotFiniteGradientsAndLeavesThemAlone) {
  for (const double bad : {std::nan(""), static_cast<double>(INFINITY)}) {
    std::vector<NamedTensor> parameters = TestParameters();
    SetGradients(parameters, 3);
    parameters[2].tensor.grad().view({-1})[1000].fill_(bad);
    const at::Tensor other = parameters[0].tensor.grad().clone();
    EXPECT_FALSE(std::isfinite(ClipGradNorm(parameters, 0.1)));
    EXPECT_TRUE(at::equal(other, parameters[0].tensor.grad()));
  }
}

TEST(ClipGradNorm, OfNothingIsZero) { EXPECT_EQ(ClipGradNorm({}, 1.0), 0.0); }

}  // namespace
}  // namespace ds

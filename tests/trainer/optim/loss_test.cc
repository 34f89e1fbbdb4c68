// Losses against formulas in double precision, of which autograd gives the gradients.
#include "trainer/optim/loss.h"

#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "graph/builder.h"
#include "gtest/gtest.h"
#include "tests/trainer/optim/optim_testing.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

constexpr double kEpsilon = std::numeric_limits<float>::epsilon();
constexpr absl::StatusCode kBad = absl::StatusCode::kInvalidArgument;

// ---- References, in double, of rows

at::Tensor LogShares(const at::Tensor& logits) {
  const at::Tensor exponentials = logits.exp();
  return logits - exponentials.sum(1, /*keepdim=*/true).log();
}

struct ClassReference {
  double smoothing = 0;
  std::vector<double> weights;
  std::optional<int64_t> ignored;

  // Mean over the rows that count by their classes' weights; torch.nn.CrossEntropyLoss' formula.
  at::Tensor operator()(const at::Tensor& logits, const at::Tensor& labels) const {
    const at::Tensor log_shares = LogShares(logits);
    const int64_t classes = logits.size(1);
    at::Tensor sum = at::zeros({}, at::kDouble);
    double total = 0;
    for (int64_t n = 0; n < logits.size(0); ++n) {
      const int64_t label = labels[n].item<int64_t>();
      if (label == ignored) continue;
      const double own = weights.empty() ? 1 : weights[static_cast<size_t>(label)];
      sum = sum - (1 - smoothing) * own * log_shares[n][label];
      for (int64_t c = 0; c < classes; ++c) {
        const double weight = weights.empty() ? 1 : weights[static_cast<size_t>(c)];
        sum = sum - smoothing / static_cast<double>(classes) * weight * log_shares[n][c];
      }
      total += own;
    }
    return sum / total;
  }
};

using Formula = std::function<at::Tensor(const at::Tensor& output)>;

// Value and gradient of `loss` as of `formula`, which gets the output in double.
void ExpectLike(const Loss& loss, const at::Tensor& output, const at::Tensor& targets,
                const Formula& formula, double tolerance = 200 * kEpsilon) {
  at::Tensor ours = output.detach().clone().requires_grad_(true);
  const auto result = loss(ours, targets);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->loss.scalar_type(), at::kFloat);
  result->loss.backward();
  const at::Tensor exact = output.detach().to(at::kDouble).requires_grad_(true);
  const at::Tensor wanted = formula(exact);
  wanted.backward();
  EXPECT_NEAR(result->loss.item<double>(), wanted.item<double>(),
              tolerance * std::max(1.0, std::abs(wanted.item<double>())));
  // The gradient comes back in the output's own type.
  const double step = output.scalar_type() == at::kFloat      ? tolerance
                      : output.scalar_type() == at::kBFloat16 ? 1.0 / 256
                                                              : 1.0 / 2048;
  const double size = std::max(1e-3, exact.grad().abs().max().item<double>());
  EXPECT_LE((ours.grad().to(at::kDouble) - exact.grad()).abs().max().item<double>(), step * size);
  EXPECT_EQ(result->weight, loss.Weight(targets)) << "what ranks exchange before the pass";
}

const at::ScalarType kTypes[] = {at::kFloat, at::kBFloat16, at::kHalf};

// ---- Classes

TEST(LossTest, CrossEntropyOfOneLabelASample) {
  const at::Tensor labels = at::arange(13).remainder(7);
  for (const at::ScalarType type : kTypes) {
    for (const double smoothing : {0.0, 0.1, 0.9}) {
      const at::Tensor logits = (4 * TestValues({13, 7}, 1)).to(type);
      const Loss loss = *Loss::Create({.label_smoothing = smoothing});
      const ClassReference reference{.smoothing = smoothing};
      ExpectLike(loss, logits, labels, [&](const at::Tensor& x) { return reference(x, labels); });
      const auto result = loss(logits, labels);
      EXPECT_EQ(result->count, 13);
      EXPECT_EQ(result->correct.item<int64_t>(), logits.argmax(1).eq(labels).sum().item<int64_t>());
    }
  }
}

TEST(LossTest, CrossEntropyOfTokensInEitherLayout) {
  const at::Tensor logits = 3 * TestValues({3, 5, 11}, 2);
  const at::Tensor labels = at::arange(15).view({3, 5}).remainder(11);
  const Loss loss = *Loss::Create({});
  const ClassReference reference;
  ExpectLike(loss, logits, labels, [&](const at::Tensor& x) {
    return reference(x.reshape({15, 11}), labels.reshape({15}));
  });
  ExpectLike(loss, logits.transpose(1, 2).contiguous(), labels, [&](const at::Tensor& x) {
    return reference(x.transpose(1, 2).reshape({15, 11}), labels.reshape({15}));
  });
  EXPECT_EQ(loss(logits, labels)->count, 15);
}

TEST(LossTest, CrossEntropyOfPixelsInEitherLayoutWithIgnoredOnes) {
  const at::Tensor logits = 3 * TestValues({2, 5, 3, 4}, 3);
  at::Tensor labels = at::arange(24).view({2, 3, 4}).remainder(5);
  labels[0][1].fill_(255);
  const Loss loss = *Loss::Create({.ignore_index = 255, .class_weights = {1, 2, 0.5, 3, 0.25}});
  const ClassReference reference{.weights = {1, 2, 0.5, 3, 0.25}, .ignored = 255};
  for (const at::ScalarType type : kTypes) {
    const at::Tensor typed = logits.to(type);
    ExpectLike(loss, typed, labels, [&](const at::Tensor& x) {
      return reference(x.permute({0, 2, 3, 1}).reshape({24, 5}), labels.reshape({24}));
    });
    ExpectLike(loss, typed.permute({0, 2, 3, 1}).contiguous(), labels, [&](const at::Tensor& x) {
      return reference(x.reshape({24, 5}), labels.reshape({24}));
    });
  }
  EXPECT_EQ(loss(logits, labels)->count, 20);
  EXPECT_TRUE(loss.weight_varies());
  EXPECT_FALSE(Loss::Create({})->weight_varies());
}

TEST(LossTest, WeightsIgnoredAndSmoothingTogether) {
  const std::vector<double> weights = {0.5, 1, 4};
  const at::Tensor logits = 2 * TestValues({6, 3}, 4);
  const at::Tensor labels = at::tensor({0, -100, 2, 1, -100, 2}, at::kLong);
  const ClassReference reference{.smoothing = 0.2, .weights = weights, .ignored = -100};
  ExpectLike(
      *Loss::Create({.label_smoothing = 0.2, .ignore_index = -100, .class_weights = weights}),
      logits, labels, [&](const at::Tensor& x) { return reference(x, labels); });
}

TEST(LossTest, MeansOfPartsCombineByTheirWeights) {
  const Loss loss = *Loss::Create({.ignore_index = -1, .class_weights = {1, 3, 0.5}});
  const at::Tensor logits = TestValues({7, 3}, 5);
  const at::Tensor labels = at::tensor({0, -1, 2, 1, -1, -1, 1}, at::kLong);
  double sum = 0, weight = 0;
  for (const auto& [from, count] : {std::pair<int64_t, int64_t>{0, 2}, {2, 2}, {4, 2}, {6, 1}}) {
    const auto part = loss(logits.narrow(0, from, count), labels.narrow(0, from, count));
    ASSERT_TRUE(part.ok()) << part.status();
    sum += part->loss.item<double>() * part->weight;
    weight += part->weight;
  }
  EXPECT_NEAR(sum / weight, loss(logits, labels)->loss.item<double>(), 8 * kEpsilon);
}

TEST(LossTest, WhereNothingCountsLossAndGradientAreZero) {
  at::Tensor logits = TestValues({2, 3}, 6).requires_grad_(true);
  const auto result = (*Loss::Create({.ignore_index = 9}))(logits, at::full({2}, 9, at::kLong));
  ASSERT_TRUE(result.ok()) << result.status();
  result->loss.backward();
  EXPECT_EQ(result->loss.item<double>(), 0);
  EXPECT_EQ(result->weight, 0);
  EXPECT_TRUE(at::equal(logits.grad(), at::zeros({2, 3})));
}

TEST(LossTest, SharesOfClassesAreMixedLabels) {
  const at::Tensor logits = 2 * TestValues({4, 3}, 7);
  const at::Tensor first = at::tensor({0, 1, 2, 0}, at::kLong),
                   second = at::tensor({1, 1, 0, 2}, at::kLong);
  const at::Tensor shares = 0.7 * at::one_hot(first, 3) + 0.3 * at::one_hot(second, 3);
  const ClassReference reference;
  ExpectLike(*Loss::Create({}), logits, shares.to(at::kFloat), [&](const at::Tensor& x) {
    return 0.7 * reference(x, first) + 0.3 * reference(x, second);
  });
  EXPECT_EQ((*Loss::Create({}))(logits, shares.to(at::kFloat))->count, 4);
}

TEST(LossTest, SharesOfTokensAndOfPixelsCountTheirRows) {
  const Loss loss = *Loss::Create({});
  for (const bool pixels : {false, true}) {
    const at::Tensor labels =
        pixels ? at::arange(24).view({2, 3, 4}).remainder(5) : at::arange(6).view({2, 3});
    const at::Tensor last = at::one_hot(labels, 6).to(at::kFloat);
    const at::Tensor shares = pixels ? last.permute({0, 3, 1, 2}).contiguous() : last;
    const at::Tensor logits = TestValues(shares.sizes().vec(), 15);
    const auto mixed = loss(logits, shares), plain = loss(logits, labels);
    ASSERT_TRUE(mixed.ok() && plain.ok()) << mixed.status() << plain.status();
    EXPECT_EQ(mixed->count, labels.numel());
    EXPECT_EQ(mixed->weight, static_cast<double>(labels.numel()));
    EXPECT_EQ(loss.Weight(shares), mixed->weight);
    EXPECT_EQ(mixed->correct.item<int64_t>(), plain->correct.item<int64_t>());
    EXPECT_NEAR(mixed->loss.item<double>(), plain->loss.item<double>(), 20 * kEpsilon);
  }
}

TEST(LossTest, WhatDoesNotCountIsNotCorrect) {
  // A class of the model that the data mark as none: each row's arg max is 0.
  const at::Tensor logits = at::tensor({3.0f, 1.0f, 2.0f}).expand({4, 3}).contiguous();
  const auto classes =
      (*Loss::Create({.ignore_index = 0}))(logits, at::tensor({0, 0, 1, 2}, at::kLong));
  ASSERT_TRUE(classes.ok()) << classes.status();
  EXPECT_EQ(classes->count, 2);
  EXPECT_EQ(classes->correct.item<int64_t>(), 0);
  const auto labels = (*Loss::Create({.name = "bce", .ignore_index = -1}))(
      at::tensor({-1.0f, -1.0f, 1.0f}).view({3, 1}), at::tensor({-1, 0, 1}, at::kLong));
  ASSERT_TRUE(labels.ok()) << labels.status();
  EXPECT_EQ(labels->count, 2);
  EXPECT_EQ(labels->correct.item<int64_t>(), 2);
}

// ---- Behind Softmax and Sigmoid

TEST(LossTest, NllOfProbabilitiesIsCrossEntropyOfTheLogits) {
  const at::Tensor labels = at::arange(13).remainder(7);
  const ClassReference reference{.smoothing = 0.1};
  const Loss of_shares = *Loss::Create({.label_smoothing = 0.1}, OutputKind::kProbabilities),
             of_logs = *Loss::Create({.label_smoothing = 0.1}, OutputKind::kLogProbabilities);
  EXPECT_EQ(of_shares.options().name, "nll");
  for (const bool logs : {false, true}) {
    at::Tensor logits = (5 * TestValues({13, 7}, 8)).requires_grad_(true);
    const auto result =
        (logs ? of_logs : of_shares)(logs ? logits.log_softmax(1) : logits.softmax(1), labels);
    ASSERT_TRUE(result.ok()) << result.status();
    result->loss.backward();
    const at::Tensor exact = logits.detach().to(at::kDouble).requires_grad_(true);
    const at::Tensor wanted = reference(exact, labels);
    wanted.backward();
    EXPECT_NEAR(result->loss.item<double>(), wanted.item<double>(), 200 * kEpsilon);
    EXPECT_LE((logits.grad() - exact.grad()).abs().max().item<double>(), 200 * kEpsilon);
  }
}

TEST(LossTest, AProbabilityThatBecameZeroHasAFiniteLoss) {
  at::Tensor logits = at::tensor({200.0f, -200.0f}).view({1, 2}).requires_grad_(true);
  const auto result = (*Loss::Create({}, OutputKind::kProbabilities))(logits.softmax(1),
                                                                      at::full({1}, 1, at::kLong));
  ASSERT_TRUE(result.ok()) << result.status();
  result->loss.backward();
  EXPECT_NEAR(result->loss.item<double>(), 87.3, 0.1) << "of the least normal number";
  EXPECT_TRUE(logits.grad().isfinite().all().item<bool>());
}

Graph ModelWith(const std::string& last) {
  Builder builder("m");
  const ValueId x = builder.Linear(builder.Input("x", DType::kFloat32, {kDynamicDim, 4}), "fc", 3);
  builder.Output(builder.Op(last, {x}), "y");
  return *builder.Finish();
}

TEST(LossTest, WhatAModelEndsInIsFoundAndSaid) {
  const Loss soft = *Loss::ForModel({}, ModelWith("Softmax"));
  EXPECT_EQ(soft.options().name, "nll");
  EXPECT_THAT(soft.note(), HasSubstr("ends in Softmax"));
  EXPECT_EQ(Loss::ForModel({}, ModelWith("LogSoftmax"))->options().name, "nll");
  EXPECT_EQ(Loss::ForModel({}, ModelWith("Relu"))->note(), "");
  EXPECT_EQ(Loss::ForModel({.name = "nll"}, ModelWith("Softmax"))->options().name, "nll");
  EXPECT_EQ(Loss::ForModel({.name = "nll"}, ModelWith("LogSoftmax"))->options().name, "nll");
  EXPECT_THAT(Loss::ForModel({.name = "bce"}, ModelWith("Sigmoid"))->note(), HasSubstr("Sigmoid"));
  const auto refused = [](const char* name, const char* last) {
    const auto loss = Loss::ForModel({.name = name}, ModelWith(last));
    EXPECT_EQ(loss.status().code(), kBad) << name << " behind " << last;
    return std::string(loss.status().message());
  };
  EXPECT_THAT(refused("nll", "Relu"), HasSubstr("loss.name=cross_entropy"));
  EXPECT_THAT(refused("cross_entropy", "Sigmoid"), HasSubstr("loss.name=bce"));
  EXPECT_THAT(refused("bce", "Softmax"), HasSubstr("loss.name=cross_entropy"));
  EXPECT_EQ(Loss::ForModel({.name = "mse"}, ModelWith("Softmax"))->note(), "") << "Brier's score";
}

// ---- Labels

at::Tensor BceOf(const at::Tensor& x, const at::Tensor& t, const at::Tensor& positive) {
  const at::Tensor p = 1 / (1 + (-x).exp());
  return -(positive * t * p.log() + (1 - t) * (1 - p).log());
}

TEST(LossTest, BceOfSeveralLabels) {
  const at::Tensor wanted =
      at::tensor({0.0f, 1.0f, 1.0f, 1.0f, 0.0f, 0.25f, 1.0f, 0.0f, 0.0f, 0.0f, 1.0f, 1.0f})
          .view({4, 3});
  const at::Tensor positive = at::tensor({1.0, 4.0, 0.5}, at::kDouble);
  for (const at::ScalarType type : kTypes) {
    const at::Tensor logits = (4 * TestValues({4, 3}, 9)).to(type);
    ExpectLike(*Loss::Create({.name = "bce"}), logits, wanted, [&](const at::Tensor& x) {
      return BceOf(x, wanted, at::ones({3}, at::kDouble)).mean();
    });
    ExpectLike(*Loss::Create({.name = "bce", .class_weights = {1, 4, 0.5}}), logits, wanted,
               [&](const at::Tensor& x) { return BceOf(x, wanted, positive).mean(); });
  }
  const auto result = (*Loss::Create({.name = "bce"}))(wanted - 0.5, wanted);
  EXPECT_EQ(result->count, 12);
  EXPECT_EQ(result->correct.item<int64_t>(), 12);
}

TEST(LossTest, BceOfPixelsHasItsLabelsBehindTheSample) {
  const at::Tensor logits = 2 * TestValues({2, 3, 2, 2}, 16);
  const at::Tensor wanted = at::arange(24).remainder(2).to(at::kFloat).view({2, 3, 2, 2});
  const at::Tensor positive = at::tensor({1.0, 4.0, 0.5}, at::kDouble).view({1, 3, 1, 1});
  ExpectLike(*Loss::Create({.name = "bce", .class_weights = {1, 4, 0.5}}), logits, wanted,
             [&](const at::Tensor& x) { return BceOf(x, wanted, positive).mean(); });
}

TEST(LossTest, BceOfOneSigmoidAndOfElementsThatDoNotCount) {
  const at::Tensor logits = 3 * TestValues({5, 1}, 10);
  const at::Tensor labels = at::tensor({0, 1, -1, 1, 0}, at::kLong);
  const at::Tensor counted = at::tensor({0, 1, 3, 4}, at::kLong);
  const Loss loss = *Loss::Create({.name = "bce", .label_smoothing = 0.1, .ignore_index = -1});
  ExpectLike(loss, logits, labels, [&](const at::Tensor& x) {
    const at::Tensor t = labels.index_select(0, counted).to(at::kDouble) * 0.9 + 0.05;
    return BceOf(x.reshape({5}).index_select(0, counted), t, at::ones({}, at::kDouble)).mean();
  });
  EXPECT_EQ(loss(logits, labels)->count, 4);
  at::Tensor raw = logits.clone().requires_grad_(true);
  const auto behind = (*Loss::Create({.name = "bce", .ignore_index = -1},
                                     OutputKind::kProbabilities))(raw.sigmoid(), labels);
  EXPECT_NEAR(
      behind->loss.item<double>(),
      (*Loss::Create({.name = "bce", .ignore_index = -1}))(logits, labels)->loss.item<double>(),
      20 * kEpsilon);
}

// ---- Numbers

TEST(LossTest, NumbersAsTheirFormulas) {
  const at::Tensor targets = 2 * TestValues({6, 2}, 11);
  for (const at::ScalarType type : kTypes) {
    const at::Tensor output = (3 * TestValues({6, 2}, 12)).to(type);
    ExpectLike(*Loss::Create({.name = "mse"}), output, targets,
               [&](const at::Tensor& x) { return (x - targets).square().mean(); });
    ExpectLike(*Loss::Create({.name = "l1"}), output, targets,
               [&](const at::Tensor& x) { return (x - targets).abs().mean(); });
    ExpectLike(*Loss::Create({.name = "huber", .huber_delta = 0.75}), output, targets,
               [&](const at::Tensor& x) {
                 const at::Tensor e = (x - targets).abs();
                 return at::where(e.le(0.75), 0.5 * e.square(), 0.75 * (e - 0.375)).mean();
               });
  }
  // [N, 1] with [N]: as many numbers, and no square of differences of all with all.
  const at::Tensor column = TestValues({6, 1}, 13), flat = TestValues({6}, 14);
  EXPECT_NEAR((*Loss::Create({.name = "mse"}))(column, flat)->loss.item<double>(),
              (column.reshape({6}) - flat).square().mean().item<double>(), 8 * kEpsilon);
}

// ---- Refusals

TEST(LossTest, RefusesWhatItCannotMeasure) {
  const Loss loss = *Loss::Create({});
  const at::Tensor logits = at::zeros({2, 5});
  const auto code = [&](const at::Tensor& l, const at::Tensor& t) {
    return loss(l, t).status().code();
  };
  EXPECT_EQ(code(logits, at::tensor({0, 5}, at::kLong)), kBad);
  EXPECT_EQ(code(logits, at::tensor({-1, 0}, at::kLong)), kBad);
  EXPECT_EQ(code(logits, at::tensor({-100, 0}, at::kLong)), kBad)
      << "LibTorch's ignored index is a label here";
  EXPECT_THAT(std::string(loss(logits, at::tensor({-100, 0}, at::kLong)).status().message()),
              HasSubstr("loss.ignore_index=-100"));
  EXPECT_EQ(code(logits, at::tensor({0, 1, 2}, at::kLong)), kBad);
  EXPECT_EQ(code(logits, at::zeros({2}, at::kFloat)), kBad);
  EXPECT_EQ(code(at::zeros({5}), at::zeros({}, at::kLong)), kBad);
  EXPECT_EQ(code(at::zeros({0, 5}), at::zeros({0}, at::kLong)), kBad);
  EXPECT_EQ(code(at::zeros({2, 3, 5}), at::zeros({2, 4}, at::kLong)), kBad);
  EXPECT_EQ(code(at::zeros({2, 5}, at::kLong), at::zeros({2}, at::kLong)), kBad);
  const auto of = [](LossOptions options, const at::Tensor& l, const at::Tensor& t) {
    return (*Loss::Create(options))(l, t).status().code();
  };
  EXPECT_EQ(of({.class_weights = {1, 2}}, logits, at::zeros({2}, at::kLong)), kBad);
  EXPECT_EQ(of({.name = "bce"}, logits, at::full({2, 5}, 1.5)), kBad);
  EXPECT_EQ(of({.name = "bce"}, logits, at::full({2, 5}, NAN)), kBad);
  EXPECT_EQ(of({.name = "mse"}, logits, at::full({2, 5}, INFINITY)), kBad);
  EXPECT_EQ(of({.name = "mse"}, logits, at::zeros({2})), kBad);
  EXPECT_EQ(of({.name = "mse"}, at::zeros({1, 4}), at::zeros({4})), kBad) << "one sample, not four";
}

TEST(LossTest, RefusesOptionsThatItDoesNotHave) {
  const auto code = [](const LossOptions& options) {
    return Loss::Create(options).status().code();
  };
  EXPECT_EQ(code({.name = "hinge"}), kBad);
  EXPECT_EQ(code({.label_smoothing = 1.0}), kBad);
  EXPECT_EQ(code({.class_weights = {1, 0}}), kBad);
  EXPECT_EQ(code({.name = "huber", .huber_delta = 0}), kBad);
  EXPECT_EQ(code({.name = "mse", .ignore_index = 0}), kBad);
  EXPECT_EQ(code({.metrics = {"mae"}}), kBad);
  EXPECT_EQ(code({.name = "l1", .metrics = {"rmse", "mae"}}), absl::StatusCode::kOk);
}

}  // namespace
}  // namespace ds

// A maker for each kind of operator: checks it against the file's tables, binds it. A file that any
// of them accepts cannot make its kernel leave a buffer.
#pragma once

#include <memory>

#include "deploy/engine/runtime/steps/step.h"

namespace ds::engine {

// convolutions.cc
Status MakeConv8(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeConv4(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeDepthwise8(const Binding& binding, std::unique_ptr<Step>& step);
// dense8.cc
Status MakeDense8(const Binding& binding, std::unique_ptr<Step>& step);
// dense4.cc
Status MakeDense4(const Binding& binding, std::unique_ptr<Step>& step);
// convolutions_f32.cc
Status MakeConvF32(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeDepthwiseF32(const Binding& binding, std::unique_ptr<Step>& step);
// pools.cc
Status MakePool8(const Binding& binding, std::unique_ptr<Step>& step);
Status MakePoolF32(const Binding& binding, std::unique_ptr<Step>& step);
// elementwise8.cc
Status MakeAdd8(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeMultiply8(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeLookup8(const Binding& binding, std::unique_ptr<Step>& step);
// elementwise_f32.cc
Status MakeBinaryF32(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeActivateF32(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeSoftmaxF32(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeLayerNormF32(const Binding& binding, std::unique_ptr<Step>& step);
// layer_norm8.cc
Status MakeLayerNorm8(const Binding& binding, std::unique_ptr<Step>& step);
// quantisers.cc
Status MakeQuantise(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeDequantise(const Binding& binding, std::unique_ptr<Step>& step);
// products_f32.cc
Status MakeMatMulF32(const Binding& binding, std::unique_ptr<Step>& step);
// gather.cc
Status MakeGather(const Binding& binding, std::unique_ptr<Step>& step);
// movement.cc
Status MakeMove(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeConcat(const Binding& binding, std::unique_ptr<Step>& step);
// general/
Status MakeUnary(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeCast(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeBinary(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeSelect(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeReduce(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeTake(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeGatherNd(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeScatterNd(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeResample(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeFold(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeScan(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeTopK(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeRecurrent(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeMatMul8(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeSoftmax8(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeGridSample(const Binding& binding, std::unique_ptr<Step>& step);
// fused/
Status MakeConvChain8(const Binding& binding, std::unique_ptr<Step>& step);
Status MakeSqueezeExcite8(const Binding& binding, std::unique_ptr<Step>& step);

}  // namespace ds::engine

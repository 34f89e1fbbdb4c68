#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <sys/resource.h>
#include <malloc.h>
#include "ATen/ATen.h"
#include "ATen/Parallel.h"
#include "graph/zoo/zoo.h"
#include "trainer/executor/graph_module.h"
#include "torch/csrc/autograd/autograd.h"
int main(int argc, char** argv) {
  at::set_num_threads(2);
  if (argc > 1 && argv[1][0]=='m') { mallopt(M_MMAP_THRESHOLD, 1<<30); mallopt(M_TRIM_THRESHOLD, 2000000000); }
  ds::ModelOptions o; o.channels = 1; o.height = o.width = 28;
  for (auto p : {ds::Precision::kFloat32, ds::Precision::kBFloat16}) {
    auto m = ds::GraphModule::Create(ds::BuildModel("resnet20", o).value()).value();
    m->set_training(true); m->set_precision(p);
    auto x = at::randn({128,1,28,28}); auto y = at::randint(0, 10, {128}, at::kLong);
    std::vector<at::Tensor> params, moms;
    for (auto& q : m->parameters()) { params.push_back(q.tensor); moms.push_back(at::zeros_like(q.tensor)); }
    double f=0,b=0,op=0,loss=0;
    auto now=[]{return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();};
    auto step=[&]{
      for (auto& q : params) q.mutable_grad() = at::Tensor();
      double t0=now();
      auto out = m->Forward({x}).value()[0];
      auto l = at::cross_entropy_loss(out, y);
      double t1=now();
      torch::autograd::backward({l}, {});
      double t2=now();
      std::vector<at::Tensor> g; for (auto& q : params) g.push_back(q.grad());
      at::NoGradGuard ng;
      at::_fused_sgd_(params, g, moms, 5e-4, 0.9, 0.1, 0.0, true, false, false);
      double t3=now(); f+=t1-t0; b+=t2-t1; op+=t3-t2; loss=l.item<double>();
    };
    for (int i=0;i<3;++i) step();
    f=b=op=0; rusage r0, r1; getrusage(RUSAGE_SELF,&r0);
    double t=now(); for (int i=0;i<15;++i) step();
    double e=now()-t; getrusage(RUSAGE_SELF,&r1);
    std::printf("%s %.1f img/s  fwd %.1f bwd %.1f opt %.1f ms loss %g faults/step %ld\n", p==ds::Precision::kFloat32?"fp32":"bf16", 15*128/e, f/15e-3, b/15e-3, op/15e-3, loss, (r1.ru_minflt-r0.ru_minflt)/15);
  }
}

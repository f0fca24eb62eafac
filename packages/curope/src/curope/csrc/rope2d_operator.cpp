// Registers curope_cuda::rotate_into with PyTorch. curope/operators.py has checked shapes and devices; what a wrong
// call could turn into a wild memory access is checked here again.
#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>

#include "rope2d.h"

namespace {

curope::TokenType token_type(const at::Tensor& tokens) {
  switch (tokens.scalar_type()) {
    case at::kDouble:
      return curope::TokenType::kFloat64;
    case at::kFloat:
      return curope::TokenType::kFloat32;
    case at::kHalf:
      return curope::TokenType::kFloat16;
    case at::kBFloat16:
      return curope::TokenType::kBFloat16;
    default:
      TORCH_CHECK_TYPE(false, "tokens: expected float64, float32, float16 or bfloat16, got ", tokens.scalar_type());
  }
}

void check(const at::Tensor& output, const at::Tensor& tokens, const at::Tensor& positions,
           const at::Tensor& frequencies) {
  TORCH_CHECK_VALUE(tokens.dim() == 4 && tokens.size(3) % 4 == 0,
                    "tokens: expected (batch, heads, tokens, a multiple of 4), got ", tokens.sizes());
  TORCH_CHECK_VALUE(output.sizes() == tokens.sizes() && output.scalar_type() == tokens.scalar_type(),
                    "output: expected the shape and dtype of tokens, got ", output.sizes());
  TORCH_CHECK_VALUE(positions.dim() == 3 && positions.size(0) == tokens.size(0) &&
                        positions.size(1) == tokens.size(2) && positions.size(2) == 2,
                    "positions: expected (batch, tokens, 2), got ", positions.sizes());
  TORCH_CHECK_TYPE(positions.scalar_type() == at::kInt || positions.scalar_type() == at::kLong,
                   "positions: expected int32 or int64, got ", positions.scalar_type());
  const auto compute = tokens.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  TORCH_CHECK_VALUE(frequencies.dim() == 1 && frequencies.size(0) == tokens.size(3) / 4 &&
                        frequencies.is_contiguous() && frequencies.scalar_type() == compute,
                    "frequencies: expected ", tokens.size(3) / 4, " contiguous numbers of type ", compute);
  for (const at::Tensor* tensor : {&output, &positions, &frequencies}) {
    TORCH_CHECK_VALUE(tensor->device() == tokens.device(), "expected all on ", tokens.device(), ", got ",
                      tensor->device());
  }
}

void rotate_into(at::Tensor output, const at::Tensor& tokens, const at::Tensor& positions,
                 const at::Tensor& frequencies) {
  check(output, tokens, positions, frequencies);
  if (tokens.numel() == 0) {
    return;
  }
  curope::Rotation rotation{};
  rotation.output = output.mutable_data_ptr();
  rotation.tokens = tokens.const_data_ptr();
  rotation.positions = positions.const_data_ptr();
  rotation.frequencies = frequencies.const_data_ptr();
  rotation.batch = tokens.size(0);
  rotation.heads = tokens.size(1);
  rotation.count = tokens.size(2);
  rotation.quarter = tokens.size(3) / 4;
  std::copy_n(output.strides().begin(), 4, rotation.output_strides);
  std::copy_n(tokens.strides().begin(), 4, rotation.token_strides);
  std::copy_n(positions.strides().begin(), 3, rotation.position_strides);
  rotation.token_type = token_type(tokens);
  rotation.wide_positions = positions.scalar_type() == at::kLong;

  const c10::cuda::CUDAGuard guard(tokens.device());
  C10_CUDA_CHECK(curope::launch_rotation(rotation, c10::cuda::getCurrentCUDAStream(tokens.device().index())));
}

}  // namespace

TORCH_LIBRARY(curope_cuda, library) {
  library.def("rotate_into(Tensor(a!) output, Tensor tokens, Tensor positions, Tensor frequencies) -> ()");
}

TORCH_LIBRARY_IMPL(curope_cuda, CUDA, library) { library.impl("rotate_into", &rotate_into); }

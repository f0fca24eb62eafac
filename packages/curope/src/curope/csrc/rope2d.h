// What the kernel (rope2d_kernel.cu) and its PyTorch operator (rope2d_operator.cpp) agree on.
// No PyTorch header here: nvcc then reads none, which saves a minute and every clash of CUDA header versions.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace curope {

enum class TokenType { kFloat64, kFloat32, kFloat16, kBFloat16 };

// Strides are in elements. `output` may be `tokens` itself.
struct Rotation {
  void* output;             // (batch, heads, tokens, 4 * quarter), TokenType
  const void* tokens;       // the same shape and type
  const void* positions;    // (batch, tokens, 2), (y, x), int32 or int64
  const void* frequencies;  // (quarter), contiguous; double for kFloat64, else float
  int64_t batch, heads, count, quarter;
  int64_t output_strides[4];
  int64_t token_strides[4];
  int64_t position_strides[3];
  TokenType token_type;
  bool wide_positions;  // int64
};

// Queues the rotation on the stream; the caller has set the device. All sizes are at least 1.
cudaError_t launch_rotation(const Rotation& rotation, cudaStream_t stream);

}  // namespace curope

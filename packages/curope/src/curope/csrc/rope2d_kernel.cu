// The rotation of spec 10 section S3.1. One thread turns one pair (u, v) of one token, for a few heads: it reads both
// values before it writes both, and no other thread touches them. So there is no shared memory, no barrier and no race,
// and the output may be the input.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>

#include "rope2d.h"

namespace curope {
namespace {

constexpr int kPairsPerBlock = 32;  // threadIdx.x: neighbouring channels, so that a warp's accesses coalesce
constexpr int kTokensPerBlock = 8;  // threadIdx.y
constexpr int kHeadsPerThread = 4;  // share one sine and cosine; more leave too few threads to fill the chip
constexpr int64_t kMaxGridX = 2147483647;
constexpr int64_t kMaxGridY = 65535;

__device__ inline double load(const double* at) { return *at; }
__device__ inline float load(const float* at) { return *at; }
__device__ inline float load(const __half* at) { return __half2float(*at); }
__device__ inline float load(const __nv_bfloat16* at) { return __bfloat162float(*at); }

__device__ inline void store(double* at, double value) { *at = value; }
__device__ inline void store(float* at, float value) { *at = value; }
__device__ inline void store(__half* at, float value) { *at = __float2half_rn(value); }
__device__ inline void store(__nv_bfloat16* at, float value) { *at = __float2bfloat16_rn(value); }

__device__ inline void sine_and_cosine(double angle, double* sine, double* cosine) { sincos(angle, sine, cosine); }
__device__ inline void sine_and_cosine(float angle, float* sine, float* cosine) { sincosf(angle, sine, cosine); }

// Compute is the type of angles and products: double for double tokens, else float.
template <typename Token, typename Compute, typename Position>
__global__ void rotate_pairs(const Rotation r) {
  const int64_t pairs = 2 * r.quarter;
  const int64_t rows = r.batch * r.count;
  const int64_t row_step = static_cast<int64_t>(gridDim.x) * kTokensPerBlock;
  const int64_t head_step = static_cast<int64_t>(gridDim.y) * kHeadsPerThread;
  const auto* frequencies = static_cast<const Compute*>(r.frequencies);

  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kTokensPerBlock + threadIdx.y; row < rows; row += row_step) {
    const int64_t image = row / r.count;
    const int64_t token = row - image * r.count;
    const auto* position = static_cast<const Position*>(r.positions) + image * r.position_strides[0] +
                           token * r.position_strides[1];
    const auto* source = static_cast<const Token*>(r.tokens) + image * r.token_strides[0] + token * r.token_strides[2];
    auto* target = static_cast<Token*>(r.output) + image * r.output_strides[0] + token * r.output_strides[2];

    for (int64_t pair = threadIdx.x; pair < pairs; pair += kPairsPerBlock) {
      const int64_t axis = pair < r.quarter ? 0 : 1;
      const int64_t k = pair - axis * r.quarter;
      Compute sine, cosine;
      sine_and_cosine(static_cast<Compute>(position[axis * r.position_strides[2]]) * frequencies[k], &sine, &cosine);

      const int64_t u_channel = 2 * axis * r.quarter + k;
      const int64_t v_channel = u_channel + r.quarter;
      for (int64_t first = static_cast<int64_t>(blockIdx.y) * kHeadsPerThread; first < r.heads; first += head_step) {
        const int64_t last = min(first + kHeadsPerThread, r.heads);
        for (int64_t head = first; head < last; ++head) {
          const Token* input = source + head * r.token_strides[1];
          Token* output = target + head * r.output_strides[1];
          const Compute u = load(input + u_channel * r.token_strides[3]);
          const Compute v = load(input + v_channel * r.token_strides[3]);
          store(output + u_channel * r.output_strides[3], u * cosine - v * sine);
          store(output + v_channel * r.output_strides[3], v * cosine + u * sine);
        }
      }
    }
  }
}

int64_t ceil_div(int64_t value, int64_t by) { return (value + by - 1) / by; }

template <typename Token, typename Compute>
cudaError_t launch(const Rotation& r, cudaStream_t stream) {
  const dim3 block(kPairsPerBlock, kTokensPerBlock);
  const dim3 grid(static_cast<unsigned>(std::min(ceil_div(r.batch * r.count, kTokensPerBlock), kMaxGridX)),
                  static_cast<unsigned>(std::min(ceil_div(r.heads, kHeadsPerThread), kMaxGridY)));
  if (r.wide_positions) {
    rotate_pairs<Token, Compute, int64_t><<<grid, block, 0, stream>>>(r);
  } else {
    rotate_pairs<Token, Compute, int32_t><<<grid, block, 0, stream>>>(r);
  }
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_rotation(const Rotation& rotation, cudaStream_t stream) {
  switch (rotation.token_type) {
    case TokenType::kFloat64:
      return launch<double, double>(rotation, stream);
    case TokenType::kFloat32:
      return launch<float, float>(rotation, stream);
    case TokenType::kFloat16:
      return launch<__half, float>(rotation, stream);
    case TokenType::kBFloat16:
      return launch<__nv_bfloat16, float>(rotation, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace curope

// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The obvious W4A16 product, the oracle of the fast ones and the path of what they
// refuse: float32 sums in order of k.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/gemm/w4a16_args.hpp"
#include "fpq/cuda/quantize/store_output.cuh"
#include "fpq/format/minifloat.hpp"

namespace fpq::cuda {

namespace detail {

/// x (token) * w (row)^T over columns first .. end - 1, without the factors of the output.
template <class Storage, bool Nv>
__device__ inline float reference_sum(w4a16_args const& p, unsigned token, unsigned row,
                                      unsigned first, unsigned end) {
    auto const* const x = static_cast<Storage const*>(p.x) + token * p.x_stride;
    float sum = 0.0F;
#pragma unroll 1
    for (unsigned j = first; j < end; ++j) {
        std::uint8_t const byte =
            p.scales[p.scales_at.row(row) + p.scales_at.column(j / (Nv ? 16 : 32))];
        std::uint8_t const code = p.codes[row * p.row_bytes + j / 2] >> (j % 2 * 4) & 15u;
        sum += e2m1::decode(code) * (Nv ? e4m3::decode(byte) : e8m0::decode(byte)) * to_float(x[j]);
    }
    return sum;
}

}  // namespace detail

/// One thread an output.
template <class Storage, bool Nv>
__global__ void __launch_bounds__(256) w4a16_reference_kernel(w4a16_args const p) {
    std::size_t const i = static_cast<std::size_t>(blockIdx.x) * 256 + threadIdx.x;
    if (i >= std::size_t{p.m} * p.n) {
        return;
    }
    auto const row = static_cast<unsigned>(i % p.n);
    float const sum =
        detail::reference_sum<Storage, Nv>(p, static_cast<unsigned>(i / p.n), row, 0, p.k);
    float const value = p.scale_of_output() * sum + (p.bias != nullptr ? p.bias[row] : 0.0F);
    store_output(p.out, p.out_type, i, value);
}

}  // namespace fpq::cuda

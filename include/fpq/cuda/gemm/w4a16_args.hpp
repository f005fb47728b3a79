// SPDX-License-Identifier: Apache-2.0
// Wing cuda. What the W4A16 kernels are called with: plain pointers and sizes. Filled by the
// launcher only, which has checked everything.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"
#include "fpq/core/float_type.hpp"
#include "fpq/cuda/ptx/l2_ahead.hpp"

namespace fpq::cuda {

/// Shape of the streaming kernel.
struct w4a16_stream {
    static constexpr int warps = 16;
    static constexpr int threads = 32 * warps;
    static constexpr int window_chunks = 2 * warps;  // chunks of 128 columns that one CTA holds
};

/// The offset of a scale as the sum of a part of its row and a part of its group: true of both
/// orders, and cheaper in a loop than the index functions of format/scale_layout.hpp.
struct scale_offsets {
    unsigned groups = 0;
    bool swizzled = false;

    FPQ_HD constexpr unsigned row(unsigned i) const noexcept {
        return swizzled ? (i / 128) * ((groups + 3) / 4) * 512 + (i % 32) * 16 + (i % 128) / 32 * 4
                        : i * groups;
    }
    FPQ_HD constexpr unsigned column(unsigned g) const noexcept {
        return swizzled ? (g / 4) * 512 + g % 4 : g;
    }
};

/// Offsets are 32 bits wide, so codes of w, scales and x are below 2^32 bytes or elements each.
struct w4a16_args {
    unsigned m, n, k;
    void const* x;  // (m, k) bf16 or fp16
    std::size_t x_stride;
    bool x_aligned;             // rows of x start on 16 bytes
    std::uint8_t const* codes;  // (n, k / 2)
    unsigned row_bytes;
    std::uint8_t const* scales;
    scale_offsets scales_at;
    unsigned group;
    float alpha;                // includes the power of two that decoding leaves over
    float const* alpha_device;  // one more factor, or null
    float const* bias;          // (n) or null
    void* out;                  // (m, n)
    float_type out_type;
    int chunks_per_window;
    float* partials;     // (windows, m, n), with more than one window
    unsigned* counters;  // zero before the first launch; every launch leaves zeros

    FPQ_HD float scale_of_output() const noexcept {
        return alpha_device != nullptr ? alpha * *alpha_device : alpha;
    }
};

/// What comes after the product, asked into the L2 cache by kernels that end early enough.
struct w4a16_ahead {
    l2_ahead of[2];
};

}  // namespace fpq::cuda

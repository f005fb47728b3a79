// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Who owns which column inside the polish kernel, and what one row's eight lanes do with
// a block of 64 columns; how many rows are polished at a time. Host and device: a test on the CPU
// runs eight lanes in step and compares them bit for bit with fpq/solve/polish.hpp.
//
//   a row's block: 8 stripes of 8 columns; in each stripe lane l owns column l
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"
#include "fpq/cuda/ptx/float_ops.cuh"

namespace fpq::cuda {

struct polish_block {
    static constexpr int width = 64;            // columns of a block
    static constexpr int lanes = 8;             // lanes that share a row
    static constexpr int held = width / lanes;  // columns a lane holds
    /// Floats from row to row of the block of H in shared memory: odd, so that a column of it lies
    /// in all banks.
    static constexpr int pitch = width + 1;

    /// Column of the block in slot `s` of a lane.
    FPQ_HD static constexpr int column(int lane, int slot) noexcept { return lanes * slot + lane; }
};

/// Columns between two updates of everything to their right, a multiple of the block's.
inline constexpr std::size_t polish_panel = 512;

/// Values from row to row of what polishing holds.
constexpr std::size_t polish_stride(std::size_t cols) noexcept {
    constexpr std::size_t width = polish_block::width;
    return (cols + width - 1) / width * width;
}

/// Rows that are polished at a time: what 1 GiB holds, at least 64. Not of how much a device has
/// free: products of other sizes may round otherwise.
constexpr std::size_t polish_rows_at_once(std::size_t cols, std::size_t groups) noexcept {
    constexpr std::size_t scratch = std::size_t{1} << 30;
    std::size_t const floats = 2 * polish_stride(cols) + polish_panel + groups;
    std::size_t const bytes = floats * sizeof(float) + 2 * polish_stride(cols);
    return std::max<std::size_t>(scratch / bytes / 64 * 64, 64);
}

/// One lane's share of one row: 8 columns of the block in registers.
/// All lanes look at a column of theirs at once, the owner's answer counts, and all lanes add what
/// it does to their slopes. A slope thus takes its corrections in column order, each by one
/// multiplication and one addition as on the CPU.
struct polish_lane {
    using block = polish_block;

    float slope[block::held];         // errors (H + damping I)
    float error[block::held];         // w - q
    float w[block::held];             // 0 in dead columns where they count as 0
    float step[block::held];          // the columns' scales
    float change[block::held];        // of the errors; 0 where the code stays
    std::uint8_t zero[block::held];   // zero points
    std::uint8_t codes[block::held];  // one byte a code

    /// The change of the error in slot `s` if its code is to change, which it then does; else 0.
    /// `curvature`: the damped diagonal of H, 0 or less where there is nothing to do.
    /// Without `owner` nothing changes and the result is 0.
    template <class Codec>
    FPQ_HD float reround(Codec codec, int s, float curvature, bool owner) noexcept {
        // The best value with all others fixed is w - (error - slope / curvature).
        float const target = add_rn(w[s] - error[s], div_rn(slope[s], curvature));
        std::uint8_t const code = codec.encode(div_rn(target, step[s]), zero[s]);
        float const q = mul_rn(codec.decode(code, zero[s]), step[s]);
        float const delta = (w[s] - q) - error[s];
        float const bend = mul_rn(delta, curvature);
        float const gain = mul_rn(delta, add_rn(mul_rn(2.0F, slope[s]), bend));
        // A gain that rounding could have made up is no gain.
        float const least = mul_rn(mul_rn(mul_rn(-1e-5F, delta), delta), curvature);
        if (!owner || !(curvature > 0.0F) || code == codes[s] || !(gain < least)) {
            return 0.0F;
        }
        codes[s] = code;
        error[s] = add_rn(error[s], delta);
        change[s] = delta;
        return delta;
    }

    /// Adds what a change of the error in some column does to the slopes from slot `from` on.
    /// `h` is that column's row in the block of H, from this lane's first column on. What lies left
    /// of the column is not looked at again in this pass.
    FPQ_HD void feed(int from, float delta, float const* h) noexcept {
        FPQ_UNROLL
        for (int s = 0; s < block::held; ++s) {
            if (s >= from) {
                slope[s] = add_rn(slope[s], mul_rn(delta, h[block::lanes * s]));
            }
        }
    }
};

}  // namespace fpq::cuda

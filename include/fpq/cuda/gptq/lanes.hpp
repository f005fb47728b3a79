// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Who owns which column inside the GPTQ column kernel, and what one row's four lanes do
// with a block of 128 columns. Host and device: a test on the CPU runs four lanes in step and
// compares them bit for bit with a plain loop over columns.
//
//   a row's block: 8 stripes of 16 columns; in each stripe lane l owns the quad 4l .. 4l + 3
//   stripe 0: [l0 l0 l0 l0][l1 l1 l1 l1][l2 ...][l3 ...]   stripe 1: the same   ...
#pragma once

#include <cstdint>

#include "fpq/core/config.hpp"
#include "fpq/cuda/ptx/float_ops.cuh"

namespace fpq::cuda {

/// The map of a block's columns to lanes, and the place of the block's factor in shared memory.
struct gptq_block {
    static constexpr int width = 128;            // columns of a block
    static constexpr int lanes = 4;              // lanes that share a row
    static constexpr int quad = 4;               // neighbouring columns of one lane
    static constexpr int stripe = lanes * quad;  // columns between a lane's quads
    static constexpr int stripes = width / stripe;
    static constexpr int held = width / lanes;  // columns a lane holds

    /// Column of the block in slot `s` (0 .. held - 1) of a lane.
    FPQ_HD static constexpr int column(int lane, int slot) noexcept {
        return stripe * (slot / quad) + quad * lane + slot % quad;
    }
    /// Floats from one row to the next of stripe g's part of the factor: columns from 16 g on.
    FPQ_HD static constexpr int feed_stride(int g) noexcept { return width - stripe * g; }
    /// Where stripe g's part begins. Row c of the factor keeps columns from 16 (c / 16) on only:
    /// what lies left of them is never read, and 36 KB instead of 64 leave room for more blocks.
    FPQ_HD static constexpr int feed_base(int g) noexcept {
        return stripe * (width * g - stripe * g * (g - 1) / 2);
    }
    /// Place of factor element (c, k), k >= 16 (c / 16), of the block.
    FPQ_HD static constexpr int feed_at(int c, int k) noexcept {
        int const g = c / stripe;
        return feed_base(g) + (c % stripe) * feed_stride(g) + (k - stripe * g);
    }
    /// Floats of the whole factor of a block.
    static constexpr int feed_size = stripe * stripe * stripes * (stripes + 1) / 2;
};

namespace detail {

constexpr bool gptq_columns_are_owned_once() {
    bool seen[gptq_block::width] = {};
    for (int lane = 0; lane < gptq_block::lanes; ++lane) {
        for (int slot = 0; slot < gptq_block::held; ++slot) {
            int const c = gptq_block::column(lane, slot);
            if (c < 0 || c >= gptq_block::width || seen[c]) {
                return false;
            }
            seen[c] = true;
        }
    }
    return true;
}

constexpr bool gptq_factor_is_dense() {
    int next = 0;
    for (int c = 0; c < gptq_block::width; ++c) {
        for (int k = gptq_block::stripe * (c / gptq_block::stripe); k < gptq_block::width; ++k) {
            if (gptq_block::feed_at(c, k) != next++) {
                return false;
            }
        }
    }
    return next == gptq_block::feed_size;
}

}  // namespace detail

static_assert(detail::gptq_columns_are_owned_once());
static_assert(detail::gptq_factor_is_dense());

/// What errors in a column cost: R_kk^2 times the square of (target - q) is the damped objective;
/// less the penalty, damping (and 1 in a dead column), times the square of (w - q), the plain one.
struct column_cost {
    float innovation;
    float penalty;
};

/// One lane's share of one row: 32 columns of the block in registers.
/// The lane that owns a quad rounds its four columns one after the other, feeding errors forward
/// among them; then all lanes receive the four errors and feed them to the columns after the quad.
/// A target thus takes its corrections in column order, each by one fused multiply-add.
struct gptq_lane {
    using block = gptq_block;

    float target[block::held];            // w + errors fed forward so far
    float error[block::held];             // w, then w - q
    float step[block::held];              // the columns' scales
    std::uint32_t zeros[block::stripes];  // zero points, one byte a column
    std::uint32_t codes[block::stripes];  // codes, one byte a column
    float loss = 0;                       // innovation * (target - q)^2 - penalty * (w - q)^2

    /// Rounds quad `g` of this lane. `feed` is the block's factor, `cost` its column costs.
    /// fresh[i] receives the error of the quad's column i; only the owner's values count.
    template <class Codec>
    FPQ_HD void round_quad(Codec codec, int g, int lane, float const* feed, column_cost const* cost,
                           bool owner, float (&fresh)[block::quad]) noexcept {
        int const first = block::stripe * g + block::quad * lane;
        std::uint32_t packed = 0;
        float quad_loss = 0;
        FPQ_UNROLL
        for (int i = 0; i < block::quad; ++i) {
            int const slot = block::quad * g + i;
            float sum = target[slot];
            FPQ_UNROLL
            for (int j = 0; j < i; ++j) {
                sum = fma_rn(fresh[j], feed[block::feed_at(first + j, first + i)], sum);
            }
            auto const zero = static_cast<std::uint8_t>(zeros[g] >> (8 * i));
            std::uint8_t const code = codec.encode(div_rn(sum, step[slot]), zero);
            float const q = mul_rn(codec.decode(code, zero), step[slot]);
            float const miss = sum - q;
            fresh[i] = error[slot] - q;
            quad_loss = fma_rn(mul_rn(cost[first + i].innovation, miss), miss, quad_loss);
            quad_loss = fma_rn(mul_rn(-cost[first + i].penalty, fresh[i]), fresh[i], quad_loss);
            packed |= static_cast<std::uint32_t>(code) << (8 * i);
        }
        if (owner) {
            FPQ_UNROLL
            for (int i = 0; i < block::quad; ++i) {
                error[block::quad * g + i] = fresh[i];
            }
            codes[g] = packed;
            loss += quad_loss;
        }
    }

    /// Feeds the errors of quad `owner` of stripe g to this lane's later columns.
    FPQ_HD void feed_forward(int g, int owner, int lane, float const* feed,
                             float const (&fresh)[block::quad]) noexcept {
        FPQ_UNROLL
        for (int i = 0; i < block::quad; ++i) {
            float const* const row =
                feed + block::feed_at(block::stripe * g + block::quad * owner + i,
                                      block::stripe * g + block::quad * lane);
            FPQ_UNROLL
            for (int h = g; h < block::stripes; ++h) {
                FPQ_UNROLL
                for (int s = 0; s < block::quad; ++s) {
                    float& t = target[block::quad * h + s];
                    t = fma_rn(fresh[i], row[block::stripe * (h - g) + s], t);
                }
            }
        }
    }
};

}  // namespace fpq::cuda

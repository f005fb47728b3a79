// SPDX-License-Identifier: Apache-2.0
// Wing cuda. What one warp does of the attention of a single row: up to eight query heads of a key
// head, 16 keys at a time, on the tensor cores. Fragments come straight from the pages, 16 bytes a
// load: which columns of an instruction are which values does not matter while both operands agree.
//
//   scores    A: head g, B: key g of eight; both: lane t has values 8 t .. + 7 of every 32
//   values    A: rows 0-7 the probabilities rounded to bf16, rows 8-15 what that left over, so that
//             both together have 16 bits; B: keys 2 t, 2 t + 1, 2 t + 8, 2 t + 9; tile 8 h + j has
//             values 64 h + 8 g + j
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/forward/values.cuh"
#include "fpq/cuda/ptx/float_ops.cuh"
#include "fpq/cuda/ptx/half_mma.cuh"
#include "fpq/cuda/ptx/half_words.cuh"
#include "fpq/cuda/ptx/mma.cuh"

namespace fpq::cuda {

/// Dim: 64, 128 or 256, the values of a head or more; those beyond count as zeros.
template <int Dim>
struct paged_attention_warp {
    static constexpr std::uint32_t keys = 16;  // of a step
    static constexpr std::uint32_t heads = 8;
    static constexpr int key_pieces = Dim / 32;  // of 16 bytes, of each of two keys
    /// Warps that share out the values of a head: one holds 128 of them at most.
    static constexpr std::uint32_t shares = Dim > 128 ? 2 : 1;
    static constexpr int value_pieces =
        Dim / 64 / static_cast<int>(shares);  // of each of four keys

    std::uint32_t q[key_pieces][4];
    uint4 k[2][key_pieces];
    uint4 v[4][value_pieces];
    float out[8 * value_pieces][4] = {};
    float top = bits_of<float>(0xFF800000u);  // head g's running maximum, in units of log 2
    float sum = 0.0F;                         // of its probabilities, before the division

    /// from: query head 0 of the group; zeros for heads beyond `given`.
    __device__ void load_queries(bf16 const* from, std::uint32_t head_dim, std::uint32_t given) {
        std::uint32_t const g = threadIdx.x % 32 / 4;
        std::uint32_t const t = threadIdx.x % 4;
        FPQ_UNROLL
        for (int j = 0; j < key_pieces; ++j) {
            std::uint32_t const at = 8 * t + 32 * static_cast<std::uint32_t>(j);
            uint4 words = make_uint4(0, 0, 0, 0);
            if (g < given && at < head_dim) {
                words = *reinterpret_cast<uint4 const*>(from + g * head_dim + at);
            }
            q[j][0] = words.x, q[j][1] = words.y, q[j][2] = words.z, q[j][3] = words.w;
        }
    }

    /// Keys first .. first + 15 below `end`; row(i): where key first + i lies from row 0.
    template <class Row>
    __device__ void load_keys(bf16 const* from, std::size_t stride, std::uint32_t head_dim,
                              std::uint32_t first, std::uint32_t end, Row const& row) {
        std::uint32_t const g = threadIdx.x % 32 / 4;
        std::uint32_t const t = threadIdx.x % 4;
        FPQ_UNROLL
        for (std::uint32_t n = 0; n < 2; ++n) {
            std::uint32_t const i = 8 * n + g;
            bf16 const* const key = from + row(first, i, end) * stride + 8 * t;
            FPQ_UNROLL
            for (int j = 0; j < key_pieces; ++j) {
                std::uint32_t const at = 32 * static_cast<std::uint32_t>(j);
                k[n][j] = make_uint4(0, 0, 0, 0);
                if (first + i < end && 8 * t + at < head_dim) {
                    k[n][j] = *reinterpret_cast<uint4 const*>(key + at);
                }
            }
        }
    }

    template <class Row>
    /// The same of values from column `begin` on.
    __device__ void load_values(bf16 const* from, std::size_t stride, std::uint32_t begin,
                                std::uint32_t head_dim, std::uint32_t first, std::uint32_t end,
                                Row const& row) {
        std::uint32_t const g = threadIdx.x % 32 / 4;
        std::uint32_t const t = threadIdx.x % 4;
        FPQ_UNROLL
        for (std::uint32_t n = 0; n < 4; ++n) {
            std::uint32_t const i = 2 * t + n % 2 + 8 * (n / 2);
            bf16 const* const value = from + row(first, i, end) * stride + begin + 8 * g;
            FPQ_UNROLL
            for (int h = 0; h < value_pieces; ++h) {
                std::uint32_t const at = 64 * static_cast<std::uint32_t>(h);
                v[n][h] = make_uint4(0, 0, 0, 0);
                if (first + i < end && begin + 8 * g + at < head_dim) {
                    v[n][h] = *reinterpret_cast<uint4 const*>(value + at);
                }
            }
        }
    }

    /// s[n]: scores of keys 8 n + 2 t and + 1 of head g.
    __device__ void multiply_keys(float (&s)[2][4]) const {
        FPQ_UNROLL
        for (int n = 0; n < 2; ++n) {
            s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.0F;
            FPQ_UNROLL
            for (int j = 0; j < key_pieces; ++j) {
                half_mma<bf16>::add(s[n], q[j][0], 0, q[j][1], 0, k[n][j].x, k[n][j].y);
                half_mma<bf16>::add(s[n], q[j][2], 0, q[j][3], 0, k[n][j].z, k[n][j].w);
            }
        }
    }

    /// Scores of `left` keys, times `scale`, to probabilities before the division; what was summed
    /// is brought to the new maximum.
    __device__ void softmax(float (&s)[2][4], float scale, std::uint32_t left) {
        std::uint32_t const t = threadIdx.x % 4;
        constexpr float nothing = bits_of<float>(0xFF800000u);
        float most = top;
        FPQ_UNROLL
        for (std::uint32_t n = 0; n < 2; ++n) {
            FPQ_UNROLL
            for (std::uint32_t c = 0; c < 2; ++c) {
                s[n][c] = 8 * n + 2 * t + c < left ? mul_rn(s[n][c], scale) : nothing;
                most = fmaxf(most, s[n][c]);
            }
        }
        most = fmaxf(most, __shfl_xor_sync(0xFFFFFFFFu, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xFFFFFFFFu, most, 2));
        float const shift = most == nothing ? 0.0F : most;
        float const shrink = ptx::exp2_approximate(top - shift);
        float terms = 0.0F;
        FPQ_UNROLL
        for (int n = 0; n < 2; ++n) {
            FPQ_UNROLL
            for (int c = 0; c < 2; ++c) {
                s[n][c] = ptx::exp2_approximate(s[n][c] - shift);
                terms += s[n][c];
            }
        }
        sum = fma_rn(sum, shrink, terms);
        if (__any_sync(0xFFFFFFFFu, most != top)) {
            FPQ_UNROLL
            for (auto& tile : out) {
                FPQ_UNROLL
                for (float& x : tile) {
                    x *= shrink;
                }
            }
        }
        top = most;
    }

    /// out += probabilities values.
    __device__ void multiply_values(float const (&p)[2][4]) {
        using words_of = half_words<bf16>;
        std::uint32_t high[2];
        std::uint32_t low[2];
        FPQ_UNROLL
        for (int n = 0; n < 2; ++n) {
            high[n] = words_of::pack(p[n][0], p[n][1]);
            low[n] =
                words_of::pack(p[n][0] - words_of::low(high[n]), p[n][1] - words_of::high(high[n]));
        }
        FPQ_UNROLL
        for (int h = 0; h < value_pieces; ++h) {
            std::uint32_t const w[4][4] = {{v[0][h].x, v[0][h].y, v[0][h].z, v[0][h].w},
                                           {v[1][h].x, v[1][h].y, v[1][h].z, v[1][h].w},
                                           {v[2][h].x, v[2][h].y, v[2][h].z, v[2][h].w},
                                           {v[3][h].x, v[3][h].y, v[3][h].z, v[3][h].w}};
            FPQ_UNROLL
            for (int j = 0; j < 8; ++j) {
                unsigned const half = j % 2 == 0 ? 0x5410u : 0x7632u;
                half_mma<bf16>::add(out[8 * h + j], high[0], low[0], high[1], low[1],
                                    __byte_perm(w[0][j / 2], w[1][j / 2], half),
                                    __byte_perm(w[2][j / 2], w[3][j / 2], half));
            }
        }
    }

    /// What was summed of head g, values 64 h + 16 t .. + 15 of this warp's, 4 at a time: store(at,
    /// float4).
    template <class Store>
    __device__ void each_sum(Store const& store) const {
        std::uint32_t const t = threadIdx.x % 4;
        FPQ_UNROLL
        for (int h = 0; h < value_pieces; ++h) {
            FPQ_UNROLL
            for (int c = 0; c < 2; ++c) {
                FPQ_UNROLL
                for (int j = 0; j < 8; j += 4) {
                    auto const x = [&](int i) {
                        auto const& tile = out[8 * h + j + i];
                        return add_rn(tile[c], tile[c + 2]);
                    };
                    store(64 * static_cast<std::uint32_t>(h) + 16 * t +
                              8 * static_cast<std::uint32_t>(c) + static_cast<std::uint32_t>(j),
                          make_float4(x(0), x(1), x(2), x(3)));
                }
            }
        }
    }
};

}  // namespace fpq::cuda

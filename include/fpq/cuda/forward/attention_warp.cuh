// SPDX-License-Identifier: Apache-2.0
// Wing cuda. What one warp does with a tile of keys: scores, a softmax with a running maximum, and
// its sums of values; all in registers, as mma.sync m16n8k16 lays them out.
//
//   scores of 16 queries x 8 keys: lane l holds queries l / 4 and l / 4 + 8, keys 2 (l % 4) + 0, 1.
//   Two such tiles side by side are, rounded to bf16, the left operand of the product with V.
#pragma once

#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/forward/attention_tile.hpp"
#include "fpq/cuda/ptx/float_ops.cuh"
#include "fpq/cuda/ptx/half_mma.cuh"
#include "fpq/cuda/ptx/half_words.cuh"
#include "fpq/cuda/ptx/mma.cuh"

namespace fpq::cuda {

template <int Dim>
struct attention_warp {
    using tile = attention_tile<Dim>;
    using product = half_mma<bf16>;

    static constexpr int bands = tile::warp_queries / 16;  // of 16 queries
    static constexpr int score_tiles = tile::keys / 8;
    static constexpr int value_tiles = Dim / 8;
    /// Steps of 16 values that the product with K has unrolled: more than this at 128, and the
    /// compiler keeps more addresses than fit in sm_80's registers.
    static constexpr int key_steps = Dim == 128 ? 4 : Dim / 16;

    float out[bands][value_tiles][4] = {};
    float most[bands][2];  // running maximum of a query's scores, before the scale
    /// This lane's part of the sums of its queries' probabilities, one every `threads` floats of
    /// shared memory: registers are too few for head_dim 128.
    float* sums;
    float score[bands][score_tiles][4];
    std::uint32_t kept[tile::kept_steps + 1][bands][4];  // queries, by steps of 16 values
    std::uint32_t likely[bands][tile::keys / 16][4];     // probabilities, before the division

    std::uint32_t query_at;  // this lane's rows for ldmatrix, offsets in shared memory
    std::uint32_t key_at;
    std::uint32_t value_at;

    __device__ attention_warp(std::uint32_t lane, std::uint32_t warp, float* shared_sums)
        : sums(shared_sums) {
        std::uint32_t const row = lane % 8;
        std::uint32_t const low = lane / 8 % 2;
        std::uint32_t const high = lane / 16;
        // Queries and values: matrices 0, 1 are rows 0.., 8.. of piece 0, matrices 2, 3 of piece 1.
        query_at = tile::place(warp * tile::warp_queries + 8 * low + row, high);
        value_at = tile::place(8 * low + row, high);
        // Keys: matrices 0, 1 are pieces 0, 1 of rows 0.., matrices 2, 3 of rows 8...
        key_at = tile::place(8 * high + row, low);
        FPQ_UNROLL
        for (int b = 0; b < bands; ++b) {
            FPQ_UNROLL
            for (int h = 0; h < 2; ++h) {
                most[b][h] = bits_of<float>(0xFF800000u);  // -infinity
                sums[(2 * b + h) * tile::threads] = 0.0F;
            }
        }
    }

    /// Values [16 k, 16 k + 16) of the warp's queries.
    __device__ void load_queries(std::uint32_t queries, int k, std::uint32_t (&q)[bands][4]) const {
        FPQ_UNROLL
        for (int b = 0; b < bands; ++b) {
            ptx::ldmatrix_x4(q[b],
                             tile::onward(queries + query_at, static_cast<std::uint32_t>(2 * k)) +
                                 static_cast<std::uint32_t>(16 * b * tile::row_bytes));
        }
    }

    /// Takes the queries into registers, where there is room for them.
    __device__ void keep_queries(std::uint32_t queries) {
        FPQ_UNROLL
        for (int k = 0; k < tile::kept_steps; ++k) {
            load_queries(queries, k, kept[k]);
        }
    }

    /// score = q k^T.
    __device__ void multiply_keys(std::uint32_t queries, std::uint32_t keys) {
        FPQ_UNROLL
        for (int b = 0; b < bands; ++b) {
            FPQ_UNROLL
            for (int n = 0; n < score_tiles; ++n) {
                FPQ_UNROLL
                for (int i = 0; i < 4; ++i) {
                    score[b][n][i] = 0.0F;
                }
            }
        }
        _Pragma("unroll (key_steps)") for (int k = 0; k < Dim / 16; ++k) {
            auto const piece = static_cast<std::uint32_t>(2 * k);
            std::uint32_t q[bands][4];
            if (k >= tile::kept_steps) {
                load_queries(queries, k, q);
            }
            FPQ_UNROLL
            for (int n = 0; n < score_tiles; n += 2) {
                std::uint32_t r[4];
                ptx::ldmatrix_x4(r, tile::onward(keys + key_at, piece) +
                                        static_cast<std::uint32_t>(8 * n * tile::row_bytes));
                FPQ_UNROLL
                for (int b = 0; b < bands; ++b) {
                    std::uint32_t const(&a)[4] = k < tile::kept_steps ? kept[k][b] : q[b];
                    product::add(score[b][n], a[0], a[1], a[2], a[3], r[0], r[1]);
                    product::add(score[b][n + 1], a[0], a[1], a[2], a[3], r[2], r[3]);
                }
            }
        }
    }

    /// Scores that a query does not see become -infinity. `ahead`: this lane's first query less its
    /// first key.
    __device__ void mask(int ahead, std::uint32_t sliding) {
        FPQ_UNROLL
        for (int b = 0; b < bands; ++b) {
            FPQ_UNROLL
            for (int n = 0; n < score_tiles; ++n) {
                FPQ_UNROLL
                for (int i = 0; i < 4; ++i) {
                    int const back = ahead + (16 * b + i / 2 * 8) - (8 * n + i % 2);
                    score[b][n][i] =
                        seen_back(back, sliding) ? score[b][n][i] : bits_of<float>(0xFF800000u);
                }
            }
        }
    }

    /// Scores become e^(scale (score - maximum)); what was summed before is brought to the new
    /// maximum. `scale` is in units of log 2.
    __device__ void softmax(float scale) {
        FPQ_UNROLL
        for (int b = 0; b < bands; ++b) {
            FPQ_UNROLL
            for (int h = 0; h < 2; ++h) {
                float top = most[b][h];
                FPQ_UNROLL
                for (int n = 0; n < score_tiles; ++n) {
                    top = fmaxf(top, fmaxf(score[b][n][2 * h], score[b][n][2 * h + 1]));
                }
                top = fmaxf(top, __shfl_xor_sync(0xFFFFFFFFu, top, 1));
                top = fmaxf(top, __shfl_xor_sync(0xFFFFFFFFu, top, 2));
                // A query that has seen no key yet: any finite maximum makes its terms 0.
                float const shift = top == bits_of<float>(0xFF800000u) ? 0.0F : top * scale;
                float const shrink = ptx::exp2_approximate(fma_rn(most[b][h], scale, -shift));
                most[b][h] = top;
                float terms = 0.0F;
                FPQ_UNROLL
                for (int n = 0; n < score_tiles; ++n) {
                    float const(&s)[4] = score[b][n];
                    float const x = ptx::exp2_approximate(fma_rn(s[2 * h], scale, -shift));
                    float const y = ptx::exp2_approximate(fma_rn(s[2 * h + 1], scale, -shift));
                    terms += x;
                    terms += y;
                    likely[b][n / 2][n % 2 * 2 + h] = half_words<bf16>::pack(x, y);
                }
                float* const own = sums + (2 * b + h) * tile::threads;
                *own = fma_rn(*own, shrink, terms);
                FPQ_UNROLL
                for (int n = 0; n < value_tiles; ++n) {
                    out[b][n][2 * h] *= shrink;
                    out[b][n][2 * h + 1] *= shrink;
                }
            }
        }
    }

    /// out += probabilities v.
    __device__ void multiply_values(std::uint32_t at) {
        FPQ_UNROLL
        for (int k = 0; k < tile::keys / 16; ++k) {
            FPQ_UNROLL
            for (int n = 0; n < value_tiles; n += 2) {
                std::uint32_t r[4];
                ptx::ldmatrix_x4_transposed(
                    r, tile::onward(at + value_at, static_cast<std::uint32_t>(n)) +
                           static_cast<std::uint32_t>(16 * k * tile::row_bytes));
                FPQ_UNROLL
                for (int b = 0; b < bands; ++b) {
                    std::uint32_t const(&p)[4] = likely[b][k];
                    product::add(out[b][n], p[0], p[1], p[2], p[3], r[0], r[1]);
                    product::add(out[b][n + 1], p[0], p[1], p[2], p[3], r[2], r[3]);
                }
            }
        }
    }

    /// Divides by the sums and puts the warp's rows where its queries were, in bf16.
    __device__ void finish(std::uint32_t lane, std::uint32_t warp, unsigned char* queries) {
        FPQ_UNROLL
        for (int b = 0; b < bands; ++b) {
            FPQ_UNROLL
            for (int h = 0; h < 2; ++h) {
                float all = sums[(2 * b + h) * tile::threads];
                all += __shfl_xor_sync(0xFFFFFFFFu, all, 1);
                all += __shfl_xor_sync(0xFFFFFFFFu, all, 2);
                float const inverse = div_rn(1.0F, all);
                auto const row = warp * tile::warp_queries +
                                 static_cast<std::uint32_t>(16 * b + 8 * h) + lane / 4;
                FPQ_UNROLL
                for (int n = 0; n < value_tiles; ++n) {
                    std::uint32_t const word = half_words<bf16>::pack(
                        out[b][n][2 * h] * inverse, out[b][n][2 * h + 1] * inverse);
                    *reinterpret_cast<std::uint32_t*>(
                        queries + tile::place(row, static_cast<std::uint32_t>(n)) + lane % 4 * 4) =
                        word;
                }
            }
        }
    }
};

}  // namespace fpq::cuda

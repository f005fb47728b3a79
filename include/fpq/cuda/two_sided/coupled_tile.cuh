// SPDX-License-Identifier: Apache-2.0
// Wing cuda. GPTQ with feedback between rows: what happens in a tile of 128 rows and 64 columns,
// and how a tile's errors reach what lies below it and to its right. Entry (i, k) needs the errors
// above it in column k and before it in row i, so tiles on one anti-diagonal are independent.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/config.hpp"
#include "fpq/cuda/gptq/codec.hpp"
#include "fpq/cuda/ptx/float_ops.cuh"

namespace fpq::cuda {

struct coupled_tile {
    static constexpr int rows = 128;
    static constexpr int cols = 64;
    static constexpr int side = 32;              // of the squares that a warp walks
    static constexpr int warps = rows / side;    // one warp for 32 rows
    static constexpr int squares = cols / side;  // that each walks
    static constexpr int threads = 32 * warps;
    static constexpr int error_pitch = cols + 4;   // lanes on a diagonal fall on unlike banks
    static constexpr int square_pitch = side + 2;  // likewise
    static constexpr int feed_pitch = side + 1;
    static constexpr std::size_t shared_bytes =
        sizeof(float) *
        (rows * error_pitch + 2 * warps * side * square_pitch + squares * side * feed_pitch);
};

/// A layer under way. All that has columns is in processing order; rows and columns are padded to
/// whole tiles with zeros.
struct coupled_args {
    float* target;               // (rows, stride): w + all feedback so far
    float* whole;                // (rows, stride): w + row feedback; then that - q
    float* error;                // (rows, stride): w, then w - q
    std::uint8_t* codes;         // (rows, stride)
    std::size_t stride;          // a multiple of 64
    float const* columns;        // (cols, cols): feedback of columns
    float const* above;          // (rows, rows): feedback of rows
    std::uint32_t const* order;  // (cols)
    float const* steps;          // (rows, groups)
    std::uint8_t const* zeros;   // (rows, groups), one in all when zero_stride is 0, or null
    std::size_t zero_stride;
    std::uint32_t rows;
    std::uint32_t cols;
    std::uint32_t group;
    std::uint32_t groups;
};

namespace detail {

/// Lane i's share of a square: row i, whose column s - i it rounds in step s. So every lane finds
/// what it needs: errors above in its column, its own errors in the columns before.
template <class Codec>
struct coupled_square {
    coupled_args const& a;
    Codec const& codec;
    float* errors;      // (side, error_pitch): this square's w, then w - q
    float* targets;     // (side, square_pitch)
    float* wholes;      // the same
    float const* feed;  // (side, feed_pitch): column feedback, 0 where not j < k
    float const (&above)[coupled_tile::side];  // row feedback to this lane's row
    std::uint32_t row;
    std::uint32_t col;  // the square's first

    __device__ void round() const {
        constexpr int side = coupled_tile::side;
        auto const lane = static_cast<int>(threadIdx.x % 32);
        float own[side] = {};  // whole - q of this row
        for (int s = 0; s < 2 * side - 1; ++s) {
            int const k = s - lane;
            int const at = min(max(k, 0), side - 1);
            float from_rows = 0;
            float from_columns = 0;
            FPQ_UNROLL
            for (int r = 0; r < side; ++r) {
                from_rows = fma_rn(above[r], errors[r * coupled_tile::error_pitch + at], from_rows);
                from_columns =
                    fma_rn(own[r], feed[r * coupled_tile::feed_pitch + at], from_columns);
            }
            bool const mine =
                k == at && row < a.rows && col + static_cast<std::uint32_t>(at) < a.cols;
            float left = 0;
            if (mine) {
                left = one(lane, at, from_rows, from_columns);
            }
            FPQ_UNROLL
            for (int j = 0; j < side; ++j) {
                own[j] = mine && j == at ? left : own[j];
            }
            __syncwarp();
        }
    }

private:
    /// Rounds (row, col + k); returns whole - q.
    __device__ float one(int lane, int k, float from_rows, float from_columns) const {
        float* const error = errors + lane * coupled_tile::error_pitch + k;
        float* const whole = wholes + lane * coupled_tile::square_pitch + k;
        float const target =
            targets[lane * coupled_tile::square_pitch + k] + from_rows + from_columns;
        std::uint32_t const column = col + static_cast<std::uint32_t>(k);
        std::size_t const g = std::size_t{row} * a.groups + a.order[column] / a.group;
        float const step = a.steps[g];
        std::uint8_t const zero =
            a.zeros == nullptr ? std::uint8_t{0} : a.zeros[a.zero_stride == 0 ? 0 : g];
        std::uint8_t const code = codec.encode(div_rn(target, step), zero);
        float const q = mul_rn(codec.decode(code, zero), step);
        float const left = *whole + from_rows - q;
        *whole = left;
        *error -= q;
        a.codes[row * a.stride + column] = code;
        return left;
    }
};

}  // namespace detail

/// Tiles (panel, step - panel), panel from first_panel on, one a block of threads. Warp w takes the
/// rows 32 w .. of the tile and walks its squares one behind the warp above.
template <class Codec>
__global__ void __launch_bounds__(coupled_tile::threads)
    coupled_tile_kernel(coupled_args const a, std::uint32_t step, std::uint32_t first_panel,
                        Codec const codec) {
    using tile = coupled_tile;
    constexpr int side = tile::side;
    extern __shared__ __align__(16) float coupled_shared[];
    float* const errors = coupled_shared;
    float* const targets = errors + tile::rows * tile::error_pitch;
    float* const wholes = targets + tile::warps * side * tile::square_pitch;
    float* const feed = wholes + tile::warps * side * tile::square_pitch;
    std::uint32_t const panel = first_panel + blockIdx.x;
    std::uint32_t const row0 = panel * tile::rows;
    std::uint32_t const col0 = (step - panel) * tile::cols;
    for (int at = static_cast<int>(threadIdx.x); at < tile::rows * tile::cols;
         at += tile::threads) {
        int const i = at / tile::cols;
        int const j = at % tile::cols;
        std::size_t const row = row0 + static_cast<std::uint32_t>(i);
        errors[i * tile::error_pitch + j] =
            a.error[row * a.stride + col0 + static_cast<std::uint32_t>(j)];
    }
    for (int at = static_cast<int>(threadIdx.x); at < tile::squares * side * side;
         at += tile::threads) {
        int const b = at / (side * side);
        int const j = at / side % side;
        int const k = at % side;
        std::size_t const first = col0 + static_cast<std::uint32_t>(b * side);
        std::size_t const from = first + static_cast<std::uint32_t>(j);
        std::size_t const to = first + static_cast<std::uint32_t>(k);
        feed[(b * side + j) * tile::feed_pitch + k] =
            j < k && to < a.cols ? a.columns[from * a.cols + to] : 0.0F;
    }
    auto const warp = static_cast<int>(threadIdx.x / 32);
    auto const lane = static_cast<int>(threadIdx.x % 32);
    std::uint32_t const warp_row = row0 + static_cast<std::uint32_t>(warp * side);
    std::uint32_t const row = warp_row + static_cast<std::uint32_t>(lane);
    bool const active = row < a.rows;
    float above[side];
    FPQ_UNROLL
    for (int r = 0; r < side; ++r) {
        above[r] =
            active && r < lane
                ? a.above[(std::size_t{warp_row} + static_cast<std::uint32_t>(r)) * a.rows + row]
                : 0.0F;
    }
    float* const own_targets = targets + warp * side * tile::square_pitch;
    float* const own_wholes = wholes + warp * side * tile::square_pitch;
    __syncthreads();

    for (int turn = 0; turn < tile::warps + tile::squares - 1; ++turn) {
        int const b = turn - warp;
        if (b >= 0 && b < tile::squares) {
            float from_rows[side] = {};
            for (int r = 0; r < warp * side; ++r) {
                float const f =
                    active ? a.above[(std::size_t{row0} + static_cast<std::uint32_t>(r)) * a.rows +
                                     row]
                           : 0.0F;
                float const* const e = errors + r * tile::error_pitch + b * side;
                FPQ_UNROLL
                for (int k = 0; k < side; ++k) {
                    from_rows[k] = fma_rn(f, e[k], from_rows[k]);
                }
            }
            std::uint32_t const col = col0 + static_cast<std::uint32_t>(b * side);
            float from_columns[side] = {};
            for (int j = 0; j < b * side; ++j) {
                // The square before is still in own_wholes: there are two.
                static_assert(tile::squares == 2);
                float const e = own_wholes[lane * tile::square_pitch + j];
                float const* const f =
                    a.columns + std::size_t{col0 + static_cast<std::uint32_t>(j)} * a.cols + col;
                FPQ_UNROLL
                for (int k = 0; k < side; ++k) {
                    bool const inside = col + static_cast<std::uint32_t>(k) < a.cols &&
                                        col0 + static_cast<std::uint32_t>(j) < a.cols;
                    from_columns[k] = fma_rn(e, inside ? f[k] : 0.0F, from_columns[k]);
                }
            }
            std::size_t const begin = std::size_t{row} * a.stride + col;
            FPQ_UNROLL
            for (int k = 0; k < side; ++k) {
                own_targets[lane * tile::square_pitch + k] =
                    a.target[begin + static_cast<std::uint32_t>(k)] + from_rows[k] +
                    from_columns[k];
                own_wholes[lane * tile::square_pitch + k] =
                    a.whole[begin + static_cast<std::uint32_t>(k)] + from_rows[k];
            }
            __syncwarp();
            detail::coupled_square<Codec>{
                a,           codec,      errors + warp * side * tile::error_pitch + b * side,
                own_targets, own_wholes, feed + b * side * tile::feed_pitch,
                above,       row,        col}
                .round();
            FPQ_UNROLL
            for (int k = 0; k < side; ++k) {
                a.whole[begin + static_cast<std::uint32_t>(k)] =
                    own_wholes[lane * tile::square_pitch + k];
            }
        }
        __syncthreads();
    }
    for (int at = static_cast<int>(threadIdx.x); at < tile::rows * tile::cols;
         at += tile::threads) {
        int const i = at / tile::cols;
        int const j = at % tile::cols;
        std::size_t const at_row = row0 + static_cast<std::uint32_t>(i);
        a.error[at_row * a.stride + col0 + static_cast<std::uint32_t>(j)] =
            errors[i * tile::error_pitch + j];
    }
}

/// Which way errors go.
enum class coupled_way : std::uint8_t { down, right };

inline constexpr int push_side = 64;      // of the part of a matrix that a block of threads adds to
inline constexpr int push_depth = 16;     // at a time in shared memory
inline constexpr int push_threads = 256;  // each holds 4 x 4 sums

/// What the errors of tiles (panel, step - panel) add to the targets of tiles below them (from
/// `w - q`, to targets and wholes) or to their right (from `whole - q`, to targets). Grid: the
/// parts of a tile in x (2), the tiles beside in y, panels in z.
template <coupled_way Way>
__global__ void __launch_bounds__(push_threads)
    coupled_push_kernel(coupled_args const a, std::uint32_t step, std::uint32_t first_panel) {
    constexpr bool down = Way == coupled_way::down;
    constexpr std::uint32_t depth = down ? coupled_tile::rows : coupled_tile::cols;
    std::uint32_t const panel = first_panel + blockIdx.z;
    std::uint32_t const block = step - panel;
    std::uint32_t const beside = blockIdx.y;
    if (beside <= (down ? panel : block)) {
        return;
    }
    std::uint32_t const row0 =
        (down ? beside : panel) * coupled_tile::rows + blockIdx.x * push_side;
    std::uint32_t const col0 = (down ? block : beside) * coupled_tile::cols;
    // left (depth, rows), right (depth, columns)
    __shared__ float left[push_depth][push_side + 4];
    __shared__ float right[push_depth][push_side + 4];
    std::uint32_t const across = threadIdx.x % 16;
    std::uint32_t const along = threadIdx.x / 16;
    float sum[4][4] = {};
    for (std::uint32_t first = 0; first < depth; first += push_depth) {
        for (std::uint32_t at = threadIdx.x; at < push_depth * push_side; at += push_threads) {
            if constexpr (down) {
                std::uint32_t const d = at / push_side;
                std::uint32_t const i = at % push_side;
                std::size_t const from = panel * coupled_tile::rows + first + d;
                std::size_t const to = row0 + i;
                left[d][i] = from < a.rows && to < a.rows ? a.above[from * a.rows + to] : 0.0F;
                right[d][i] = a.error[from * a.stride + col0 + i];
            } else {
                std::uint32_t const i = at / push_depth;
                std::uint32_t const d = at % push_depth;
                left[d][i] = a.whole[std::size_t{row0 + i} * a.stride + block * coupled_tile::cols +
                                     first + d];
                std::uint32_t const e = at / push_side;
                std::uint32_t const j = at % push_side;
                std::size_t const from = block * coupled_tile::cols + first + e;
                std::size_t const to = col0 + j;
                right[e][j] = from < a.cols && to < a.cols ? a.columns[from * a.cols + to] : 0.0F;
            }
        }
        __syncthreads();
        FPQ_UNROLL
        for (int d = 0; d < push_depth; ++d) {
            float4 const l = *reinterpret_cast<float4 const*>(&left[d][4 * along]);
            float4 const r = *reinterpret_cast<float4 const*>(&right[d][4 * across]);
            float const ls[4] = {l.x, l.y, l.z, l.w};
            float const rs[4] = {r.x, r.y, r.z, r.w};
            FPQ_UNROLL
            for (int i = 0; i < 4; ++i) {
                FPQ_UNROLL
                for (int j = 0; j < 4; ++j) {
                    sum[i][j] = fma_rn(ls[i], rs[j], sum[i][j]);
                }
            }
        }
        __syncthreads();
    }
    FPQ_UNROLL
    for (int i = 0; i < 4; ++i) {
        std::size_t const at =
            std::size_t{row0 + 4 * along + static_cast<std::uint32_t>(i)} * a.stride + col0 +
            4 * across;
        auto const add = [&](float* to) {
            float4 x = *reinterpret_cast<float4 const*>(to + at);
            x.x += sum[i][0], x.y += sum[i][1], x.z += sum[i][2], x.w += sum[i][3];
            *reinterpret_cast<float4*>(to + at) = x;
        };
        add(a.target);
        if constexpr (down) {
            add(a.whole);
        }
    }
}

}  // namespace fpq::cuda

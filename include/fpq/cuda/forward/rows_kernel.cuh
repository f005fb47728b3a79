// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Steps that treat every value alike: embedding, SiLU(gate) * up, residual add. A thread
// holds Width columns of four rows, whose loads are all under way before the first store.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/half.hpp"
#include "fpq/cuda/forward/values.cuh"
#include "fpq/cuda/ptx/float_ops.cuh"
#include "fpq/cuda/ptx/mma.cuh"

namespace fpq::cuda {

inline constexpr int rows_threads = 128;
inline constexpr int rows_held = 4;  // rows a thread holds at a time

/// out = table[token], a row of NaN for a token outside the table.
template <class Stream, int Width>
struct embed_step {
    static constexpr int width = Width;
    struct operands {
        values<bf16, Width> row;
        bool known;
    };

    std::int32_t const* tokens;
    bf16 const* table;  // (vocab, cols)
    std::uint32_t vocab;
    Stream* out;
    std::size_t cols;

    __device__ operands load(std::size_t row, std::uint32_t col) const {
        auto const token = static_cast<std::uint32_t>(tokens[row]);
        bool const known = token < vocab;
        return {values<bf16, Width>::load(table + std::size_t{known ? token : 0} * cols + col),
                known};
    }
    __device__ void store(std::size_t row, std::uint32_t col, operands const& in) const {
        float x[Width];
        in.row.unpack(x);
        FPQ_UNROLL
        for (int i = 0; i < Width; ++i) {
            x[i] = in.known ? x[i] : bits_of<float>(0x7FC00000u);
        }
        values<Stream, Width>::store(out + row * cols + col, x);
    }
};

/// out = gate / (1 + e^-gate) * up, in float32, the exponent clamped to 87 as on the CPU.
template <int Width>
struct silu_step {
    static constexpr int width = Width;
    struct operands {
        values<bf16, Width> gate;
        values<bf16, Width> up;
    };

    bf16 const* gate;
    std::size_t gate_stride;
    bf16 const* up;
    std::size_t up_stride;
    bf16* out;
    std::size_t out_stride;

    __device__ operands load(std::size_t row, std::uint32_t col) const {
        return {values<bf16, Width>::load(gate + row * gate_stride + col),
                values<bf16, Width>::load(up + row * up_stride + col)};
    }
    __device__ void store(std::size_t row, std::uint32_t col, operands const& in) const {
        float g[Width];
        float u[Width];
        in.gate.unpack(g);
        in.up.unpack(u);
        FPQ_UNROLL
        for (int i = 0; i < Width; ++i) {
            // The clamp loses a NaN, the division by it does not. e^87 is below 2^126, where the
            // fast division ends.
            float const e = __expf(fminf(fmaxf(-g[i], -87.0F), 87.0F));
            g[i] = __fdividef(g[i], 1.0F + e) * u[i];
        }
        values<bf16, Width>::store(out + row * out_stride + col, g);
    }
};

/// x += added, rounded to x's type.
template <class Stream, int Width>
struct add_step {
    static constexpr int width = Width;
    struct operands {
        values<Stream, Width> x;
        values<bf16, Width> added;
    };

    Stream* x;
    bf16 const* added;
    std::size_t cols;

    __device__ operands load(std::size_t row, std::uint32_t col) const {
        std::size_t const at = row * cols + col;
        return {values<Stream, Width>::load(x + at), values<bf16, Width>::load(added + at)};
    }
    __device__ void store(std::size_t row, std::uint32_t col, operands const& in) const {
        float sum[Width];
        float more[Width];
        in.x.unpack(sum);
        in.added.unpack(more);
        FPQ_UNROLL
        for (int i = 0; i < Width; ++i) {
            sum[i] = add_rn(sum[i], more[i]);
        }
        values<Stream, Width>::store(x + row * cols + col, sum);
    }
};

/// `step` at every value of (rows, cols). Block (i, j): columns i * 128 * Width.., rows 4 j..
template <class Step>
__global__ void __launch_bounds__(rows_threads)
    rows_kernel(Step const step, std::size_t rows, std::uint32_t cols) {
    ptx::allow_next_kernel();
    ptx::wait_for_previous_kernel();
    std::uint32_t const col = (blockIdx.x * rows_threads + threadIdx.x) * Step::width;
    if (col >= cols) {
        return;
    }
    for (std::size_t first = std::size_t{blockIdx.y} * rows_held; first < rows;
         first += std::size_t{gridDim.y} * rows_held) {
        typename Step::operands held[rows_held];
        FPQ_UNROLL
        for (int r = 0; r < rows_held; ++r) {
            std::size_t const row = first + static_cast<std::size_t>(r);
            held[r] = step.load(row < rows ? row : rows - 1, col);
        }
        FPQ_UNROLL
        for (int r = 0; r < rows_held; ++r) {
            std::size_t const row = first + static_cast<std::size_t>(r);
            if (row < rows) {
                step.store(row, col, held[r]);
            }
        }
    }
}

}  // namespace fpq::cuda

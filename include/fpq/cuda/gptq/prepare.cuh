// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The kernels that turn a Hessian into GPTQ's feedback coefficients around cuSOLVER's
// Cholesky factorisation: look at it, permute and damp it, divide the factor by its diagonal.
// Each is one pass over memory.
//
// H' = R R^T with R upper triangular comes from the ordinary factorisation of H' with rows and
// columns reversed. That matrix lies in `a` (cols, cols), its lower half row by row, which is what
// a column-major library calls the upper half. Its factor U has R_jk = U(cols-1-k, cols-1-j) there,
// so R's upper half is a's lower half read backwards, and the coefficients G can be written over
// the half that the library left alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fpq/core/bits.hpp"
#include "fpq/cuda/gptq/factor.hpp"
#include "fpq/cuda/gptq/lanes.hpp"

namespace fpq::cuda {

inline constexpr int gptq_pass_threads = 256;

/// Grid: one block a row. Copies the diagonal and finds faults in the lower half; upper not read.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    hessian_check_kernel(float const* h, std::uint32_t n, float* diagonal, hessian_faults* faults) {
    std::size_t const i = blockIdx.x;
    float const* const row = h + i * n;
    for (std::size_t j = threadIdx.x; j <= i; j += Threads) {
        if (!is_finite(row[j])) {
            atomicMin(&faults->not_finite, static_cast<unsigned long long>(i * n + j));
        }
    }
    if (threadIdx.x == 0) {
        diagonal[i] = row[i];
        if (row[i] < 0.0F) {
            atomicMin(&faults->negative, static_cast<unsigned long long>(i * n + i));
        }
    }
}

/// diag(H') of the column fixed k-th, before any update: a dead column's 0 counts as 1.
template <class Work>
__device__ Work damped_diagonal(float diagonal, double damping) {
    double const base = diagonal > 0.0F ? static_cast<double>(diagonal) : 1.0;
    return static_cast<Work>(base + damping);
}

/// a's lower half = the damped H', rows and columns in reversed processing order.
/// Grid: one block a row of a. Reads h's lower half only.
template <class Work>
__global__ void __launch_bounds__(gptq_pass_threads)
    gptq_permute_kernel(float const* h, float const* diagonal, std::uint32_t const* order,
                        std::uint32_t n, double damping, Work* a) {
    std::size_t const r = blockIdx.x;
    std::size_t const i = order[n - 1 - r];
    for (std::size_t c = threadIdx.x; c <= r; c += gptq_pass_threads) {
        std::size_t const j = order[n - 1 - c];
        Work value{};
        if (c == r) {
            value = damped_diagonal<Work>(diagonal[i], damping);
        } else {
            value = static_cast<Work>(i > j ? h[i * n + j] : h[j * n + i]);
        }
        a[r * n + c] = value;
    }
}

/// cost[k] and inverse[k] = 1 / R_kk from the factor's diagonal.
/// A pivot that is not finite or within the rounding error of its diagonal element is noise:
/// faults->lost_pivot. Grid: any.
template <class Work>
__global__ void __launch_bounds__(gptq_pass_threads)
    gptq_pivot_kernel(Work const* a, float const* diagonal, std::uint32_t const* order,
                      std::uint32_t n, double damping, column_cost* cost, Work* inverse,
                      hessian_faults* faults) {
    std::size_t const k = static_cast<std::size_t>(blockIdx.x) * gptq_pass_threads + threadIdx.x;
    if (k >= n) {
        return;
    }
    constexpr Work epsilon = std::is_same_v<Work, double> ? Work(0x1p-52) : Work(0x1p-23);
    Work const root = a[(n - 1 - k) * n + (n - 1 - k)];
    float const d = diagonal[order[k]];
    Work const pivot = root * root;
    // The largest float bounds both types: what exceeds it cannot be used below.
    if (!(pivot > epsilon * damped_diagonal<Work>(d, damping)) ||
        !(pivot <= static_cast<Work>(3.4028234e38F))) {
        faults->lost_pivot = 1;
    }
    cost[k] = {static_cast<float>(pivot), static_cast<float>(damping + (d > 0.0F ? 0.0 : 1.0))};
    inverse[k] = Work{1} / root;
}

/// feedback_jk = R_jk / R_kk above the diagonal. `feedback` may be `a` itself: reads are below the
/// diagonal, writes above. Grid: one block a row of feedback.
template <class Work>
__global__ void __launch_bounds__(gptq_pass_threads)
    gptq_feedback_kernel(Work const* a, Work const* inverse, std::uint32_t n, float* feedback) {
    std::size_t const j = blockIdx.x;
    Work const* const from = a + (n - 1 - j) * n;
    for (std::size_t k = j + 1 + threadIdx.x; k < n; k += gptq_pass_threads) {
        feedback[j * n + k] = static_cast<float>(from[n - 1 - k] * inverse[k]);
    }
}

}  // namespace fpq::cuda

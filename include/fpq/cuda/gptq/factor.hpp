// SPDX-License-Identifier: Apache-2.0
// Wing cuda. What GPTQ needs of a Hessian, in device memory: the counterpart of the CPU solver's
// basic_gptq_factor, made once and shared by every layer with the same input. Host code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/cuda/api/buffer.hpp"
#include "fpq/cuda/gptq/lanes.hpp"

namespace fpq::cuda {

/// The order in which columns are fixed: as they lie, or by decreasing diag(H), ties in place.
enum class gptq_order : std::uint8_t { natural, activation };

struct gptq_factor_options {
    gptq_order order = gptq_order::natural;
    /// Damping added to diag(H), as a fraction of mean(diag(H)), dead columns counted as 0.
    double rel_damp = 0.01;
    /// Up to this many columns the factorisation runs in double, above it in float, and then in
    /// double after all if float loses a pivot.
    std::size_t double_limit = 4096;
};

/// What a look at H found: the least row-major index of each kind, or none_found.
struct hessian_faults {
    static constexpr unsigned long long none_found = ~0ull;
    unsigned long long not_finite;
    unsigned long long negative;  // on the diagonal
    unsigned int lost_pivot;      // of the factorisation
};

/// H' = R R^T, R upper triangular, H' damped and in processing order. Filled by factor_hessian;
/// its buffers are kept and reused when it is filled again.
struct gptq_factor {
    std::size_t size = 0;
    device_buffer<float> feedback;          // (size, size): R_jk / R_kk for j < k
    device_buffer<column_cost> cost;        // (size), processing order
    device_buffer<std::uint32_t> order;     // order[k]: the original column fixed k-th
    device_buffer<std::uint32_t> position;  // its inverse
    device_buffer<float> diagonal;          // diag(H), not damped, original order
    device_buffer<double> inverse;          // scratch: 1 / R_kk
    device_buffer<hessian_faults> faults;   // scratch
    device_buffer<int> info;                // scratch
    std::vector<std::uint32_t> host_order;
    std::vector<float> host_diagonal;
    double damping = 0;  // added to the diagonal, in H's units
    int retries = 0;     // how often it was raised tenfold
    std::size_t dead_columns = 0;
};

}  // namespace fpq::cuda

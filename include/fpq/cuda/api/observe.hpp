// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Launchers of the part "observe": the scales of any format by any rule, with weighted
// errors, codes under scales that are there, what codes decode to, and inputs as a client rounds
// them. Every element, group size and rule of the vocabulary; the bytes are the CPU's (fpq/quant).
// The part "quantize" is faster where it serves: NVFP4, MXFP4 and MXFP8 without weights.
// All pointers are device pointers; work is queued on `stream`.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <limits>

#include "fpq/cuda/api/quantize.hpp"
#include "fpq/cuda/api/status.hpp"
#include "fpq/cuda/api/vocabulary.hpp"

namespace fpq::cuda {

/// How scales are found; the device's face of fpq::observer_options.
struct observe_options {
    scale_rule rule = scale_rule::minmax;
    scale_rule mx = scale_rule::fp_quant;  // how an E8M0 scale follows from a maximum
    float global_scale = 1.0F;             // divisor style
    float const* column_weight = nullptr;  // (cols) of the sweep's squared errors, or null: all 1
    bool signed_end = true;                // symmetric INT sweep: scales may be negative
};

/// Stored scales of a (rows, cols) matrix, row-major as packed_view has them.
struct scale_bytes_out {
    std::uint8_t* scales = nullptr;  // scale_count x scale_bytes_each
    std::uint8_t* zeros = nullptr;   // asymmetric INT: one byte a scale
};

/// The scales that fpq::find_scales gives for the same values. Refuses: a rule that the format
/// lacks, and a search over a whole tensor (granularity tensor has minmax and the fixed rules).
status launch_find_scales(float_matrix const& x, quant_format const& format,
                          observe_options const& options, scale_bytes_out const& out,
                          cudaStream_t stream);

/// x (rows, cols) = dequantize(quantize(x)) group by group, in place, each group with a scale of
/// its own, rounded to x's type: fpq::fake_quantize_rows. Refuses granularity tensor.
status launch_fake_quantize(float_matrix const& x, quant_format const& format,
                            observe_options const& options, cudaStream_t stream);

/// A packed matrix on the device: packed_view of floor 1, scales row-major.
struct packed_codes {
    std::uint8_t* codes = nullptr;  // rows x format.row_bytes(cols)
    std::uint8_t const* scales = nullptr;
    std::uint8_t const* zeros = nullptr;
    quant_format format = nvfp4;
    float global_scale = 1.0F;
};

/// q.codes = the nearest codes of x under q's scales: fpq::encode_with.
status launch_encode(float_matrix const& x, packed_codes const& q, cudaStream_t stream);

/// What decoding cost one row; the device's face of error_stats and local_loss.
struct row_loss {
    double signal;          // sum of original^2
    double noise;           // sum of (original - decoded)^2
    float largest;          // |original - decoded|
    std::uint32_t flushed;  // non-zero originals that decode to 0
    std::uint32_t sign_flips;
    std::uint32_t blocks;  // with a value other than 0
    std::uint32_t zeroed;  // of these, decoded to 0 as a whole
};

/// w (rows, cols) = bf16(decoded q) in w's type. `loss` (rows), or null: w's values before, against
/// the decoded ones before they are rounded. With `decoded` (rows, cols) float32, values go there
/// unrounded and w stays.
status launch_decode(packed_codes const& q, float_matrix const& w, row_loss* loss, float* decoded,
                     cudaStream_t stream);

}  // namespace fpq::cuda

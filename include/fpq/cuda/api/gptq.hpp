// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Launchers of the part "gptq": accumulate a Hessian, factor it, solve a layer, polish
// its codes. The semantics are the CPU solver's (fpq/solve); results differ from it by rounding
// only.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/buffer.hpp"
#include "fpq/cuda/api/status.hpp"
#include "fpq/cuda/api/vocabulary.hpp"
#include "fpq/cuda/gptq/factor.hpp"

namespace fpq::cuda {

class linear_algebra;  // fpq/cuda/gptq/linear_algebra.hpp

/// Which kernel makes X^T X: cuBLAS by halves, or our tiles. automatic: our tiles where they can
/// run.
enum class hessian_path : std::uint8_t { automatic, blas, tiles };

/// Tokens that are summed on the tensor cores before they are added to H. The tensor cores cut sums
/// towards zero, so the error would grow with the tokens.
inline constexpr std::size_t hessian_tokens = 16384;

/// A layer's inputs and the Hessian that they go into.
struct hessian_args {
    void const* x = nullptr;  // (tokens, cols), row-major, device
    float_type type = float_type::bf16;
    std::size_t tokens = 0;
    std::size_t cols = 0;
    std::size_t x_stride = 0;  // values from token to token, >= cols
    float* h = nullptr;        // (cols, cols), device
    bool accumulate = true;    // false: H = X^T X
    hessian_path path = hessian_path::automatic;
};

/// H += X^T X on the tensor cores, products of bf16 or fp16 exact, sums in float32.
/// Only the lower half of h (row-major, with the diagonal) is meant: the upper half may or may not
/// be written. Our tiles need a device of compute capability 9.0, kernels built for 90a, bf16, x
/// aligned to 16 bytes and x_stride a multiple of 8; they leave the upper half alone. Cost: about
/// tokens * cols^2 operations, half of the full product. Asynchronous.
status launch_hessian(linear_algebra& libraries, cudaStream_t stream, hessian_args const& args);

/// Fills `out` from the lower half of h (n, n), device.
/// Refuses a NaN, an infinity or a negative diagonal element by place. A factorisation that fails
/// is tried again with ten times the damping (from none: 1e-6 of the mean), six tries in all, and
/// then refused: nothing falls back to rounding to nearest.
/// Waits for the stream. Memory: n^2 values of out, and n^2 doubles while it runs in double.
status factor_hessian(linear_algebra& libraries, cudaStream_t stream, float const* h, std::size_t n,
                      gptq_factor_options const& options, gptq_factor& out);

/// Scratch memory of solves, kept from call to call.
struct gptq_workspace {
    device_buffer<float> target;        // (rows, cols up to 128)
    device_buffer<float> error;         // the same
    device_buffer<float> steps;         // (rows, groups)
    device_buffer<std::uint8_t> codes;  // (rows, cols up to 128)
    device_buffer<double> loss;         // one a block of columns and tile of rows
    device_buffer<unsigned char> sums;  // the report
    // What polishing needs beside the first four.
    device_buffer<float> change;          // (rows, 512): of errors, in the columns at hand
    device_buffer<std::uint8_t> kept;     // (rows, cols up to 64): codes before the pass
    device_buffer<std::uint8_t> frozen;   // (rows)
    device_buffer<double> row_sums;       // (2, rows of the layer): damped and squared errors
    device_buffer<double> polished;       // their sums
    device_buffer<std::uint32_t> counts;  // 1: whether a code changed
};

/// One layer. Scales are found before, on the original weights in their original groups.
struct gptq_layer {
    void const* w = nullptr;  // (rows, cols), row-major, device
    float_type type = float_type::bf16;
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::size_t w_stride = 0;  // values from row to row, >= cols
    quant_format format = nvfp4;
    std::uint8_t const* scales = nullptr;  // as packed_view has them, row-major, device
    std::uint8_t const* zeros = nullptr;   // asymmetric INT: one byte a scale, device
    float global_scale = 1.0F;             // divisor style
    bool zero_dead_columns = true;         // false: rounded to nearest
    std::uint8_t* codes = nullptr;         // out: rows x format.row_bytes(cols), device
    /// Columns between two updates of everything to their right, a multiple of 128. Affects speed
    /// and last bits only.
    std::size_t panel = 512;
    /// Carries errors from panel to panel with TF32 products (11 significant bits, sums in
    /// float32) instead of float32 ones. A target is then off by 2^-11 of its correction, which
    /// moves the layer's error by less than the 1e-3 that rounding does.
    bool tf32 = false;
};

/// Codes of `layer` by GPTQ with static groups, errors fed forward in float32. Asynchronous.
status launch_gptq(linear_algebra& libraries, cudaStream_t stream, gptq_factor const& factor,
                   gptq_layer const& layer, gptq_workspace& workspace);

/// tr(W H W^T), what the loss is measured against: after launch_gptq with the same layer and
/// workspace, whose report it completes, or alone, for any W. h (cols, cols), device, lower half.
/// Sums of products in float32, then in double. Asynchronous. Cost: 2 rows cols^2 operations, twice
/// those of the solve.
status launch_gptq_energy(linear_algebra& libraries, cudaStream_t stream, float const* h,
                          gptq_layer const& layer, gptq_workspace& workspace);

struct gptq_report {
    double loss = 0;    // tr(dW H dW^T), H not damped
    double energy = 0;  // tr(W H W^T); 0 without launch_gptq_energy
    /// As the CPU solver reports it; 0 when W H W^T is 0.
    [[nodiscard]] double relative_error() const noexcept { return energy > 0 ? loss / energy : 0; }
};

/// What the last launch_gptq with this workspace did. Waits for the stream.
/// Refuses by place when a weight was not finite.
status read_gptq_report(cudaStream_t stream, gptq_layer const& layer,
                        gptq_workspace const& workspace, gptq_report& report);

/// Coordinate descent on the codes of a layer, whatever solved it.
struct polish_args {
    float const* h = nullptr;  // (cols, cols), device, the lower half, not damped
    float damping = 0;         // added to diag(H), in H's units
    int passes = 0;            // at most; none follows one that changed nothing
    /// Rows at a time; 0: what 1 GiB of scratch holds, 64 at least. Affects memory, speed and last
    /// bits only.
    std::size_t rows_at_once = 0;
};

struct polish_report {
    double damped = 0;   // tr(dW (H + damping I) dW^T)
    double squared = 0;  // tr(dW dW^T)
};

/// Re-rounds the codes of `layer` (in and out), scales fixed, by the rule of fpq/solve/polish.hpp;
/// a row whose damped objective, summed in double, got worse in a pass is put back and left alone
/// from then on. layer.zero_dead_columns: columns whose diagonal of H is 0 count as 0 in w.
/// Slopes are float32 products. The same bytes from run to run on one kind of device.
/// Waits for the stream. Cost: 3 rows cols^2 operations a pass, 2 more before the first. Memory:
/// about 10 bytes for each column of each row at hand.
status polish_codes(linear_algebra& libraries, cudaStream_t stream, gptq_layer const& layer,
                    polish_args const& args, gptq_workspace& workspace, polish_report& report);

}  // namespace fpq::cuda

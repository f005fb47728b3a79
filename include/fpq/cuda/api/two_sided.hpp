// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Launchers of the part "two_sided": GPTQ whose rows feed errors to each other as its
// columns do, and descent on scales and codes, both under tr(H_O dW H_I dW^T). The semantics are
// the CPU solver's (fpq/solve: two_sided.hpp, joint.hpp, polish.hpp), the oracle; results differ
// from it by rounding, and those of a descent by the order in which it visits what interacts
// little.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/buffer.hpp"
#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/api/status.hpp"
#include "fpq/cuda/gptq/factor.hpp"

namespace fpq::cuda {

/// Scratch memory of the launchers here, kept from call to call. m rows and n columns, both rounded
/// up to tiles.
struct two_sided_workspace {
    device_buffer<float> w;               // (m, n)
    device_buffer<float> error;           // (m, n)
    device_buffer<float> first;           // (m, n): targets; a descent's error H_I
    device_buffer<float> second;          // (m, n): targets before column feedback; H_O error H_I
    device_buffer<float> inputs;          // (n, n): H_I, damped, both halves
    device_buffer<float> outputs;         // (m, m): H_O, damped, both halves
    device_buffer<float> steps;           // (m, groups)
    device_buffer<std::uint8_t> codes;    // (m, n), one byte a code
    device_buffer<std::uint16_t> scales;  // (m, groups)
    device_buffer<std::uint8_t> zeros;    // (m, groups)
    device_buffer<float> best_error;      // what a sweep that does harm is taken back to
    device_buffer<std::uint8_t> best_codes;
    device_buffer<std::uint16_t> best_scales;
    device_buffer<std::uint8_t> best_zeros;
    device_buffer<float> tiles;            // slopes of the tiles that are visited at a time
    device_buffer<float> changes;          // of errors, in those tiles
    device_buffer<float const*> operands;  // of batched products
    device_buffer<double> row_sums;        // (m)
    device_buffer<double> sum;             // 1
    device_buffer<unsigned char> found;    // what a look at w found
    device_buffer<std::uint32_t> counts;   // 1: whether a code changed
};

/// Codes of `layer` by GPTQ with feedback between columns and rows. `rows` (size layer.rows) is the
/// factor of H_O in storage order. Waits for the stream; refuses by place a weight that is not
/// finite. Cost: rows cols (rows + cols) multiplications and additions. Memory: four
/// (rows, cols) matrices of float.
status launch_gptq_coupled(linear_algebra& libraries, cudaStream_t stream,
                           gptq_factor const& columns, gptq_factor const& rows,
                           gptq_layer const& layer, two_sided_workspace& workspace);

/// Of what a form is taken: the weights themselves, or what the codes miss of them.
enum class form_of : std::uint8_t { weights, errors };

/// sum = tr(H_O X H_I X^T), nothing damped; `outputs` null: tr(X H_I X^T). h_i (cols, cols) and
/// outputs (rows, rows), device, lower halves. Products in float32, their sum in double. Waits for
/// the stream.
status two_sided_form(linear_algebra& libraries, cudaStream_t stream, gptq_layer const& layer,
                      form_of what, float const* h_i, float const* outputs,
                      two_sided_workspace& workspace, double& sum);

/// A descent on the codes of a layer, whatever solved it.
struct descent_args {
    float const* inputs = nullptr;   // H_I (cols, cols), device, the lower half, not damped
    float damping = 0;               // added to its diagonal
    float const* outputs = nullptr;  // H_O (rows, rows), likewise; null: rows are independent
    float row_damping = 0;
    bool scales = true;                     // scales and codes; false: codes alone
    int sweeps = 0;                         // at most
    std::uint8_t* stored_scales = nullptr;  // in and out: the layer's scales and zero points
    std::uint8_t* stored_zeros = nullptr;
};

struct descent_report {
    int sweeps = 0;     // that helped
    double before = 0;  // the damped objective
    double after = 0;   // never more than before
};

/// Improves the codes (in and out) and scales of `layer`. For each group of a row the stored scales
/// near its own are tried with codes re-rounded under each, as fpq::joint does. A tile of some rows
/// and one block of columns is visited row by row, each with the newest others; some tiles that
/// share neither rows nor columns are visited at the same time, each against what the others were
/// before. A sweep that does not lower the objective, summed in double, is taken back and made
/// again with fewer tiles at a time; with one at a time it ends the descent. Groups of up to 128
/// columns. The same bytes from run to run on one kind of device. Waits for the stream. Cost of a
/// sweep: 2 rows cols (rows + cols) multiplications and additions beside the candidates.
status descend_codes(linear_algebra& libraries, cudaStream_t stream, gptq_layer const& layer,
                     descent_args const& args, two_sided_workspace& workspace,
                     descent_report& report);

}  // namespace fpq::cuda

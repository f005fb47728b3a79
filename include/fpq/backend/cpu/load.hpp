// SPDX-License-Identifier: Apache-2.0
// Floor 6. The memory verbs of the CPU: matrices, vectors and tables from files and from values.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/weight_rows.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/view.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/quant/quantize.hpp"

namespace fpq {

/// (out, in) float32 values onto the backend.
[[nodiscard]] inline cpu::tensor upload(cpu const&, matrix_view<float const> values) {
    cpu::tensor out(values.rows, values.cols);
    for (std::size_t i = 0; i < values.rows; ++i) {
        std::copy_n(values.row(i), values.cols, out.view().row(i));
    }
    return out;
}

/// A (rows, cols) tensor of bf16, fp16 or fp32 from its file, exact. Throws fpq::error (input) by
/// name when a value is not finite.
[[nodiscard]] inline cpu::tensor load_matrix(cpu const&, tensor_ref const& from, std::size_t rows,
                                             std::size_t cols) {
    cpu::tensor out(rows, cols);
    load_floats_into(from, {out.view().data, rows * cols});
    return out;
}

/// The decoded q, rounded to bf16 as a client that multiplies in bf16 sees it.
[[nodiscard]] inline cpu::tensor decode_matrix(cpu const& b, packed_view const& q) {
    cpu::tensor out(q.rows, q.cols);
    dequantize_into(q, out.view(), b.threads);
    float* const values = out.view().data;
    for (std::size_t i = 0; i < q.rows * q.cols; ++i) {
        values[i] = round_to_bf16(values[i]);
    }
    return out;
}

/// A vocabulary matrix as it lies in its file.
[[nodiscard]] inline cpu::table table_of(cpu const&, weight_rows rows) { return rows; }

/// A vocabulary matrix of these values.
[[nodiscard]] inline cpu::table table_of(cpu const&, cpu::const_view w) {
    std::vector<float> values(w.rows * w.cols);
    for (std::size_t i = 0; i < w.rows; ++i) {
        std::copy_n(w.row(i), w.cols, values.data() + i * w.cols);
    }
    return weight_rows::from_floats(std::move(values), w.rows, w.cols);
}

}  // namespace fpq

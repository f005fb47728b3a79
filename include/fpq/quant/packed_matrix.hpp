// SPDX-License-Identifier: Apache-2.0
// Floor 2. The owner behind packed_view: codes, scales, zero points and the global scale of one
// quantized matrix. It knows nothing of how the scales were found or of any file layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/format/packed.hpp"

namespace fpq {

/// An owning (rows, cols) quantized matrix; the members are laid out as packed_view says.
struct packed_matrix {
    quant_format format{};
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::vector<std::uint8_t> codes;   // rows x format.row_bytes(cols)
    std::vector<std::uint8_t> scales;  // scale_count x scale_bytes_each
    std::vector<std::uint8_t> zeros;   // one byte a scale when asymmetric, else empty
    float global_scale = 1.0F;         // divisor style

    /// Borrowed by the result; valid until a vector changes.
    [[nodiscard]] packed_view view() const noexcept {
        return {format,       rows,          cols,
                codes.data(), scales.data(), zeros.empty() ? nullptr : zeros.data(),
                global_scale};
    }
};

/// Storage of the right size for a (rows, cols) matrix in `format`: what q had room for stays as it
/// is, what is added is zero.
inline void resize_packed(packed_matrix& q, quant_format const& format, std::size_t rows,
                          std::size_t cols, float global_scale) {
    q.format = format;
    q.rows = rows;
    q.cols = cols;
    q.global_scale = global_scale;
    q.codes.resize(rows * format.row_bytes(cols));
    std::size_t const scales = format.scale_count(rows, cols);
    q.scales.resize(scales * format.scale_bytes_each());
    q.zeros.resize(format.symmetric ? 0 : scales);
}

/// Zeroed storage of the right size for a (rows, cols) matrix in `format`.
inline packed_matrix make_packed(quant_format const& format, std::size_t rows, std::size_t cols,
                                 float global_scale) {
    packed_matrix q;
    resize_packed(q, format, rows, cols, global_scale);
    return q;
}

}  // namespace fpq

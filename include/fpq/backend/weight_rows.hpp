// SPDX-License-Identifier: Apache-2.0
// The rows of an embedding or an output head, left in the type they are stored in.
//
// Floor 6. A vocabulary matrix is the largest tensor of a checkpoint, so it stays mapped
// (or owned, in tests) as bf16, fp16 or fp32 bytes and rows are widened when used. Not for linears.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/io/safetensors/dtype.hpp"

namespace fpq {

/// A (rows, cols) matrix of bf16, fp16 or fp32 in little-endian bytes, any alignment. The bytes
/// belong to `owner` when it is set, else to somebody who outlives this (a mapped checkpoint).
class weight_rows {
public:
    weight_rows(dtype type, std::size_t rows, std::size_t cols, std::span<const std::byte> bytes,
                std::shared_ptr<const void> owner)
        : type_(type), rows_(rows), cols_(cols), bytes_(bytes), owner_(std::move(owner)) {
        if (type != dtype::bf16 && type != dtype::f16 && type != dtype::f32) {
            fail_input("unsupported weight type", "vocabulary matrix", "BF16, F16 or F32",
                       dtype_name(type));
        }
        if (bytes.size() != rows * cols * dtype_bits(type) / 8) {
            fail_input("wrong size of a vocabulary matrix", {},
                       std::to_string(rows * cols * dtype_bits(type) / 8) + " bytes",
                       std::to_string(bytes.size()));
        }
    }

    /// Owns float32 values, rows * cols of them.
    [[nodiscard]] static weight_rows from_floats(std::vector<float> values, std::size_t rows,
                                                 std::size_t cols) {
        auto owned = std::make_shared<const std::vector<float>>(std::move(values));
        const std::span<const std::byte> bytes = std::as_bytes(std::span<const float>(*owned));
        return {dtype::f32, rows, cols, bytes, std::move(owned)};
    }

    [[nodiscard]] std::size_t rows() const noexcept { return rows_; }
    [[nodiscard]] std::size_t cols() const noexcept { return cols_; }

    /// Row i (below rows()) as cols() floats; exact.
    void copy_row(std::size_t i, float* out) const noexcept {
        const std::size_t width = dtype_bits(type_) / 8;
        const std::byte* const row = bytes_.data() + i * cols_ * width;
        if (type_ == dtype::f32) {
            std::memcpy(out, row, cols_ * width);
            return;
        }
        for (std::size_t j = 0; j < cols_; ++j) {
            std::uint16_t bits = 0;
            std::memcpy(&bits, row + j * width, width);
            out[j] = type_ == dtype::bf16 ? to_float(bf16{bits}) : to_float(fp16{bits});
        }
    }

    /// Row i as cols() bf16, rounded to nearest; `wide` is scratch of cols() floats.
    void copy_row_as_bf16(std::size_t i, std::span<float> wide, bf16* out) const noexcept {
        if (type_ == dtype::bf16) {
            std::memcpy(out, bytes_.data() + i * cols_ * sizeof(bf16), cols_ * sizeof(bf16));
            return;
        }
        copy_row(i, wide.data());
        for (std::size_t j = 0; j < cols_; ++j) {
            out[j] = to_bf16(wide[j]);
        }
    }

private:
    dtype type_;
    std::size_t rows_;
    std::size_t cols_;
    std::span<const std::byte> bytes_;
    std::shared_ptr<const void> owner_;
};

}  // namespace fpq

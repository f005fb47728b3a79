// SPDX-License-Identifier: Apache-2.0
// Floor 6. The memory verbs of a CUDA device: matrices, vectors and tables from files and values.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/rope.hpp"
#include "fpq/backend/weight_rows.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/view.hpp"
#include "fpq/cuda/api/forward.hpp"
#include "fpq/cuda/api/observe.hpp"
#include "fpq/format/packed.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"

namespace fpq {

namespace detail {

/// Brings `size` bytes to the device, beside the computing; see pinned_staging for `fill`.
template <class Fill>
void bring(gpu const& b, void* device, std::size_t size, Fill const& fill) {
    copy_lane& lane = b.context->lane(b.lane);
    lane.staging().to_device(device, size, lane.stream(), b.threads, fill);
    lane.join(b.context->stream());
}

/// An uninitialized array for `bring`.
template <class T>
gpu_array<T> array_to_fill(gpu const& b, std::size_t count) {
    return {b.context, count, b.context->lane(b.lane).stream()};
}

/// An uninitialized matrix for `bring`.
inline gpu::tensor tensor_to_fill(gpu const& b, float_type type, std::size_t rows,
                                  std::size_t cols) {
    return {b.context, type, rows, cols, b.context->lane(b.lane).stream()};
}

/// `count` values of host memory on the device.
template <class T>
gpu_array<T> array_of(gpu const& b, T const* values, std::size_t count) {
    auto out = array_to_fill<T>(b, count);
    bring(b, out.data(), count * sizeof(T), [values](std::byte* to, std::size_t at, std::size_t n) {
        std::memcpy(to, reinterpret_cast<std::byte const*>(values) + at, n);
    });
    return out;
}

/// A dense copy of x in `type`, columns without a positive value in `live` (may be null) zero.
inline gpu::tensor converted(gpu const& b, gpu::const_view x, float_type type, float const* live) {
    gpu::tensor out(b.context, type, x.rows, x.cols);
    require_ok(
        cuda::launch_convert(x.matrix(), live, type, out.view().data, x.cols, b.context->stream()),
        {});
    return out;
}

inline packed_on_device upload_packed(gpu const& b, packed_view const& q) {
    std::size_t const scales = q.format.scale_count(q.rows, q.cols);
    packed_on_device out;
    out.codes = array_of(b, q.codes, q.rows * q.format.row_bytes(q.cols));
    out.scales = array_of(b, q.scales, scales * q.format.scale_bytes_each());
    if (!q.format.symmetric) {
        out.zeros = array_of(b, q.zeros, scales);
    }
    return out;
}

inline constexpr float_type float_type_of(dtype type) noexcept {
    return type == dtype::bf16  ? float_type::bf16
           : type == dtype::f16 ? float_type::fp16
                                : float_type::fp32;
}

}  // namespace detail

/// Norm weights or a bias onto the device.
[[nodiscard]] inline gpu::vector vector_of(gpu const& b, std::vector<float> const& values) {
    return detail::array_of(b, values.data(), values.size());
}

/// The rotary table of positions 0 .. positions - 1.
[[nodiscard]] inline gpu::rope rope_of(gpu const& b, rope_config const& rope, std::size_t head_dim,
                                       std::size_t positions) {
    rope_table const table(rope, head_dim, positions);
    return {positions, vector_of(b, table.cosines()), vector_of(b, table.sines())};
}

/// (out, in) values onto the device, rounded to bf16.
[[nodiscard]] inline gpu::tensor upload(gpu const& b, matrix_view<float const> values) {
    gpu::tensor out = detail::tensor_to_fill(b, float_type::bf16, values.rows, values.cols);
    std::size_t const row = values.cols * sizeof(bf16);
    detail::bring(b, out.view().data, values.rows * row,
                  [&](std::byte* to, std::size_t at, std::size_t count) {
                      for (std::size_t i = 0; i < count; i += sizeof(bf16)) {
                          std::size_t const value = (at + i) / sizeof(bf16);
                          bf16 const rounded =
                              to_bf16(values(value / values.cols, value % values.cols));
                          std::memcpy(to + i, &rounded, sizeof rounded);
                      }
                  });
    return out;
}

/// A (rows, cols) tensor of bf16, fp16 or fp32 from its file: bf16 as it is, others as float32.
/// Throws fpq::error (input) by name when a value is not finite.
[[nodiscard]] inline gpu::tensor load_matrix(gpu const& b, tensor_ref const& from, std::size_t rows,
                                             std::size_t cols) {
    if (from.type != dtype::bf16 && from.type != dtype::f16 && from.type != dtype::f32) {
        fail_input("wrong type of tensor", tensor_place(from), "BF16, F16 or F32",
                   dtype_name(from.type));
    }
    gpu::tensor out = detail::tensor_to_fill(b, detail::float_type_of(from.type), rows, cols);
    std::atomic<bool> bad{false};
    detail::bring(b, out.view().data, from.bytes.size(),
                  [&](std::byte* to, std::size_t at, std::size_t count) {
                      std::memcpy(to, from.bytes.data() + at, count);
                      if (detail::first_non_finite(from.type, {to, count})) {
                          bad = true;
                      }
                  });
    if (bad) {
        detail::require_finite(from, from.bytes);
    }
    return from.type == dtype::f16 ? detail::converted(b, out.view(), float_type::fp32, nullptr)
                                   : std::move(out);
}

/// The decoded q, rounded to bf16 as a client that multiplies in bf16 sees it.
[[nodiscard]] inline gpu::tensor decode_matrix(gpu const& b, packed_view const& q) {
    gpu::tensor out(b.context, float_type::bf16, q.rows, q.cols);
    detail::packed_on_device const packed = detail::upload_packed(b, q);
    require_ok(cuda::launch_decode(packed.face(q.format, q.global_scale), out.view().matrix(),
                                   nullptr, nullptr, b.context->stream()),
               {});
    return out;
}

/// A vocabulary matrix as it lies in its file.
[[nodiscard]] inline gpu::table table_of(gpu const& b, weight_rows rows) {
    return {b.context, std::move(rows)};
}

/// A vocabulary matrix of these values.
[[nodiscard]] inline gpu::table table_of(gpu const& b, gpu::const_view w) {
    gpu::tensor const wide = detail::converted(b, w, float_type::fp32, nullptr);
    std::vector<float> values(w.rows * w.cols);
    b.context->staging().to_host(values.data(), wide.view().data, values.size() * sizeof(float),
                                 b.context->stream(), b.threads);
    return {b.context, weight_rows::from_floats(std::move(values), w.rows, w.cols)};
}

namespace detail {

/// Rows `first` on, `count` of them, of a table as bf16 on the device.
inline gpu::tensor rows_on_device(gpu const& b, weight_rows const& rows,
                                  std::span<std::int32_t const> which) {
    std::size_t const count = which.empty() ? rows.rows() : which.size();
    std::size_t const width = rows.cols() * sizeof(bf16);
    gpu::tensor out = tensor_to_fill(b, float_type::bf16, count, rows.cols());
    // A piece may begin and end inside a row.
    bring(b, out.view().data, count * width, [&](std::byte* to, std::size_t at, std::size_t size) {
        std::vector<float> values(rows.cols());
        std::vector<bf16> rounded(rows.cols());
        for (std::size_t done = 0; done < size;) {
            std::size_t const row = (at + done) / width;
            std::size_t const inside = (at + done) % width;
            std::size_t const part = std::min(width - inside, size - done);
            rows.copy_row_as_bf16(which.empty() ? row : static_cast<std::size_t>(which[row]),
                                  values, rounded.data());
            std::memcpy(to + done, reinterpret_cast<std::byte const*>(rounded.data()) + inside,
                        part);
            done += part;
        }
    });
    return out;
}

inline gpu::view table_on_device(gpu const& b, gpu::table const& table) {
    return table.on_device([&](weight_rows const& host) { return rows_on_device(b, host, {}); });
}

}  // namespace detail

}  // namespace fpq

// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The definitions of the launchers in api_quantize.hpp: include in one .cu of a program.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/quantize.hpp"
#include "fpq/cuda/quantize/amax_kernel.cuh"
#include "fpq/cuda/quantize/dequantize_kernel.cuh"
#include "fpq/cuda/quantize/launch.cuh"
#include "fpq/cuda/quantize/rotate_kernel.cuh"
#include "fpq/cuda/quantize/scale_order_kernel.cuh"

namespace fpq::cuda {

namespace detail {

/// Padding bytes of the swizzle, where the kernel does not write them itself.
inline status clear_padding(quantized_matrix const& q, std::size_t rows, std::size_t cols,
                            cudaStream_t stream) {
    std::size_t const groups = q.format.groups(cols);
    if (q.order == scale_order::row_major || (rows % 128 == 0 && groups % 4 == 0)) {
        return {};
    }
    std::size_t const bytes = scales_size(q.order, rows, groups);
    return from_cuda(cudaMemsetAsync(q.scales, 0, bytes, stream), "quantize: padding");
}

}  // namespace detail

status quantize(float_matrix const& x, quantized_matrix const& q, quantize_options const& options,
                cudaStream_t stream) {
    status s = check_quantize(x, q, options);
    if (!s.ok() || x.rows == 0 || x.cols == 0) {
        return s;
    }
    quantize_work work;
    work.x = x.data;
    work.cols = x.cols;
    work.stride = x.stride;
    work.codes = q.codes;
    work.scales = q.scales;
    work.groups = q.format.groups(x.cols);
    work.global = options.global_scale;
    work.global_at = options.global_scale_at;
    work.method = options.rule;
    quantize_kernel const kernel = choose_quantize(x, q, options);
    bool const is_bf16 = x.type == float_type::bf16;
    if (kernel == quantize_kernel::packed &&
        make_segment_map(x.rows, x.cols, q.format, q.order, work.map)) {
        is_bf16 ? launch_packed<bf16>(q.format, work, stream)
                : launch_packed<fp16>(q.format, work, stream);
        return after_launch("quantize_packed");
    }
    if (kernel == quantize_kernel::search &&
        make_segment_map(x.rows, x.cols, q.format, q.order, work.map)) {
        is_bf16 ? launch_search<bf16>(q.format, work, stream)
                : launch_search<fp16>(q.format, work, stream);
        return after_launch("quantize_search");
    }
    s = detail::clear_padding(q, x.rows, x.cols, stream);
    if (!s.ok()) {
        return s;
    }
    work.map.swizzled = q.order == scale_order::swizzled;
    rotation_map map;
    if (kernel == quantize_kernel::rotated &&
        make_rotation_map(x.rows, x.cols, options.hadamard, q.format, q.order, map)) {
        static_cast<void>(make_segment_map(x.rows, x.cols, q.format, q.order, work.map));
        is_bf16 ? launch_rotated_format<bf16>(q.format, options.hadamard, work, map, stream)
                : launch_rotated_format<fp16>(q.format, options.hadamard, work, map, stream);
        return after_launch("quantize_rotated");
    }
    general_work more;
    more.type = x.type;
    more.format = q.format;
    more.rows = x.rows;
    more.rotation = options.hadamard;
    more.matrix = options.matrix;
    more.stochastic = options.stochastic;
    more.random = {options.seed, options.stream_id};
    std::size_t const spans = x.rows * ((x.cols + general_span - 1) / general_span);
    quantize_general<void>
        <<<blocks_for(spans, general_warps), 32 * general_warps, 0, stream>>>(work, more);
    return after_launch("quantize_general");
}

namespace detail {

template <class Half, int Size>
void launch_rotate_size(rotate_work const& work, rotation_map const& map, cudaStream_t stream) {
    constexpr auto kernel = rotate_blocks<Half, Size>;
    unsigned const wanted = blocks_for(map.warps, rotate_threads / 32);
    kernel<<<resident_blocks(kernel, rotate_threads, rotate_waves, wanted), rotate_threads, 0,
             stream>>>(work, map);
}

template <class Half>
void launch_rotate(rotate_work const& work, rotation_map const& map, cudaStream_t stream) {
    switch (work.size) {
        case 16:
            return launch_rotate_size<Half, 16>(work, map, stream);
        case 32:
            return launch_rotate_size<Half, 32>(work, map, stream);
        case 64:
            return launch_rotate_size<Half, 64>(work, map, stream);
        default:
            return launch_rotate_size<Half, 128>(work, map, stream);
    }
}

}  // namespace detail

status hadamard(float_matrix const& x, int size, void* out, std::size_t out_stride,
                cudaStream_t stream) {
    if (x.rows == 0 || x.cols == 0) {
        return {};
    }
    if (!is_rotation(size)) {
        return refuse("hadamard: size", "16, 32, 64 or 128", size);
    }
    if (x.data == nullptr || out == nullptr) {
        return refuse("hadamard: x.data, out", "device pointers", "null");
    }
    if (x.cols % static_cast<std::size_t>(size) != 0) {
        return refuse("hadamard: x.cols", "a multiple of size", static_cast<long long>(x.cols));
    }
    if (x.stride < x.cols || out_stride < x.cols) {
        return refuse("hadamard: strides", "at least x.cols", "less");
    }
    rotate_work work{x.data, out, x.rows, x.cols, x.stride, out_stride, x.type, size};
    rotation_map map;
    if (x.type != float_type::fp32 && is_aligned(x.data, x.stride, x.type) &&
        is_aligned(out, out_stride, x.type) &&
        make_rotation_map(x.rows, x.cols, size, nvfp4, scale_order::row_major, map)) {
        x.type == float_type::bf16 ? detail::launch_rotate<bf16>(work, map, stream)
                                   : detail::launch_rotate<fp16>(work, map, stream);
    } else {
        std::size_t const spans = x.rows * ((x.cols + general_span - 1) / general_span);
        rotate_general<void>
            <<<blocks_for(spans, general_warps), 32 * general_warps, 0, stream>>>(work);
    }
    return after_launch("hadamard");
}

status global_amax(float_matrix const& x, float* amax, cudaStream_t stream) {
    if (amax == nullptr || (x.data == nullptr && x.rows * x.cols != 0)) {
        return refuse("global_amax: x.data, amax", "device pointers", "null");
    }
    if (x.stride < x.cols) {
        return refuse("global_amax: x.stride", "at least x.cols", static_cast<long long>(x.stride));
    }
    status s = from_cuda(cudaMemsetAsync(amax, 0, sizeof(float), stream), "global_amax");
    if (!s.ok() || x.rows == 0 || x.cols == 0) {
        return s;
    }
    std::size_t const piece = 16 / float_bytes(x.type);
    bool const aligned = is_aligned(x.data, x.stride, x.type) && x.cols % piece == 0;
    amax_work const work{x.data, x.type, x.rows, x.cols, x.stride, aligned, amax};
    std::size_t const columns = (x.cols / piece + 255) / 256;
    unsigned const across = static_cast<unsigned>(columns < 8 ? (columns == 0 ? 1 : columns) : 8);
    std::size_t const down = 2048 / across;
    dim3 const grid(across, static_cast<unsigned>(x.rows < down ? x.rows : down));
    amax_rows<void><<<grid, 256, 0, stream>>>(work);
    return after_launch("global_amax");
}

status nvfp_global_scale(float const* amax, bool pow2, float* global_scale, cudaStream_t stream) {
    if (amax == nullptr || global_scale == nullptr) {
        return refuse("nvfp_global_scale: amax, global_scale", "device pointers", "null");
    }
    write_global_scale<void><<<1, 1, 0, stream>>>(amax, pow2, global_scale);
    return after_launch("nvfp_global_scale");
}

namespace detail {

template <class Out, class Block>
void launch_dequantize_format(dequantize_work const& work, dim3 grid, unsigned threads,
                              cudaStream_t stream) {
    work.map.swizzled ? dequantize_pieces<Out, Block, true><<<grid, threads, 0, stream>>>(work)
                      : dequantize_pieces<Out, Block, false><<<grid, threads, 0, stream>>>(work);
}

template <class Out>
void launch_dequantize(dequantize_work const& work, quant_format const& format, dim3 grid,
                       unsigned threads, cudaStream_t stream) {
    visit_kernel_format(format, [&](auto block) {
        launch_dequantize_format<Out, decltype(block)>(work, grid, threads, stream);
    });
}

}  // namespace detail

status dequantize(quantized_view const& q, std::size_t rows, std::size_t cols, float global_scale,
                  float const* global_scale_at, float_type type, void* out, std::size_t out_stride,
                  cudaStream_t stream) {
    if (rows == 0 || cols == 0) {
        return {};
    }
    if (q.codes == nullptr || q.scales == nullptr || out == nullptr) {
        return refuse("dequantize: q.codes, q.scales, out", "device pointers", "null");
    }
    if (out_stride < cols) {
        return refuse("dequantize: out_stride", "at least cols",
                      static_cast<long long>(out_stride));
    }
    if (!knows_rule(q.format, scale_rule::minmax)) {
        return refuse("dequantize: q.format", "nvfp4, mxfp4 or mxfp8_e4m3", name_of(q.format));
    }
    dequantize_work work;
    work.codes = q.codes;
    work.scales = q.scales;
    work.out = out;
    work.cols = cols;
    work.stride = out_stride;
    work.groups = q.format.groups(cols);
    work.global = global_scale;
    work.global_at = global_scale_at;
    work.map.swizzled = q.order == scale_order::swizzled;
    std::size_t const pieces = cols / 8;
    unsigned const threads = pieces < 256 ? static_cast<unsigned>(round_up(pieces, 32)) : 256u;
    std::size_t const across = pieces == 0 ? 1 : (pieces + threads - 1) / threads;
    std::size_t const units = work.map.swizzled ? (rows + 127) / 128 * 32 : (rows + 1) / 2;
    bool const fast =
        cols % q.format.group == 0 && is_aligned(out, out_stride, type) &&
        reinterpret_cast<std::uintptr_t>(q.codes) % 16 == 0 &&
        (!work.map.swizzled || reinterpret_cast<std::uintptr_t>(q.scales) % 16 == 0) &&
        units * across < (std::size_t{1} << 31);
    if (fast) {
        work.rows = static_cast<std::uint32_t>(rows);
        work.pieces = static_cast<std::uint32_t>(pieces);
        work.blocks = make_divisor(static_cast<std::uint32_t>(across));
        dim3 const grid(static_cast<unsigned>(units * across));
        if (type == float_type::bf16) {
            detail::launch_dequantize<bf16>(work, q.format, grid, threads, stream);
        } else if (type == float_type::fp16) {
            detail::launch_dequantize<fp16>(work, q.format, grid, threads, stream);
        } else {
            detail::launch_dequantize<float>(work, q.format, grid, threads, stream);
        }
        return after_launch("dequantize_pieces");
    }
    unsigned const blocks = blocks_for(rows * cols, 256);
    if (type == float_type::bf16) {
        dequantize_general<bf16><<<blocks, 256, 0, stream>>>(work, q.format, rows);
    } else if (type == float_type::fp16) {
        dequantize_general<fp16><<<blocks, 256, 0, stream>>>(work, q.format, rows);
    } else {
        dequantize_general<float><<<blocks, 256, 0, stream>>>(work, q.format, rows);
    }
    return after_launch("dequantize_general");
}

status swizzle_scales(std::uint8_t const* row_major, std::size_t rows, std::size_t groups,
                      std::uint8_t* swizzled, cudaStream_t stream) {
    if (rows == 0 || groups == 0) {
        return {};
    }
    if (reinterpret_cast<std::uintptr_t>(swizzled) % 4 != 0) {
        return refuse("swizzle_scales: swizzled", "a multiple of 4 bytes", "another address");
    }
    std::size_t const words = swizzled_scales{groups}.size(rows) / 4;
    swizzle_words<void>
        <<<blocks_for(words, 256), 256, 0, stream>>>(row_major, rows, groups, swizzled);
    return after_launch("swizzle_scales");
}

status unswizzle_scales(std::uint8_t const* swizzled, std::size_t rows, std::size_t groups,
                        std::uint8_t* row_major, cudaStream_t stream) {
    if (rows == 0 || groups == 0) {
        return {};
    }
    if (reinterpret_cast<std::uintptr_t>(swizzled) % 4 != 0) {
        return refuse("unswizzle_scales: swizzled", "a multiple of 4 bytes", "another address");
    }
    std::size_t const words = rows * ((groups + 3) / 4);
    unswizzle_words<void>
        <<<blocks_for(words, 256), 256, 0, stream>>>(swizzled, rows, groups, row_major);
    return after_launch("unswizzle_scales");
}

}  // namespace fpq::cuda

// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The launcher of the W4A16 product: checks, plan, one of four paths.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fpq/cuda/api/gemm.hpp"
#include "fpq/cuda/gemm/checks.hpp"
#include "fpq/cuda/gemm/w4a16_blas.cuh"
#include "fpq/cuda/gemm/w4a16_dequantize.cuh"
#include "fpq/cuda/gemm/w4a16_reference.cuh"
#include "fpq/cuda/gemm/w4a16_single.cuh"
#include "fpq/cuda/gemm/w4a16_stream.cuh"
#include "fpq/cuda/gemm/w4a16_tiles_launch.cuh"
#include "fpq/cuda/ptx/launch_overlapping.cuh"
#include "fpq/cuda/ptx/runs_warpgroups.hpp"

namespace fpq::cuda {

status plan_w4a16(w4a16_problem const& problem, bool with_blas, bool aligned,
                  w4a16_plan* plan) noexcept {
    int multiprocessors = 0;
    status s = current_device_attribute(cudaDevAttrMultiProcessorCount, &multiprocessors);
    if (s.ok()) {
        bool const tiles = detail::runs_warpgroups(
            &w4a16_tiles_kernel<bf16_math, nvfp4_weight, w4a16_tile<128>>, 60);
        *plan = choose_w4a16(problem, {multiprocessors, aligned, with_blas, tiles});
    }
    return s;
}

namespace detail {

inline status check_w4a16(w4a16_problem const& p, w4a16_operands const& o,
                          w4a16_plan const& plan) noexcept {
    if (p.format != nvfp4 && p.format != mxfp4) {
        return refuse("launch_w4a16: format", "nvfp4 or mxfp4", name_of(p.format));
    }
    if (p.activations == float_type::fp32) {
        return refuse("launch_w4a16: activations", "bf16 or fp16", "fp32");
    }
    if (o.x_stride < p.k) {
        return refuse("launch_w4a16: x_stride", "at least k", static_cast<long long>(o.x_stride));
    }
    status s = check_shape("launch_w4a16", p.m, p.n, p.k, p.format.group);
    s = first_error(s, check_pointer("launch_w4a16: x", o.x, 2));
    s = first_error(s, check_pointer("launch_w4a16: codes", o.codes, 8));
    s = first_error(s, check_pointer("launch_w4a16: scales", o.scales,
                                     p.scales == scale_order::swizzled ? 4 : 2));
    s = first_error(s, check_pointer("launch_w4a16: out", o.out, float_bytes(p.out)));
    return first_error(
        s, check_workspace("launch_w4a16", o.workspace, o.workspace_bytes, plan.workspace_bytes));
}

/// shift: the power of two that the kernel's sums are too large by.
inline status launch_stream(void (*kernel)(w4a16_args, w4a16_ahead), int shift, w4a16_args args,
                            w4a16_plan const& plan, w4a16_operands const& o,
                            cudaStream_t stream) noexcept {
    args.alpha = std::ldexp(args.alpha, -shift);
    launch_shape const shape{
        dim3(static_cast<unsigned>(plan.ctas), static_cast<unsigned>(plan.windows),
             static_cast<unsigned>(plan.token_blocks)),
        dim3(w4a16_stream::threads), 0, stream};
    return launch_kernel("launch_w4a16: stream", kernel, shape,
                         o.overlap_previous && waits_by_itself(kernel), args,
                         w4a16_ahead{{o.ahead[0], o.ahead[1]}});
}

template <class Math, class Weight>
status launch_w4a16_as(w4a16_args const& args, w4a16_plan const& plan, w4a16_operands const& o,
                       cudaStream_t stream) noexcept {
    using storage = typename Math::storage;
    constexpr bool nv = std::is_same_v<Weight, nvfp4_weight>;
    if (plan.path == w4a16_path::dequantize_gemm) {
        return launch_dequantize_gemm<storage, nv>(args, plan, o.workspace, o.blas, stream);
    }
    if (plan.path == w4a16_path::tiles) {
        return launch_tiles<Math, Weight>(args, plan, o.workspace, o.overlap_previous, stream);
    }
    if (plan.path == w4a16_path::stream) {
        if (plan.single) {
            return launch_stream(&w4a16_single_kernel<Math, Weight>,
                                 single_scales<Weight>::template shift<Math>, args, plan, o,
                                 stream);
        }
        return launch_stream(plan.token_tiles == 1 ? &w4a16_stream_kernel<Math, Weight, 1, 1>
                                                   : &w4a16_stream_kernel<Math, Weight, 2, 1>,
                             Weight::template shift<Math>, args, plan, o, stream);
    }
    std::size_t const outputs = std::size_t{args.m} * args.n;
    w4a16_reference_kernel<storage, nv>
        <<<static_cast<unsigned>((outputs + 255) / 256), 256, 0, stream>>>(args);
    return after_launch("launch_w4a16: reference");
}

}  // namespace detail

status launch_w4a16(w4a16_problem const& problem, w4a16_operands const& o,
                    cudaStream_t stream) noexcept {
    bool const aligned = reinterpret_cast<std::uintptr_t>(o.codes) % 16 == 0 &&
                         reinterpret_cast<std::uintptr_t>(o.scales) % 4 == 0;
    w4a16_plan plan;
    status s = plan_w4a16(problem, o.blas != nullptr, aligned, &plan);
    s = first_error(s, detail::check_w4a16(problem, o, plan));
    if (!s.ok()) {
        return s;
    }
    w4a16_args args{};
    args.m = static_cast<unsigned>(problem.m);
    args.n = static_cast<unsigned>(problem.n);
    args.k = static_cast<unsigned>(problem.k);
    args.x = o.x;
    args.x_stride = o.x_stride;
    args.x_aligned = reinterpret_cast<std::uintptr_t>(o.x) % 16 == 0 && o.x_stride % 8 == 0;
    args.codes = o.codes;
    args.row_bytes = args.k / 2;
    args.scales = o.scales;
    args.group = static_cast<unsigned>(problem.format.group);
    args.scales_at = {args.k / args.group, problem.scales == scale_order::swizzled};
    args.alpha = o.alpha;
    args.alpha_device = o.alpha_device;
    args.bias = o.bias;
    args.out = o.out;
    args.out_type = problem.out;
    args.chunks_per_window = plan.chunks_per_window;
    args.counters = static_cast<unsigned*>(o.workspace);
    args.partials =
        reinterpret_cast<float*>(static_cast<std::uint8_t*>(o.workspace) + plan.head_bytes);
    bool const nv = problem.format == nvfp4;
    if (problem.activations == float_type::bf16) {
        return nv ? detail::launch_w4a16_as<bf16_math, nvfp4_weight>(args, plan, o, stream)
                  : detail::launch_w4a16_as<bf16_math, mxfp4_weight>(args, plan, o, stream);
    }
    return nv ? detail::launch_w4a16_as<fp16_math, nvfp4_weight>(args, plan, o, stream)
              : detail::launch_w4a16_as<fp16_math, mxfp4_weight>(args, plan, o, stream);
}

}  // namespace fpq::cuda

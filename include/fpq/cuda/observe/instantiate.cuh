// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definitions of the launchers in api/observe.hpp: checks, then the kernel. Include in
// one .cu of a program.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/observe.hpp"
#include "fpq/cuda/gptq/codec.hpp"
#include "fpq/cuda/observe/kernels.cuh"
#include "fpq/format/grid_rule.hpp"
#include "fpq/format/scale_bytes.hpp"

namespace fpq::cuda {

namespace detail {

inline status check_observe(char const* who, float_matrix const& x) noexcept {
    if (x.rows > 0x7FFFFFFFu || x.cols > 0x7FFFFFFFu) {
        return refuse(who, "up to 2147483647 rows and columns",
                      static_cast<long long>(std::max(x.rows, x.cols)));
    }
    if (x.stride < x.cols) {
        return refuse(who, "a stride of cols or more", static_cast<long long>(x.stride));
    }
    return x.rows * x.cols == 0 || x.data != nullptr ? status{}
                                                     : refuse(who, "device pointers", "null");
}

/// Everything that the kernel needs but the outputs.
inline status make_observe(char const* who, float_matrix const& x, quant_format const& format,
                           observe_options const& options, observe_work& out) {
    if (status s = check_observe(who, x); !s.ok()) {
        return s;
    }
    if (!has_rule(format, options.rule)) {
        return refuse(who, "a rule that the format has", name_of(options.rule));
    }
    bool const fixed = is_e8m0_rule(options.rule);
    out.x = x;
    out.rules.format = format;
    out.rules.grid = rule_of(format.element);
    out.rules.bounds = out.rules.grid;
    out.rules.bits = element_bits(format.element);
    if (!format.symmetric) {
        out.rules.bounds.high = static_cast<float>((1 << out.rules.bits) - 1);
    }
    out.rules.rule = fixed ? scale_rule::minmax : options.rule;
    out.rules.mx = fixed ? options.rule : options.mx;
    out.rules.global = options.global_scale;
    out.rules.signed_end = options.signed_end;
    if (format.scale == scale_kind::e8m0 && !is_e8m0_rule(out.rules.mx)) {
        return refuse(who, "a rule of E8M0 scales", name_of(out.rules.mx));
    }
    for (int i = 0; i < sweep_factors::count; ++i) {
        out.factors.at[i] = std::exp2(static_cast<double>(i + fp16_lowest) / fp16_steps_an_octave);
    }
    out.column_weight = out.rules.rule == scale_rule::sweep ? options.column_weight : nullptr;
    out.groups = static_cast<std::uint32_t>(format.groups(x.cols));
    out.group_length = static_cast<std::uint32_t>(format.group_of(x.cols));
    return {};
}

inline status launch_observe(char const* who, observe_work const& work, cudaStream_t stream) {
    constexpr std::size_t most = 132 * 16;  // blocks: a few for each multiprocessor
    std::size_t const count = work.x.rows * work.groups;
    auto const blocks =
        static_cast<unsigned>(std::min(most, (count + observe_teams - 1) / observe_teams));
    auto const go = [&](auto kernel) { kernel<<<blocks, observe_threads, 0, stream>>>(work); };
    switch (kind_of_search(work.rules.format, work.rules.rule)) {
        case search_kind::plain:
            go(observe_groups<search_kind::plain>);
            break;
        case search_kind::bytes:
            go(observe_groups<search_kind::bytes>);
            break;
        case search_kind::halves:
            go(observe_groups<search_kind::halves>);
            break;
        case search_kind::asymmetric:
            go(observe_groups<search_kind::asymmetric>);
            break;
        case search_kind::shrink:
            go(observe_groups<search_kind::shrink>);
            break;
    }
    return after_launch(who);
}

inline packed_view view_of(packed_codes const& q, std::size_t rows, std::size_t cols) noexcept {
    return {q.format, rows, cols, q.codes, q.scales, q.zeros, q.global_scale};
}

}  // namespace detail

status launch_find_scales(float_matrix const& x, quant_format const& format,
                          observe_options const& options, scale_bytes_out const& out,
                          cudaStream_t stream) {
    char const* const who = "launch_find_scales";
    observe_work work{};
    if (status s = detail::make_observe(who, x, format, options, work);
        !s.ok() || x.rows * x.cols == 0) {
        return s;
    }
    if (out.scales == nullptr || (!format.symmetric && out.zeros == nullptr)) {
        return refuse(who, "device pointers", "null");
    }
    work.scales = out.scales;
    work.zeros = format.symmetric ? nullptr : out.zeros;
    if (format.grain != granularity::tensor) {
        return detail::launch_observe(who, work, stream);
    }
    if (work.rules.rule != scale_rule::minmax || !format.symmetric) {
        return unsupported(who, "minmax or a fixed rule for granularity tensor, symmetric",
                           name_of(options.rule));
    }
    float* amax = nullptr;
    status s = from_cuda(cudaMallocAsync(&amax, sizeof(float), stream), who);
    if (s.ok()) {
        s = global_amax(x, amax, stream);
        work.amax = amax;
        if (s.ok()) {
            observe_tensor<void><<<1, 1, 0, stream>>>(work);
            s = after_launch(who);
        }
        static_cast<void>(cudaFreeAsync(amax, stream));
    }
    return s;
}

status launch_fake_quantize(float_matrix const& x, quant_format const& format,
                            observe_options const& options, cudaStream_t stream) {
    char const* const who = "launch_fake_quantize";
    observe_work work{};
    if (status s = detail::make_observe(who, x, format, options, work);
        !s.ok() || x.rows * x.cols == 0) {
        return s;
    }
    if (format.grain == granularity::tensor) {
        return unsupported(who, "scales of groups or rows", "one scale of the whole tensor");
    }
    return detail::launch_observe(who, work, stream);
}

status launch_encode(float_matrix const& x, packed_codes const& q, cudaStream_t stream) {
    char const* const who = "launch_encode";
    if (status s = detail::check_observe(who, x); !s.ok() || x.rows * x.cols == 0) {
        return s;
    }
    if (q.codes == nullptr || q.scales == nullptr || (!q.format.symmetric && q.zeros == nullptr)) {
        return refuse(who, "device pointers", "null");
    }
    packed_view const view = detail::view_of(q, x.rows, x.cols);
    return visit_gptq_codec(q.format.element, q.format.symmetric, [&](auto codec) {
        observe_encode<<<static_cast<unsigned>(x.rows), observe_threads, 0, stream>>>(
            x, view, q.codes, codec);
        return after_launch(who);
    });
}

status launch_decode(packed_codes const& q, float_matrix const& w, row_loss* loss, float* decoded,
                     cudaStream_t stream) {
    char const* const who = "launch_decode";
    if (status s = detail::check_observe(who, w); !s.ok() || w.rows * w.cols == 0) {
        return s;
    }
    if (q.codes == nullptr || q.scales == nullptr || (!q.format.symmetric && q.zeros == nullptr)) {
        return refuse(who, "device pointers", "null");
    }
    packed_view const view = detail::view_of(q, w.rows, w.cols);
    return visit_gptq_codec(q.format.element, q.format.symmetric, [&](auto codec) {
        observe_decode<<<static_cast<unsigned>(w.rows), observe_threads, 0, stream>>>(
            view, w, loss, decoded, codec);
        return after_launch(who);
    });
}

}  // namespace fpq::cuda

// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The launcher of the W4A4 product: checks, plan, kernel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/gemm.hpp"
#include "fpq/cuda/gemm/checks.hpp"
#include "fpq/cuda/gemm/w4a4_kernel.cuh"

namespace fpq::cuda {

status plan_w4a4(w4a4_problem const& problem, w4a4_plan* plan) noexcept {
    int multiprocessors = 0;
    status s = current_device_attribute(cudaDevAttrMultiProcessorCount, &multiprocessors);
    if (s.ok()) {
        *plan = choose_w4a4(problem, multiprocessors);
    }
    return s;
}

namespace detail {

inline status check_w4a4(w4a4_problem const& p, w4a4_operands const& o,
                         w4a4_plan const& plan) noexcept {
    if (p.format != nvfp4 && p.format != mxfp4) {
        return refuse("launch_w4a4: format", "nvfp4 or mxfp4", name_of(p.format));
    }
    status s = check_shape("launch_w4a4", p.m, p.n, p.k, p.format.group);
    std::size_t const row_align = p.k % 32 == 0 ? 16 : 8;
    s = first_error(s, check_pointer("launch_w4a4: a", o.a, row_align));
    s = first_error(s, check_pointer("launch_w4a4: b", o.b, row_align));
    s = first_error(s, check_pointer("launch_w4a4: a_scales", o.a_scales, 16));
    s = first_error(s, check_pointer("launch_w4a4: b_scales", o.b_scales, 16));
    s = first_error(s, check_pointer("launch_w4a4: out", o.out, float_bytes(p.out)));
    return first_error(
        s, check_workspace("launch_w4a4", o.workspace, o.workspace_bytes, plan.workspace_bytes));
}

template <class Atom, class Tile>
status launch_w4a4_tile(w4a4_args const& args, w4a4_plan const& plan,
                        cudaStream_t stream) noexcept {
    constexpr int shared = w4a4_shared_bytes<Atom, Tile>();
    auto* const kernel = &w4a4_kernel<Atom, Tile>;
    status s =
        from_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared),
                  "launch_w4a4: shared memory");
    if (!s.ok()) {
        return s;
    }
    dim3 const grid(plan.n_tiles, plan.m_tiles, plan.splits);
    kernel<<<grid, Tile::threads, shared, stream>>>(args);
    return after_launch("launch_w4a4");
}

template <template <class> class Atom, class Scales>
status launch_w4a4_atom(w4a4_args const& args, w4a4_plan const& plan,
                        cudaStream_t stream) noexcept {
    switch (plan.tile_m) {
        case 16:
            return launch_w4a4_tile<Atom<Scales>, w4a4_tile_16>(args, plan, stream);
        case 64:
            return launch_w4a4_tile<Atom<Scales>, w4a4_tile_64>(args, plan, stream);
        default:
            return launch_w4a4_tile<Atom<Scales>, w4a4_tile_128>(args, plan, stream);
    }
}

}  // namespace detail

status launch_w4a4(w4a4_problem const& problem, w4a4_operands const& o, w4a4_atom atom,
                   cudaStream_t stream) noexcept {
    int major = 0;
    status s = current_device_attribute(cudaDevAttrComputeCapabilityMajor, &major);
    w4a4_plan plan;
    s = first_error(s, plan_w4a4(problem, &plan));
    if (!s.ok()) {
        return s;
    }
    if (atom == w4a4_atom::automatic) {
        atom = major == 12 ? w4a4_atom::hardware : w4a4_atom::emulated;
    }
    if (atom == w4a4_atom::hardware && major != 12) {
        return unsupported("launch_w4a4: hardware atom", "a device of the sm_120 family",
                           "another device");
    }
    if (atom == w4a4_atom::reference) {
        // One tile, no splits: it is an oracle, and every kernel costs its compilation.
        plan = choose_w4a4({problem.format, problem.out, 64, problem.n, problem.k}, 1);
        plan.m_tiles = static_cast<unsigned>((problem.m + 63) / 64);
        plan.k_tiles_per_split *= plan.splits;
        plan.splits = 1;
        plan.workspace_bytes = 0;
    }
    s = detail::check_w4a4(problem, o, plan);
    if (!s.ok()) {
        return s;
    }
    auto* const counters = static_cast<unsigned*>(o.workspace);
    auto* const partials =
        reinterpret_cast<float*>(static_cast<std::uint8_t*>(o.workspace) + plan.counter_bytes);
    w4a4_args const args{static_cast<unsigned>(problem.m),
                         static_cast<unsigned>(problem.n),
                         static_cast<unsigned>(problem.k),
                         o.a,
                         o.a_scales,
                         o.b,
                         o.b_scales,
                         o.alpha,
                         o.alpha_device,
                         o.bias,
                         o.out,
                         problem.out,
                         plan.k_tiles_per_split,
                         partials,
                         counters};
    bool const nv = problem.format == nvfp4;
    switch (atom) {
        case w4a4_atom::hardware:
            return nv ? detail::launch_w4a4_atom<hw_atom, nvfp4_scales>(args, plan, stream)
                      : detail::launch_w4a4_atom<hw_atom, mxfp4_scales>(args, plan, stream);
        case w4a4_atom::reference:
            return nv ? detail::launch_w4a4_tile<reference_atom<nvfp4_scales>, w4a4_tile_64>(
                            args, plan, stream)
                      : detail::launch_w4a4_tile<reference_atom<mxfp4_scales>, w4a4_tile_64>(
                            args, plan, stream);
        default:
            return nv ? detail::launch_w4a4_atom<emulated_atom, nvfp4_scales>(args, plan, stream)
                      : detail::launch_w4a4_atom<emulated_atom, mxfp4_scales>(args, plan, stream);
    }
}

}  // namespace fpq::cuda

// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Launches of the quantize kernels: the switches from run-time enums to templates.
#pragma once

#include <cstddef>
#include <type_traits>

#include "fpq/cuda/quantize/choice.hpp"
#include "fpq/cuda/quantize/general.cuh"
#include "fpq/cuda/quantize/packed.cuh"
#include "fpq/cuda/quantize/rotated.cuh"
#include "fpq/cuda/quantize/search.cuh"

namespace fpq::cuda {

inline unsigned blocks_for(std::size_t units, std::size_t each) noexcept {
    return static_cast<unsigned>((units + each - 1) / each);
}

/// How many times over a kernel that walks its work fills the device: more than once, so that
/// blocks which end early are replaced.
inline constexpr unsigned packed_waves = 8;
inline constexpr unsigned rotated_waves = 4;
inline constexpr unsigned rotate_waves = 16;  // without quantizing
inline constexpr unsigned search_waves = 6;

/// Blocks of such a kernel, at most `wanted`.
template <class Kernel>
unsigned resident_blocks(Kernel kernel, unsigned threads, unsigned waves,
                         unsigned wanted) noexcept {
    int device = 0;
    int processors = 1;
    int each = 1;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device) !=
            cudaSuccess ||
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, kernel, static_cast<int>(threads),
                                                      0) != cudaSuccess) {
        return wanted;
    }
    auto const resident = static_cast<unsigned>(processors * (each > 0 ? each : 1)) * waves;
    return wanted < resident ? wanted : resident;
}

/// Segments that a thread of the packed kernel takes at a time.
inline constexpr int packed_turns = 2;

template <class Half, class Block, bool Swizzled>
void launch_packed_order(quantize_work const& work, cudaStream_t stream) {
    constexpr auto kernel = quantize_packed<Half, Block, Swizzled, packed_turns>;
    unsigned const wanted = blocks_for(work.map.units, quantize_threads * packed_turns);
    kernel<<<resident_blocks(kernel, quantize_threads, packed_waves, wanted), quantize_threads, 0,
             stream>>>(work);
}

template <class Half, class Block>
void launch_packed_format(quantize_work const& work, cudaStream_t stream) {
    work.map.swizzled ? launch_packed_order<Half, Block, true>(work, stream)
                      : launch_packed_order<Half, Block, false>(work, stream);
}

/// visit_format over the formats that have kernels; check_quantize has refused the others.
template <class F>
void visit_kernel_format(quant_format const& format, F const& f) {
    static_cast<void>(visit_format(format, [&](auto block) {
        using block_type = decltype(block);
        if constexpr (std::is_same_v<block_type, nvfp4_block> ||
                      std::is_same_v<block_type, mxfp4_block> ||
                      std::is_same_v<block_type, mxfp8_e4m3_block>) {
            f(block);
        }
    }));
}

template <class Half>
void launch_packed(quant_format const& format, quantize_work const& work, cudaStream_t stream) {
    visit_kernel_format(
        format, [&](auto block) { launch_packed_format<Half, decltype(block)>(work, stream); });
}

template <class Half, class Block, int Size, bool Swizzled, bool Quest>
void launch_rotated_method(quantize_work const& work, rotation_map const& map,
                           cudaStream_t stream) {
    constexpr auto kernel = quantize_rotated<Half, Block, Size, Swizzled, Quest>;
    unsigned const wanted = blocks_for(map.warps, rotate_threads / 32);
    kernel<<<resident_blocks(kernel, rotate_threads, rotated_waves, wanted), rotate_threads, 0,
             stream>>>(work, map);
}

template <class Half, class Block, int Size>
void launch_rotated_size(quantize_work const& work, rotation_map const& map, cudaStream_t stream) {
    bool const quest = work.method == scale_rule::quest;
    if (quest) {
        return map.swizzled
                   ? launch_rotated_method<Half, Block, Size, true, true>(work, map, stream)
                   : launch_rotated_method<Half, Block, Size, false, true>(work, map, stream);
    }
    map.swizzled ? launch_rotated_method<Half, Block, Size, true, false>(work, map, stream)
                 : launch_rotated_method<Half, Block, Size, false, false>(work, map, stream);
}

template <class Half, class Block>
void launch_rotated(int size, quantize_work const& work, rotation_map const& map,
                    cudaStream_t stream) {
    switch (size) {
        case 16:
            return launch_rotated_size<Half, Block, 16>(work, map, stream);
        case 32:
            return launch_rotated_size<Half, Block, 32>(work, map, stream);
        case 64:
            return launch_rotated_size<Half, Block, 64>(work, map, stream);
        default:
            return launch_rotated_size<Half, Block, 128>(work, map, stream);
    }
}

/// FP4 only, as choose_quantize has it.
template <class Half>
void launch_rotated_format(quant_format const& format, int size, quantize_work const& work,
                           rotation_map const& map, cudaStream_t stream) {
    visit_kernel_format(format, [&](auto block) {
        if constexpr (decltype(block)::element::bits == 4) {
            launch_rotated<Half, decltype(block)>(size, work, map, stream);
        }
    });
}

template <class Half, class Block, scale_rule Method>
void launch_search_method(quantize_work const& work, cudaStream_t stream) {
    constexpr auto kernel = quantize_search<Half, Block, Method>;
    unsigned const wanted = blocks_for(work.map.units, quantize_threads);
    kernel<<<resident_blocks(kernel, quantize_threads, search_waves, wanted), quantize_threads, 0,
             stream>>>(work);
}

/// FP4 only, as has_rule has it.
template <class Half>
void launch_search(quant_format const& format, quantize_work const& work, cudaStream_t stream) {
    visit_kernel_format(format, [&](auto block) {
        using block_type = decltype(block);
        if constexpr (block_type::element::bits == 4) {
            if constexpr (block_type::has_global_scale) {
                if (work.method == scale_rule::four_over_six) {
                    return launch_search_method<Half, block_type, scale_rule::four_over_six>(
                        work, stream);
                }
            }
            launch_search_method<Half, block_type, scale_rule::sweep>(work, stream);
        }
    });
}

}  // namespace fpq::cuda

// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Device memory that will be read soon, and how the blocks of a kernel ask it into the
// L2 cache: what a product reads first is then there when it begins, although between two products
// of a decoder nothing would be read.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fpq::cuda {

/// A range of constant device memory, on 16 bytes and in multiples of them. Nothing is read of it
/// but into the cache.
struct l2_ahead {
    void const* from = nullptr;
    std::size_t bytes = 0;
};

#if defined(__CUDACC__)
namespace ptx {

/// Block `block` of `blocks` asks for its share of the range. Returns at once.
__device__ __forceinline__ void ask_into_l2(l2_ahead const& range, unsigned block,
                                            unsigned blocks) {
#if __CUDA_ARCH__ >= 900
    constexpr std::size_t piece = 4096;  // bytes of a request
    auto const* const from = static_cast<std::uint8_t const*>(range.from);
    for (std::size_t at = (std::size_t{threadIdx.x} * blocks + block) * piece; at < range.bytes;
         at += std::size_t{blockDim.x} * blocks * piece) {
        auto const bytes =
            static_cast<std::uint32_t>(range.bytes - at < piece ? range.bytes - at : piece);
        asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from + at), "r"(bytes));
    }
#endif
}

}  // namespace ptx
#endif

}  // namespace fpq::cuda

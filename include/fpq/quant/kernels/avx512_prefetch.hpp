// SPDX-License-Identifier: Apache-2.0
// Floor 2. Prefetching by software, for kernels that stream through memory.
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

#if FPQ_X86_KERNELS

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

FPQ_INTRINSICS_BEGIN

namespace fpq::kernels {

/// Asks for the lines of so many bytes, 16 KiB further on: the processor's own prefetcher stops at
/// every page. Addresses past the end are harmless.
FPQ_AVX512 [[gnu::always_inline]] inline void prefetch_ahead(void const* x,
                                                             std::size_t bytes) noexcept {
    auto const address = reinterpret_cast<std::uintptr_t>(x) + 16384;
    for (std::size_t line = 0; line < bytes; line += 64) {
        // Not pointer arithmetic: that may not leave the array.
        // NOLINTNEXTLINE(performance-no-int-to-ptr)
        _mm_prefetch(reinterpret_cast<char const*>(address + line), _MM_HINT_T0);
    }
}

}  // namespace fpq::kernels

FPQ_INTRINSICS_END

#endif

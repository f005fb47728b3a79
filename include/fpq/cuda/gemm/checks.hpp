// SPDX-License-Identifier: Apache-2.0
// Wing cuda. What the launchers of matrix products check before they queue anything.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "fpq/cuda/api/status.hpp"

namespace fpq::cuda {

/// The earlier of two results that is not ok.
inline status first_error(status const& first, status const& second) noexcept {
    return first.ok() ? second : first;
}

/// "who: what: expected E, found F".
inline status refuse_in(char const* who, char const* what, char const* expected,
                        long long found) noexcept {
    char text[96];
    std::snprintf(text, sizeof text, "%s: %s", who, what);
    return refuse(text, expected, found);
}

/// m, n, k positive, k a multiple of the group, and sizes within the kernels' 32-bit offsets.
inline status check_shape(char const* who, std::size_t m, std::size_t n, std::size_t k,
                          std::size_t group) noexcept {
    auto const number = [](std::size_t x) { return static_cast<long long>(x); };
    if (m == 0 || m >= (std::size_t{1} << 31)) {
        return refuse_in(who, "m", "1 .. 2^31 - 1", number(m));
    }
    if (n == 0 || n >= (std::size_t{1} << 31)) {
        return refuse_in(who, "n", "1 .. 2^31 - 1", number(n));
    }
    if (k == 0 || k % group != 0) {
        return refuse_in(who, "k",
                         group == 16 ? "a positive multiple of 16" : "a positive multiple of 32",
                         number(k));
    }
    if (k >= (std::size_t{1} << 31) || n * (k / 2) >= (std::size_t{1} << 32)) {
        return refuse_in(who, "n * k / 2", "less than 2^32 bytes", number(n * (k / 2)));
    }
    return {};
}

/// Not null, and on a multiple of `align` bytes.
inline status check_pointer(char const* what, void const* p, std::size_t align) noexcept {
    if (p == nullptr) {
        return refuse(what, "a device pointer", "null");
    }
    if (reinterpret_cast<std::uintptr_t>(p) % align != 0) {
        return refuse(what,
                      align == 16  ? "an address on 16 bytes"
                      : align == 8 ? "an address on 8 bytes"
                                   : "an address on the element's size",
                      static_cast<long long>(reinterpret_cast<std::uintptr_t>(p) % 16));
    }
    return {};
}

inline status check_workspace(char const* who, void const* p, std::size_t bytes,
                              std::size_t needed) noexcept {
    if (needed == 0) {
        return {};
    }
    if (p == nullptr || bytes < needed) {
        char expected[48];
        std::snprintf(expected, sizeof expected, "%zu bytes", needed);
        return refuse_in(who, "workspace", expected,
                         p == nullptr ? 0 : static_cast<long long>(bytes));
    }
    if (reinterpret_cast<std::uintptr_t>(p) % 256 != 0) {
        return refuse_in(who, "workspace", "an address on 256 bytes",
                         static_cast<long long>(reinterpret_cast<std::uintptr_t>(p) % 256));
    }
    return {};
}

inline status current_device_attribute(cudaDeviceAttr attribute, int* value) noexcept {
    int device = 0;
    status s = from_cuda(cudaGetDevice(&device), "cudaGetDevice");
    return s.ok() ? from_cuda(cudaDeviceGetAttribute(value, attribute, device),
                              "cudaDeviceGetAttribute")
                  : s;
}

}  // namespace fpq::cuda

// SPDX-License-Identifier: Apache-2.0
// Floor 2. The kernel of a matrix product with vectors of 16 bytes, which every processor has: 4
// rows by two vectors of sums, multiplied and added (panel_product.hpp).
#pragma once

#include <cstddef>
#include <cstring>

#include "fpq/linalg/vector_type.hpp"

namespace fpq::kernels {

/// Sums of Rows rows by two vectors. A chain of members: compilers leave arrays in memory.
template <class Scalar, std::size_t Rows>
struct plain_sums {
    using vector = vector_of<Scalar, 16>;
    vector low;
    vector high;
    plain_sums<Scalar, Rows - 1> rest;

    [[gnu::always_inline]] void clear() noexcept {
        low = vector{};
        high = vector{};
        rest.clear();
    }
    /// Row r += a[r] * (b_low, b_high).
    [[gnu::always_inline]] void add(Scalar const* a, vector b_low, vector b_high) noexcept {
        low += a[0] * b_low;
        high += a[0] * b_high;
        rest.add(a + 1, b_low, b_high);
    }
    /// Row r of c = alpha * sums, added to what is there when `more`.
    [[gnu::always_inline]] void store(Scalar alpha, Scalar* c, std::size_t ldc,
                                      bool more) const noexcept {
        vector held[2] = {};
        if (more) {
            std::memcpy(held, c, sizeof held);
        }
        held[0] += alpha * low;
        held[1] += alpha * high;
        std::memcpy(c, held, sizeof held);
        rest.store(alpha, c + ldc, ldc, more);
    }
};
template <class Scalar>
struct plain_sums<Scalar, 0> {
    using vector = vector_of<Scalar, 16>;
    [[gnu::always_inline]] void clear() noexcept {}
    [[gnu::always_inline]] void add(Scalar const* /*a*/, vector /*low*/, vector /*high*/) noexcept {
    }
    [[gnu::always_inline]] void store(Scalar /*alpha*/, Scalar* /*c*/, std::size_t /*ldc*/,
                                      bool /*more*/) const noexcept {}
};

/// The kernel of product_by_panels.
template <class Scalar>
struct plain_panels {
    static constexpr std::size_t rows = 4;                    // of a panel of a
    static constexpr std::size_t cols = 32 / sizeof(Scalar);  // of a panel of b
    static constexpr std::size_t thin = 4;  // fewer rows than these go without panels
    static void multiply(Scalar const* a, Scalar const* b, std::size_t depth, Scalar alpha,
                         Scalar* c, std::size_t ldc, bool more) noexcept {
        using vector = typename plain_sums<Scalar, rows>::vector;
        plain_sums<Scalar, rows> sums;
        sums.clear();
        for (std::size_t p = 0; p < depth; ++p) {
            vector right[2];
            std::memcpy(right, b + p * cols, sizeof right);
            sums.add(a + p * rows, right[0], right[1]);
        }
        sums.store(alpha, c, ldc, more);
    }
};

}  // namespace fpq::kernels

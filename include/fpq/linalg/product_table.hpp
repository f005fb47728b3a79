// SPDX-License-Identifier: Apache-2.0
// Floor 2. What a product library must offer: a table of functions, so that which one multiplies is
// chosen at run time (products.hpp) and no macro changes what a header's functions do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace fpq {

/// Which operand of a product is read transposed: c = a b, a b^T or a^T b.
enum class product_shape : std::uint8_t { nn, nt, tn };

/// The products of one type. Matrices are row-major, leading dimensions in elements, one thread,
/// sums in Scalar. None of the sizes is 0; c overlaps no operand.
template <class Scalar>
struct product_functions {
    /// c (m, n) = alpha * op(a) op(b), op(a) (m, k), op(b) (k, n); added to c when `add`.
    void (*product)(product_shape shape, std::size_t m, std::size_t n, std::size_t k, Scalar alpha,
                    Scalar const* a, std::size_t lda, Scalar const* b, std::size_t ldb, Scalar* c,
                    std::size_t ldc, bool add);
    /// c (n, n) = x^T x on and below the diagonal, x (k, n); added to c when `add`. Above the
    /// diagonal c is unspecified within 128 columns of it and untouched further away.
    void (*lower_gram)(std::size_t n, std::size_t k, Scalar const* x, std::size_t ldx, Scalar* c,
                       std::size_t ldc, bool add);
};

/// A product library. Bytes of a result belong to it: two libraries may round sums differently.
struct product_table {
    std::string_view name;  // for a report
    product_functions<float> in_float;
    product_functions<double> in_double;

    template <class Scalar>
    [[nodiscard]] constexpr product_functions<Scalar> const& of() const noexcept {
        if constexpr (std::is_same_v<Scalar, float>) {
            return in_float;
        } else {
            return in_double;
        }
    }
};

namespace detail {

/// lower_gram out of products: by halving down to 128 columns, where the upper half is made too.
template <class Scalar, auto Product>
void gram_by_halving(std::size_t n, std::size_t k, Scalar const* x, std::size_t ldx, Scalar* c,
                     std::size_t ldc, bool add) {
    if (n <= 128) {
        Product(product_shape::tn, n, n, k, Scalar{1}, x, ldx, x, ldx, c, ldc, add);
        return;
    }
    std::size_t const half = n / 2;
    gram_by_halving<Scalar, Product>(half, k, x, ldx, c, ldc, add);
    Product(product_shape::tn, n - half, half, k, Scalar{1}, x + half, ldx, x, ldx, c + half * ldc,
            ldc, add);
    gram_by_halving<Scalar, Product>(n - half, k, x + half, ldx, c + half * ldc + half, ldc, add);
}

}  // namespace detail

}  // namespace fpq

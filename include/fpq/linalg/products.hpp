// SPDX-License-Identifier: Apache-2.0
// Floor 2. Which products run: our own, chosen by what the processor has, unless the program names
// others (openblas.hpp, or a table of its own). A library of the process is never touched unasked.
#pragma once

#include <atomic>
#include <cstddef>
#include <string_view>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/linalg/avx2_product.hpp"
#include "fpq/linalg/avx512_product.hpp"
#include "fpq/linalg/panel_product.hpp"
#include "fpq/linalg/plain_product.hpp"
#include "fpq/linalg/product_table.hpp"
#include "fpq/linalg/thin_product.hpp"

namespace fpq {

namespace detail {

/// The product of one level: by panels of Kernel, or thin.
template <template <class> class Kernel, simd_level Level, class Scalar>
void own_product(product_shape shape, std::size_t m, std::size_t n, std::size_t k, Scalar alpha,
                 Scalar const* a, std::size_t lda, Scalar const* b, std::size_t ldb, Scalar* c,
                 std::size_t ldc, bool add) {
    if (m < Kernel<Scalar>::thin) {
        kernels::thin_product(Level, shape, m, n, k, alpha, a, lda, b, ldb, c, ldc, add);
        return;
    }
    bool const a_turned = shape == product_shape::tn;
    bool const b_turned = shape == product_shape::nt;
    kernels::product_by_panels<Kernel<Scalar>, Scalar>(
        m, n, k, alpha, {a, a_turned ? 1 : lda, a_turned ? lda : 1},
        {b, b_turned ? 1 : ldb, b_turned ? ldb : 1}, c, ldc, add);
}

template <template <class> class Kernel, simd_level Level, class Scalar>
inline constexpr product_functions<Scalar> own_functions{
    &own_product<Kernel, Level, Scalar>,
    &gram_by_halving<Scalar, &own_product<Kernel, Level, Scalar>>};

template <template <class> class Kernel, simd_level Level>
constexpr product_table own_table(std::string_view name) {
    return {name, own_functions<Kernel, Level, float>, own_functions<Kernel, Level, double>};
}

inline constexpr product_table own_plain =
    own_table<kernels::plain_panels, simd_level::generic>("own (generic)");
#if FPQ_X86_KERNELS
inline constexpr product_table own_avx2 =
    own_table<kernels::avx2_panels, simd_level::avx2>("own (AVX2)");
inline constexpr product_table own_avx512 =
    own_table<kernels::avx512_panels, simd_level::avx512>("own (AVX-512)");
#endif

inline constinit std::atomic<product_table const*> chosen_products{nullptr};

/// Whose kernels our own products take, by the processor or the limit set on it.
inline simd_level own_product_level() noexcept {
#if FPQ_X86_KERNELS
    simd_level const level = active_simd_level();
    // AVX2 does not promise the fused instructions that the kernel needs.
    bool const fused = level == simd_level::avx512 || __builtin_cpu_supports("fma") != 0;
    return fused ? level : simd_level::generic;
#else
    return simd_level::generic;
#endif
}

}  // namespace detail

/// The products that need no library, for the processor or the limit set on it.
inline product_table const& own_products() noexcept {
#if FPQ_X86_KERNELS
    simd_level const level = detail::own_product_level();
    if (level == simd_level::avx512) {
        return detail::own_avx512;
    }
    if (level == simd_level::avx2) {
        return detail::own_avx2;
    }
#endif
    return detail::own_plain;
}

/// What matmul, Cholesky and second moments multiply with from now on, in all threads; null: our
/// own. `table` must live as long as it is used. Results of two tables differ in their last bits,
/// so choose once, before the first product.
inline void use_products(product_table const* table) noexcept {
    detail::chosen_products.store(table, std::memory_order_release);
}

/// The products in use.
inline product_table const& active_products() noexcept {
    product_table const* const chosen = detail::chosen_products.load(std::memory_order_acquire);
    return chosen != nullptr ? *chosen : own_products();
}

}  // namespace fpq

// SPDX-License-Identifier: Apache-2.0
// Floor 2. OpenBLAS as a product table, loaded while the program runs: nothing links to it, and
// only a program that calls load_openblas() has it. It is told what it would get wrong by itself:
// one thread (its pool hangs a finished run under `ulimit -v`, and threads are ours) and which
// kernels (0.3.21 does not know newer processors and takes SSE3 ones for them, four times slower).
#pragma once

#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/linalg/product_table.hpp"

namespace fpq {

namespace detail {

/// The functions of the library's C interface (cblas.h) that are used; enumerations are ints.
template <class Scalar>
struct cblas_functions {
    void (*gemm)(int order, int a_turned, int b_turned, int m, int n, int k, Scalar alpha,
                 Scalar const* a, int lda, Scalar const* b, int ldb, Scalar beta, Scalar* c,
                 int ldc) = nullptr;
    void (*syrk)(int order, int half, int turned, int n, int k, Scalar alpha, Scalar const* x,
                 int ldx, Scalar beta, Scalar* c, int ldc) = nullptr;
};

template <class Scalar>
inline constinit cblas_functions<Scalar> openblas_functions{};

inline constexpr int cblas_row_major = 101;
inline constexpr int cblas_as_it_is = 111;
inline constexpr int cblas_turned = 112;
inline constexpr int cblas_lower = 122;

template <class Scalar>
void openblas_product(product_shape shape, std::size_t m, std::size_t n, std::size_t k,
                      Scalar alpha, Scalar const* a, std::size_t lda, Scalar const* b,
                      std::size_t ldb, Scalar* c, std::size_t ldc, bool add) {
    openblas_functions<Scalar>.gemm(
        cblas_row_major, shape == product_shape::tn ? cblas_turned : cblas_as_it_is,
        shape == product_shape::nt ? cblas_turned : cblas_as_it_is, static_cast<int>(m),
        static_cast<int>(n), static_cast<int>(k), alpha, a, static_cast<int>(lda), b,
        static_cast<int>(ldb), add ? Scalar{1} : Scalar{0}, c, static_cast<int>(ldc));
}

template <class Scalar>
void openblas_lower_gram(std::size_t n, std::size_t k, Scalar const* x, std::size_t ldx, Scalar* c,
                         std::size_t ldc, bool add) {
    openblas_functions<Scalar>.syrk(cblas_row_major, cblas_lower, cblas_turned, static_cast<int>(n),
                                    static_cast<int>(k), Scalar{1}, x, static_cast<int>(ldx),
                                    add ? Scalar{1} : Scalar{0}, c, static_cast<int>(ldc));
}

/// A variable of the environment while an object lives.
class environment_value {
public:
    environment_value(char const* name, char const* value, bool replace) : name_(name) {
        char const* const held = std::getenv(name);
        if (held != nullptr) {
            before_ = held;
        }
        if (value != nullptr) {
            setenv(name, value, replace ? 1 : 0);
        }
    }
    ~environment_value() {
        if (before_) {
            setenv(name_, before_->c_str(), 1);
        } else {
            unsetenv(name_);
        }
    }
    environment_value(environment_value const&) = delete;
    environment_value& operator=(environment_value const&) = delete;

private:
    char const* name_;
    std::optional<std::string> before_;
};

}  // namespace detail

namespace detail {

/// Whether `bytes` of address space are to be had in one piece.
inline bool has_address_space(std::size_t bytes) noexcept {
    void* const at =
        ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at != MAP_FAILED && ::munmap(at, bytes) == 0;
}

/// Bytes of address space that this process holds; 0 where the system does not tell.
inline std::size_t held_address_space() {
    std::ifstream facts("/proc/self/statm");
    std::size_t pages = 0;
    facts >> pages;
    return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace detail

/// Lets OpenBLAS take the buffers that `threads` products at once need, which it keeps: where
/// address space is limited (ulimit -v) it would wait for ever for one that it cannot have. False:
/// there is no room for them and for some more, and no product may be asked of it.
inline bool reserve_openblas(int threads) {
    rlimit limit{};
    if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return true;
    }
    void* const library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_NOLOAD);
    void* const take = library == nullptr ? nullptr : dlsym(library, "blas_memory_alloc");
    void* const give = library == nullptr ? nullptr : dlsym(library, "blas_memory_free");
    constexpr std::size_t mebi = std::size_t{1} << 20;
    constexpr std::size_t usual = 130 * mebi;    // a buffer and what surrounds it
    constexpr std::size_t largest = 258 * mebi;  // of any build
    constexpr std::size_t spare = 64 * mebi;     // for the program itself
    auto const count = static_cast<std::size_t>(std::max(threads, 1));
    if (take == nullptr || give == nullptr ||
        !detail::has_address_space(std::max(largest, count * usual) + spare)) {
        return false;
    }
    auto const alloc = reinterpret_cast<void* (*)(int)>(take);
    std::size_t const before = detail::held_address_space();
    std::vector<void*> buffers{alloc(0)};
    std::size_t const size = detail::held_address_space() - before;
    bool const fits = detail::has_address_space((count - 1) * size + spare);
    while (fits && buffers.size() < count) {
        buffers.push_back(alloc(0));
    }
    for (void* const buffer : buffers) {
        reinterpret_cast<void (*)(void*)>(give)(buffer);
    }
    return fits;
}

/// The kernels that OpenBLAS shall take on this processor, by its name for them; null: its choice.
inline char const* openblas_core_type() noexcept {
#if FPQ_X86_KERNELS
    if (__builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
        __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0) {
        return "SKYLAKEX";
    }
    if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0) {
        return "HASWELL";
    }
#endif
    return nullptr;
}

/// What load_openblas() found.
struct loaded_openblas {
    std::string name;        // "OpenBLAS 0.3.21 (SkylakeX)"; why there is none when it is not there
    product_table products;  // usable when `there`
    bool there = false;
};

/// OpenBLAS of this system (libopenblas.so.0), loaded by the first call and kept to one thread.
/// Call it before other threads start: the environment is changed while the library reads it. A set
/// OPENBLAS_CORETYPE is left as it is. Pass &products to use_products(). Throws nothing but
/// std::bad_alloc.
inline loaded_openblas const& load_openblas() {
    static loaded_openblas const found = [] {
        loaded_openblas out{};
        constexpr char const* file = "libopenblas.so.0";
        detail::environment_value const threads("OPENBLAS_NUM_THREADS", "1", true);
        detail::environment_value const core("OPENBLAS_CORETYPE", openblas_core_type(), false);
        void* const library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) {
            char const* const why = dlerror();
            out.name = why != nullptr ? why : file;
            return out;
        }
        bool complete = true;
        auto const take = [&](auto& function, char const* name) {
            void* const symbol = dlsym(library, name);
            complete = complete && symbol != nullptr;
            function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
        };
        take(detail::openblas_functions<float>.gemm, "cblas_sgemm");
        take(detail::openblas_functions<float>.syrk, "cblas_ssyrk");
        take(detail::openblas_functions<double>.gemm, "cblas_dgemm");
        take(detail::openblas_functions<double>.syrk, "cblas_dsyrk");
        void (*set_threads)(int) = nullptr;
        char const* (*config)() = nullptr;
        char const* (*core_name)() = nullptr;
        take(set_threads, "openblas_set_num_threads");
        take(config, "openblas_get_config");
        take(core_name, "openblas_get_corename");
        if (!complete) {
            out.name = std::string(file) + " lacks a function of OpenBLAS";
            return out;
        }
        set_threads(1);  // where another part of the program had loaded it before
        std::string const about = config();
        out.name = about.substr(0, about.find(' ', about.find(' ') + 1)) + " (" + core_name() + ")";
        out.products = {"OpenBLAS",
                        {&detail::openblas_product<float>, &detail::openblas_lower_gram<float>},
                        {&detail::openblas_product<double>, &detail::openblas_lower_gram<double>}};
        out.there = true;
        return out;
    }();
    return found;
}

}  // namespace fpq

// SPDX-License-Identifier: Apache-2.0
// GPTQ of a 4096 x 4096 layer and its pieces, and the Hessian of 4096 columns beside the BLAS
// routines that bound it (where BLAS is used). Values: weights; multiply-adds of whole products
// for everything that ends in "x^T x" or "x y".
#include <cmath>
#include <memory>
#include <vector>

#include "common.hpp"
#include "fpq/core/random.hpp"
#include "fpq/solve/gptq.hpp"

namespace {

constexpr std::size_t n = 4096;
constexpr std::size_t tokens = 2048;

struct problem {
    std::vector<float> x, w;
    fpq::hessian h{n};
    fpq::solve_options options;
    fpq::gptq_factor factor;
    double rtn_error = 0;

    problem() : x(tokens * n), w(n * n) {
        fpq::philox const source{7, 7};
        for (std::size_t i = 0; i < x.size(); ++i) {
            // One factor that all channels share, and channels of seven sizes.
            float const common = fpq::uniform(source.at(i / n)) - 0.5F;
            x[i] = (common + fpq::uniform(source.at(i + tokens)) - 0.5F) *
                   (1.0F + static_cast<float>(i % n % 7));
        }
        for (std::size_t i = 0; i < w.size(); ++i) {
            w[i] = 0.02F * (fpq::uniform(source.at(3 * i)) + fpq::uniform(source.at(3 * i + 1)) +
                            fpq::uniform(source.at(3 * i + 2)) - 1.5F);
        }
        h.accumulate(inputs(), 2);
        options.observer.global_scale = fpq::nvfp_global_scale(0.03F, true);
        options.threads = 2;
        factor = fpq::factor(h, options, "bench");
        rtn_error = fpq::rtn(weights(), &h, fpq::nvfp4, options, "bench").report.relative_error;
    }
    [[nodiscard]] fpq::matrix_view<float const> inputs() const {
        return fpq::as_view(x.data(), tokens, n);
    }
    [[nodiscard]] fpq::matrix_view<float const> weights() const {
        return fpq::as_view(w.data(), n, n);
    }
};

/// Whether h is x^T x at some places.
bool is_gram(fpq::matrix_view<float const> h, fpq::matrix_view<float const> x, double times) {
    for (std::size_t k = 0; k < 40; ++k) {
        std::size_t const i = k * 997 % n;
        std::size_t const j = k * 331 % (i + 1);
        double sum = 0;
        for (std::size_t t = 0; t < x.rows; ++t) {
            sum += static_cast<double>(x(t, i)) * static_cast<double>(x(t, j));
        }
        double const found = static_cast<double>(h(i, j));
        if (std::abs(found - times * sum) > 1e-4 * times * (std::abs(sum) + 100.0)) {
            return false;
        }
    }
    return true;
}

#if defined(FPQ_USE_BLAS)
void add_blas(problem const& p) {
    auto const c = std::make_shared<std::vector<float>>(n * n);
    auto const good = [c, &p] {
        return is_gram(fpq::as_view<float const>(c->data(), n, n), p.inputs(), 1.0);
    };
    double const whole = static_cast<double>(tokens * n * n);
    fpq::bench::add({"sgemm x^T x", "4096", 0, whole, 1,
                     [c, &p] {
                         fpq::detail::quiet_blas();
                         cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, n, tokens, 1.0F,
                                     p.x.data(), n, p.x.data(), n, 0.0F, c->data(), n);
                     },
                     good});
    fpq::bench::add({"ssyrk x^T x", "4096", 0, whole, 1,
                     [c, &p] {
                         cblas_ssyrk(CblasRowMajor, CblasLower, CblasTrans, n, tokens, 1.0F,
                                     p.x.data(), n, 0.0F, c->data(), n);
                     },
                     good});
}
#endif

void add_solver(problem const& p, int threads) {
    auto options = p.options;
    options.threads = threads;
    double const weights = static_cast<double>(n * n);
    auto const h = std::make_shared<fpq::hessian>(n);
    fpq::bench::add({"Hessian, 2048 tokens x^T x", "4096", 0, static_cast<double>(tokens * n * n),
                     threads, [h, &p, threads] { h->accumulate(p.inputs(), threads); },
                     [h, &p] { return is_gram(h->view(), p.inputs(), 1.0); }});
    auto const factor = std::make_shared<fpq::gptq_factor>();
    fpq::bench::add({"GPTQ factor", "4096", 0, weights, threads,
                     [factor, &p, options] { *factor = fpq::factor(p.h, options, "bench"); },
                     [factor, &p] { return factor->innovation() == p.factor.innovation(); }});
    auto const form = std::make_shared<double>();
    fpq::bench::add(
        {"tr(W H W^T)", "4096", 0, weights, threads,
         [form, &p, threads] { *form = fpq::quadratic_form(p.weights(), p.h.view(), threads); },
         [form, &p] {
             double const other = fpq::quadratic_form(p.weights(), p.h.view(), 1);
             return *form > 0 && *form == other;
         }});
    auto const error = std::make_shared<double>();
    fpq::bench::add(
        {"GPTQ nvfp4, factor and report too", "4096", 0, weights, threads,
         [error, &p, options] {
             auto const f = fpq::factor(p.h, options, "bench");
             *error =
                 fpq::gptq(p.weights(), p.h, f, fpq::nvfp4, options, "bench").report.relative_error;
         },
         [error, &p] { return *error > 0 && *error < p.rtn_error; }});
}

}  // namespace

int main(int argc, char** argv) {
    problem const p;
#if defined(FPQ_USE_BLAS)
    add_blas(p);
#endif
    add_solver(p, 1);
    add_solver(p, 2);
    return fpq::bench::run_cases(argc, argv);
}

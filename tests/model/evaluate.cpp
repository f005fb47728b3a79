// SPDX-License-Identifier: Apache-2.0
// Evaluation against the textbook sums, its independence of batches and threads, its refusals.
#include "fpq/model/evaluate.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "fpq/backend/cpu/score.hpp"
#include "fpq/io/text/text_windows.hpp"
#include "model/random_model.hpp"

using namespace fpq_test;

namespace {

/// log softmax of one row, in double.
std::vector<double> log_softmax(const float* x, std::size_t n) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
        sum += std::exp(static_cast<double>(x[i]));
    }
    std::vector<double> out(n);
    for (std::size_t i = 0; i < n; ++i) {
        out[i] = static_cast<double>(x[i]) - std::log(sum);
    }
    return out;
}

fpq::layer_source<fpq::cpu> layers_of(const random_model& model) {
    return [&model](std::size_t layer, fpq::layer_hooks<fpq::cpu>&) { return model.layers[layer]; };
}

random_model disturbed(random_model model) {
    for (fpq::decoder_layer<fpq::cpu>& layer : model.layers) {
        const fpq::matrix_view<float> w = layer.linears.back().weight.view();  // down
        for (std::size_t i = 0; i < w.size(); ++i) {
            w.data[i] *= 1.3F;
        }
    }
    return model;
}

}  // namespace

TEST_CASE("windows are equal and the rest is dropped", "[model]") {
    const std::vector<std::int32_t> tokens = some_tokens(23, 50);
    const auto windows = fpq::cut_windows(tokens, 5);
    REQUIRE(windows.size() == 4);
    REQUIRE(windows[3].data() == tokens.data() + 15);
    REQUIRE(windows[3].size() == 5);
    REQUIRE(fpq::cut_windows(tokens, 24).empty());
    REQUIRE_THROWS_AS(fpq::cut_windows(tokens, 1), fpq::error);
}

TEST_CASE("every figure agrees with its definition", "[model]") {
    const random_model reference(small_config());
    const random_model model = disturbed(reference);
    constexpr std::size_t length = 9;
    constexpr std::size_t count = 6;
    const std::vector<std::int32_t> tokens = some_tokens(length * count, 50);
    std::vector<double> kl, window_nll, window_kl, window_top, window_difference;
    double nll = 0;
    double reference_nll = 0;
    double agreement = 0;
    for (std::size_t w = 0; w < count; ++w) {
        const std::vector<std::int32_t> ids(tokens.begin() + static_cast<long>(w * length),
                                            tokens.begin() + static_cast<long>((w + 1) * length));
        const std::vector<float> a = model.logits(ids, 1);
        const std::vector<float> b = reference.logits(ids, 1);
        window_nll.push_back(0);
        window_kl.push_back(0);
        window_top.push_back(0);
        window_difference.push_back(0);
        for (std::size_t t = 0; t + 1 < length; ++t) {
            const auto p = log_softmax(a.data() + t * 50, 50);
            const auto r = log_softmax(b.data() + t * 50, 50);
            const auto target = static_cast<std::size_t>(ids[t + 1]);
            double divergence = 0;
            for (std::size_t v = 0; v < 50; ++v) {
                divergence += std::exp(r[v]) * (r[v] - p[v]);
            }
            kl.push_back(divergence);
            const bool same = std::max_element(p.begin(), p.end()) - p.begin() ==
                              std::max_element(r.begin(), r.end()) - r.begin();
            window_nll.back() -= p[target] / 8;
            window_kl.back() += divergence / 8;
            window_top.back() += same ? 1.0 / 8 : 0;
            window_difference.back() += (r[target] - p[target]) / 8;
            nll -= p[target] / 48;
            reference_nll -= r[target] / 48;
            agreement += same ? 1.0 / 48 : 0;
        }
    }
    const auto error_of = [](const std::vector<double>& means) {
        double mean = 0;
        double squares = 0;
        for (const double m : means) {
            mean += m / static_cast<double>(means.size());
        }
        for (const double m : means) {
            squares += (m - mean) * (m - mean);
        }
        return std::sqrt(squares / (static_cast<double>(means.size()) - 1) /
                         static_cast<double>(means.size()));
    };
    const fpq::decoder<fpq::cpu> frame = model.frame();
    const fpq::decoder<fpq::cpu> reference_frame = reference.frame();
    const fpq::eval_model<fpq::cpu> subject{&frame, layers_of(model), {}};
    const fpq::eval_model<fpq::cpu> other{&reference_frame, layers_of(reference), {}};
    const fpq::eval_result result =
        fpq::evaluate(fpq::cpu{1}, subject, &other, fpq::cut_windows(tokens, length), {});
    REQUIRE(result.targets == 48);
    REQUIRE(result.windows == 6);
    REQUIRE(result.has_reference);
    REQUIRE(result.nll_mean == Approx(nll).epsilon(1e-5));
    REQUIRE(result.perplexity == Approx(std::exp(nll)).epsilon(1e-5));
    REQUIRE(result.reference_perplexity == Approx(std::exp(reference_nll)).epsilon(1e-5));
    REQUIRE(result.nll_difference == Approx(nll - reference_nll).margin(1e-5));
    double kl_mean = 0;
    for (const double v : window_kl) {
        kl_mean += v / 6;
    }
    REQUIRE(kl_mean > 0.01);
    REQUIRE(result.kl_mean == Approx(kl_mean).epsilon(1e-4));
    REQUIRE(result.top1_agreement == Approx(agreement));
    REQUIRE(result.nll_se == Approx(error_of(window_nll)).epsilon(1e-3));
    REQUIRE(result.kl_se == Approx(error_of(window_kl)).epsilon(1e-3));
    REQUIRE(result.top1_se == Approx(error_of(window_top)).margin(1e-9));
    REQUIRE(result.nll_difference_se == Approx(error_of(window_difference)).epsilon(1e-3));
    std::sort(kl.begin(), kl.end());
    REQUIRE(result.kl_p99 == Approx(kl[47]).epsilon(1e-4));  // rank ceil(0.99 * 48) = 48
}

TEST_CASE("a model is at no distance from itself", "[model]") {
    const random_model model(small_config());
    const fpq::decoder<fpq::cpu> frame = model.frame();
    const fpq::eval_model<fpq::cpu> subject{&frame, layers_of(model), {}};
    const std::vector<std::int32_t> tokens = some_tokens(600, 50);
    const auto result =
        fpq::evaluate(fpq::cpu{1}, subject, &subject, fpq::cut_windows(tokens, 300), {});
    REQUIRE(result.kl_mean == 0.0);
    REQUIRE(result.kl_p99 == 0.0);
    REQUIRE(result.top1_agreement == 1.0);
    REQUIRE(result.nll_difference == 0.0);
}

TEST_CASE("figures do not depend on threads or batches; each layer is asked for once a batch",
          "[model]") {
    const random_model reference(small_config());
    const random_model model = disturbed(reference);
    const fpq::decoder<fpq::cpu> frame = model.frame();
    const fpq::decoder<fpq::cpu> reference_frame = reference.frame();
    const std::vector<std::int32_t> tokens = some_tokens(200, 50);
    const auto windows = fpq::cut_windows(tokens, 20);
    std::vector<double> figures;
    for (const std::size_t bytes : {std::size_t{1} << 30, std::size_t{1}, std::size_t{5000}}) {
        for (const int threads : {1, 3}) {
            std::size_t asked = 0;
            const fpq::eval_model<fpq::cpu> subject{
                &frame,
                [&](std::size_t layer, fpq::layer_hooks<fpq::cpu>&) {
                    ++asked;
                    return model.layers[layer];
                },
                {}};
            const fpq::eval_model<fpq::cpu> other{&reference_frame, layers_of(reference), {}};
            std::size_t last = 0;
            std::size_t total = 0;
            const auto result = fpq::evaluate(fpq::cpu{threads}, subject, &other, windows,
                                              {bytes, [&](std::size_t d, std::size_t all) {
                                                   last = d;
                                                   total = all;
                                               }});
            const std::size_t batch = std::max<std::size_t>(1, bytes / (20 * 20 * 4));
            REQUIRE(asked == 2 * ((10 + batch - 1) / batch));
            REQUIRE(last == total);
            const std::vector<double> now = {result.nll_mean, result.kl_mean, result.kl_se,
                                             result.kl_p99, result.top1_agreement};
            figures = figures.empty() ? now : figures;
            REQUIRE(now == figures);
        }
    }
}

TEST_CASE("the hooks of a layer source and of the head are used", "[model]") {
    const random_model model(small_config());
    const fpq::decoder<fpq::cpu> frame = model.frame();
    const std::vector<std::int32_t> tokens = some_tokens(40, 50);
    const fpq::eval_model<fpq::cpu> hooked{
        &frame,
        [&](std::size_t layer, fpq::layer_hooks<fpq::cpu>& hooks) {
            hooks.on_input = [](fpq::tap, fpq::matrix_view<float> x) {
                for (std::size_t i = 0; i < x.rows; ++i) {
                    std::fill_n(x.row(i), x.cols, 0.0F);
                }
            };
            return model.layers[layer];
        },
        {}};
    const fpq::eval_model<fpq::cpu> plain{&frame, layers_of(model), {}};
    fpq::layer_hooks<fpq::cpu> silent;
    silent.on_input = [](fpq::tap at, fpq::matrix_view<float> x) {
        REQUIRE(at == fpq::tap::head_input);
        for (std::size_t i = 0; i < x.rows; ++i) {
            std::fill_n(x.row(i), x.cols, 0.0F);
        }
    };
    const fpq::eval_model<fpq::cpu> beheaded{&frame, layers_of(model), silent};
    const auto result =
        fpq::evaluate(fpq::cpu{1}, hooked, &plain, fpq::cut_windows(tokens, 20), {});
    REQUIRE(result.kl_mean > 0.01);
    // Logits of zero: every token of the vocabulary is equally likely.
    const auto uniform =
        fpq::evaluate<fpq::cpu>(fpq::cpu{1}, beheaded, nullptr, fpq::cut_windows(tokens, 20), {});
    REQUIRE(uniform.perplexity == Approx(50.0).epsilon(1e-5));
}

TEST_CASE("text that is too short, other vocabularies and numbers that are not are refused",
          "[model]") {
    const random_model model(small_config());
    fpq::model_config c = small_config();
    c.vocab_size = 51;
    const random_model larger(c);
    const fpq::decoder<fpq::cpu> frame = model.frame();
    const fpq::decoder<fpq::cpu> larger_frame = larger.frame();
    const fpq::eval_model<fpq::cpu> subject{&frame, layers_of(model), {}};
    const fpq::eval_model<fpq::cpu> other{&larger_frame, layers_of(larger), {}};
    const std::vector<std::int32_t> tokens = some_tokens(40, 50);
    REQUIRE_THROWS_AS(
        fpq::evaluate<fpq::cpu>(fpq::cpu{1}, subject, nullptr, fpq::cut_windows(tokens, 41), {}),
        fpq::error);
    REQUIRE_THROWS_AS(fpq::evaluate(fpq::cpu{1}, subject, &other, fpq::cut_windows(tokens, 20), {}),
                      fpq::error);
    random_model broken = model;
    broken.layers[0].linears[3].weight.view().data[0] = std::numeric_limits<float>::infinity();
    const fpq::eval_model<fpq::cpu> infinite{&frame, layers_of(broken), {}};
    try {
        static_cast<void>(fpq::evaluate<fpq::cpu>(fpq::cpu{1}, infinite, nullptr,
                                                  fpq::cut_windows(tokens, 20), {}));
        FAIL("accepted");
    } catch (const fpq::error& e) {
        REQUIRE(e.exit_code() == 4);
    }
}

// SPDX-License-Identifier: Apache-2.0
// Quantize and dequantize: formats, rules, input types, sizes from the first cache to memory, one
// thread and two; and fake quantization as inputs of a linear get it. The check is the plain loops'
// result, byte for byte.
#include "fpq/quant/quantize.hpp"

#include <cstring>
#include <map>
#include <memory>

#include "common.hpp"
#include "fpq/core/random.hpp"
#include "fpq/quant/fake_quantize.hpp"

namespace {

using fpq::bf16;
using fpq::observer_options;
using fpq::packed_matrix;
using fpq::quant_format;

constexpr std::size_t cols = 4096;  // of every matrix
constexpr std::size_t mebi = std::size_t{1} << 20;

struct named_format {
    char const* name;
    quant_format format;
    observer_options options;
};

std::vector<named_format> const formats{
    {"nvfp4", fpq::nvfp4, {.global_scale = 512.0F}},
    {"mxfp4", fpq::mxfp4, {.global_scale = fpq::mx_fp_quant_global}},
    {"mxfp6 e2m3", fpq::mxfp6_e2m3, {.mx = fpq::scale_rule::even}},
    {"mxfp8 e4m3", fpq::mxfp8_e4m3, {.mx = fpq::scale_rule::even}},
    {"fp4 group 32", fpq::fp4(32), {}},
    {"int4 group 128", fpq::int_format(4, 128), {}},
    {"int8 group 128", fpq::int_format(8, 128), {}},
};

/// N(0, 1) weights of so many bytes as float, made once a size; T: the same values in T.
template <class T>
std::shared_ptr<std::vector<T>> weights(std::size_t count) {
    static std::map<std::size_t, std::shared_ptr<std::vector<T>>> made;
    std::shared_ptr<std::vector<T>>& w = made[count];
    if (!w) {
        w = std::make_shared<std::vector<T>>(count);
        fpq::philox const source{1, 0};
        std::vector<float> pool(mebi);
        for (std::size_t i = 0; i < pool.size(); ++i) {
            pool[i] = source.normal_at(i);
        }
        for (std::size_t i = 0; i < count; ++i) {
            float const x = pool[(i + i / mebi * 17) % mebi];
            if constexpr (std::is_same_v<T, bf16>) {
                (*w)[i] = fpq::to_bf16(x);
            } else if constexpr (std::is_same_v<T, fpq::fp16>) {
                (*w)[i] = fpq::to_fp16(x);
            } else {
                (*w)[i] = x;
            }
        }
    }
    return w;
}

double packed_bytes(packed_matrix const& q) {
    return static_cast<double>(q.codes.size() + q.scales.size() + q.zeros.size());
}

/// `count` weights of type T; the input is made when the case first runs.
template <class T>
void add_quantize(named_format const& f, char const* type, std::size_t count, int threads,
                  char const* suffix = "") {
    auto const q = std::make_shared<packed_matrix>();
    auto const view = [count] {
        return fpq::as_view<T const>(weights<T>(count)->data(), count / cols, cols);
    };
    double const packed =
        packed_bytes(fpq::make_packed(f.format, count / cols, cols, f.options.global_scale));
    fpq::bench::bench_case c;
    c.work = std::string("quantize ") + f.name + " from " + type + suffix;
    c.size = fpq::bench::size_name(count * sizeof(T));
    c.bytes = static_cast<double>(count * sizeof(T)) + packed;
    c.values = static_cast<double>(count);
    c.threads = threads;
    bool const plain = *suffix != '\0';
    c.run = [f, q, view, threads, plain] {
        if constexpr (std::is_same_v<T, float>) {
            if (plain) {
                *q = fpq::reference::quantize(view(), f.format, f.options);
                return;
            }
        }
        (void)plain;  // not used for other types
        fpq::quantize_into(view(), f.format, f.options, *q, threads);
    };
    c.check = [f, q, count] {
        std::size_t const rows = std::min<std::size_t>(count / cols, 64);
        std::vector<float> wide(rows * cols);
        for (std::size_t i = 0; i < wide.size(); ++i) {
            wide[i] = fpq::to_float((*weights<T>(count))[i]);
        }
        packed_matrix const e = fpq::reference::quantize(
            fpq::as_view<float const>(wide.data(), rows, cols), f.format, f.options);
        return std::memcmp(e.codes.data(), q->codes.data(), e.codes.size()) == 0 &&
               std::memcmp(e.scales.data(), q->scales.data(), e.scales.size()) == 0;
    };
    fpq::bench::add(c);
}

template <class T>
void add_dequantize(named_format const& f, char const* type, std::size_t count, int threads) {
    struct state {
        packed_matrix q;
        std::vector<T> out;
    };
    auto const s = std::make_shared<state>();
    fpq::bench::bench_case c;
    c.work = std::string("dequantize ") + f.name + " to " + type;
    c.size = fpq::bench::size_name(count * sizeof(T));
    c.values = static_cast<double>(count);
    c.bytes = static_cast<double>(count * sizeof(T)) +
              packed_bytes(fpq::make_packed(f.format, count / cols, cols, 1.0F));
    c.threads = threads;
    c.run = [f, s, count, threads] {
        if (s->out.empty()) {
            s->q = fpq::quantize(
                fpq::as_view<float const>(weights<float>(count)->data(), count / cols, cols),
                f.format, f.options, 1);
            s->out.resize(count);
        }
        fpq::dequantize_into(s->q.view(), fpq::as_view(s->out.data(), count / cols, cols), threads);
    };
    c.check = [s, count] {
        std::vector<float> expected(count);
        fpq::reference::dequantize_into(s->q.view(),
                                        fpq::as_view(expected.data(), count / cols, cols));
        for (std::size_t i = 0; i < count; ++i) {
            if constexpr (std::is_same_v<T, bf16>) {
                if (s->out[i].bits != fpq::to_bf16(expected[i]).bits) {
                    return false;
                }
            } else if (s->out[i] != expected[i]) {
                return false;
            }
        }
        return true;
    };
    fpq::bench::add(c);
}

/// Fake quantization in place; every run but the first sees values that are on the grid already.
void add_fake_quantize(named_format const& f, std::size_t count, int threads) {
    auto const x = std::make_shared<std::vector<float>>();
    auto const view = [x, count] { return fpq::as_view(x->data(), count / cols, cols); };
    fpq::bench::bench_case c;
    c.work = std::string("fake-quantize ") + f.name;
    c.size = fpq::bench::size_name(count * 4);
    c.bytes = 8.0 * static_cast<double>(count);
    c.values = static_cast<double>(count);
    c.threads = threads;
    c.run = [f, x, view, count, threads] {
        if (x->empty()) {
            *x = *weights<float>(count);
        }
        fpq::fake_quantize_rows(view(), f.format, f.options, threads);
    };
    c.check = [f, x, view, count, threads] {
        std::vector<float> expected = *weights<float>(count);
        *x = expected;
        fpq::fake_quantize_rows(view(), f.format, f.options, threads);
        fpq::reference::fake_quantize_rows(fpq::as_view(expected.data(), count / cols, cols),
                                           f.format, f.options);
        return *x == expected;
    };
    fpq::bench::add(c);
}

/// What reading alone costs: the largest and least value.
void add_read(std::size_t count) {
    auto const found = std::make_shared<float>();
    fpq::bench::add({"read", fpq::bench::size_name(count * 4), 4.0 * static_cast<double>(count),
                     static_cast<double>(count), 1,
                     [=] {
                         *found = fpq::kernels::extremes_at(fpq::active_simd_level(),
                                                            weights<float>(count)->data(), count)
                                      .most;
                         benchmark::DoNotOptimize(*found);
                     },
                     [=] { return *found > 0.0F; }});
}

/// What writing alone costs.
void add_write(std::size_t count) {
    auto const out = std::make_shared<std::vector<float>>(count);
    fpq::bench::add({"memset",
                     fpq::bench::size_name(count * 4),
                     4.0 * static_cast<double>(count),
                     static_cast<double>(count),
                     1,
                     [=] {
                         std::memset(out->data(), 0, count * 4);
                         benchmark::DoNotOptimize(out->data());
                         benchmark::ClobberMemory();
                     },
                     {}});
}

}  // namespace

int main(int argc, char** argv) {
    for (std::size_t kib : {64, 256, 1024, 4096, 16384, 65536}) {
        std::size_t const bytes = kib << 10;
        fpq::bench::add_memcpy(bytes);
        add_read(bytes / 4);
        add_write(bytes / 4);
        for (std::size_t k = 0; k < 2; ++k) {
            add_quantize<float>(formats[k], "fp32", bytes / 4, 1);
            add_dequantize<float>(formats[k], "fp32", bytes / 4, 1);
        }
    }
    for (std::size_t k = 0; k < 2; ++k) {
        add_quantize<float>(formats[k], "fp32", mebi / 4, 1, ", plain loops");
        for (std::size_t size : {mebi, 64 * mebi}) {
            add_quantize<bf16>(formats[k], "bf16", size / 4, 1);
            add_quantize<fpq::fp16>(formats[k], "fp16", size / 4, 1);
            add_dequantize<bf16>(formats[k], "bf16", size / 4, 1);
            add_quantize<float>(formats[k], "fp32", size / 4, 2);
            add_dequantize<float>(formats[k], "fp32", size / 4, 2);
        }
    }
    for (std::size_t k = 2; k < formats.size(); ++k) {
        add_quantize<float>(formats[k], "fp32", 4 * mebi, 1);
        add_dequantize<float>(formats[k], "fp32", 4 * mebi, 1);
    }
    using fpq::scale_rule;
    for (named_format const& f : std::vector<named_format>{
             {"nvfp4 by sweep", fpq::nvfp4, {.rule = scale_rule::sweep, .global_scale = 512.0F}},
             {"nvfp4 by mse", fpq::nvfp4, {.rule = scale_rule::mse, .global_scale = 512.0F}},
             {"nvfp4 by four_over_six",
              fpq::nvfp4,
              {.rule = scale_rule::four_over_six, .global_scale = 512.0F}},
             {"mxfp4 by sweep", fpq::mxfp4, {.rule = scale_rule::sweep, .global_scale = 3.0F}},
             {"mxfp4 by mse", fpq::mxfp4, {.rule = scale_rule::mse, .global_scale = 3.0F}},
             {"mxfp8 e4m3 by sweep", fpq::mxfp8_e4m3, {.rule = scale_rule::sweep}},
             {"fp4 group 32 by sweep", fpq::fp4(32), {.rule = scale_rule::sweep}},
             {"int4 group 128 by sweep", fpq::int_format(4, 128), {.rule = scale_rule::sweep}}}) {
        add_quantize<bf16>(f, "bf16", mebi / 2, 1);
    }
    for (std::size_t k = 0; k < 3; ++k) {
        add_fake_quantize(formats[k], mebi, 1);
        add_fake_quantize(formats[k], mebi, 2);
    }
    return fpq::bench::run_cases(argc, argv);
}

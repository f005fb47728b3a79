// SPDX-License-Identifier: Apache-2.0
// What the benchmark programs share: a case declares what it is, the bytes it touches and a check
// of its result; run_cases times them interleaved, five rounds in random order, and prints the
// medians as one aligned table and one JSON line a row.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace fpq::bench {

struct bench_case {
    std::string work;             // what is done: "quantize nvfp4 from fp32"
    std::string size;             // of the input, for a reader: "64 MiB"; rows of one size compare
    double bytes = 0;             // read and written by one run; 0: no rate in bytes
    double values = 0;            // weights, tokens or operations of one run; 0: none
    int threads = 0;              // that the work may use: every case states them
    std::function<void()> run;    // what is timed
    std::function<bool()> check;  // after one run: is the result right? empty: nothing to check
};

/// All cases of this program, in the order of the table.
inline std::vector<bench_case>& cases() {
    static std::vector<bench_case> all;
    return all;
}

inline void add(bench_case c) { cases().push_back(std::move(c)); }

/// "64 MiB", "512 KiB".
inline std::string size_name(std::size_t bytes) {
    bool const small = bytes < (std::size_t{1} << 20);
    return std::to_string(bytes >> (small ? 10 : 20)) + (small ? " KiB" : " MiB");
}

/// The yardstick of the rows of this size: memcpy of so many bytes, which touches twice as many.
inline void add_memcpy(std::size_t bytes) {
    auto const from =
        std::make_shared<std::vector<unsigned char>>(bytes, static_cast<unsigned char>(1));
    auto const to = std::make_shared<std::vector<unsigned char>>(bytes);
    add({"memcpy", size_name(bytes), 2.0 * static_cast<double>(bytes), 0.0, 1,
         [from, to] {
             std::memcpy(to->data(), from->data(), from->size());
             benchmark::DoNotOptimize(to->data());
             benchmark::ClobberMemory();
         },
         [from, to] { return *from == *to; }});
}

/// Collects the times of every repetition and prints them at the end.
class table_reporter : public benchmark::BenchmarkReporter {
public:
    /// Benchmark `name` times the case of this index; a filter may leave some out.
    void expect(std::string const& name, std::size_t at) { case_of_[name] = at; }

    bool ReportContext(Context const&) override { return true; }

    /// Why a run did not happen; empty when it did. The members changed their names in 1.8.
    template <class AnyRun>
    static std::string failure_of(AnyRun const& r) {
        if constexpr (requires { r.error_occurred; }) {
            return r.error_occurred ? "error: " + r.error_message : std::string();
        } else {
            return r.skipped ? "error: " + r.skip_message : std::string();
        }
    }

    void ReportRuns(std::vector<Run> const& runs) override {
        for (Run const& r : runs) {
            if (std::string const why = failure_of(r); !why.empty()) {
                std::fprintf(stderr, "%s: %s\n", r.benchmark_name().c_str(), why.c_str());
                failed_ = true;
            } else if (r.run_type == Run::RT_Iteration) {
                seconds_[case_of_[r.run_name.function_name]].push_back(
                    r.real_accumulated_time / static_cast<double>(r.iterations));
            }
        }
    }

    /// Prints; false when a case failed.
    bool print() {
        std::map<std::string, double> copy_rate;  // size -> GB/s
        for (auto& [at, times] : seconds_) {
            std::sort(times.begin(), times.end());
            bench_case const& c = cases()[at];
            if (c.work == "memcpy") {
                copy_rate[c.size] = c.bytes / best(times) * 1e-9;
            }
        }
        std::printf("%-44s %8s %7s %9s %12s %9s %9s %10s %7s\n", "work", "size", "threads", "MB",
                    "ms", "GB/s", "% memcpy", "Mvalues/s", "spread");
        for (auto const& [at, times] : seconds_) {
            bench_case const& c = cases()[at];
            double const s = best(times);
            double const rate = c.bytes / s * 1e-9;
            double const copy = copy_rate.count(c.size) != 0 ? copy_rate[c.size] : 0.0;
            std::printf("%-44s %8s %7d %9s %12.4f %9s %9s %10s %6.1f%%\n", c.work.c_str(),
                        c.size.c_str(), c.threads, text(c.bytes * 1e-6, 2).c_str(), s * 1e3,
                        text(rate, 2).c_str(),
                        text(copy > 0 ? 100.0 * rate / copy : 0.0, 0).c_str(),
                        text(c.values / s * 1e-6, 1).c_str(), 100.0 * spread(times));
        }
        for (auto const& [at, times] : seconds_) {
            bench_case const& c = cases()[at];
            double const s = best(times);
            double const rate = c.bytes / s * 1e-9;
            double const copy = copy_rate.count(c.size) != 0 ? copy_rate[c.size] : 0.0;
            std::printf(
                "{\"work\": \"%s\", \"size\": \"%s\", \"threads\": %d, \"bytes\": %.0f, "
                "\"seconds\": %.9g, \"gb_per_s\": %.5g, \"percent_of_memcpy\": %.4g, "
                "\"values_per_s\": %.6g, \"spread\": %.3g}\n",
                c.work.c_str(), c.size.c_str(), c.threads, c.bytes, s, rate,
                copy > 0 ? 100.0 * rate / copy : 0.0, c.values / s, spread(times));
        }
        return !failed_;
    }

private:
    static double best(std::vector<double> const& sorted) { return sorted.front(); }
    /// How far the median is above the best, in units of the best.
    static double spread(std::vector<double> const& sorted) {
        return sorted[sorted.size() / 2] / sorted.front() - 1.0;
    }
    /// A dash for what a case does not declare.
    static std::string text(double number, int digits) {
        if (number == 0.0) {
            return "-";
        }
        char buffer[64];
        std::snprintf(buffer, sizeof buffer, "%.*f", digits, number);
        return buffer;
    }

    std::map<std::string, std::size_t> case_of_;          // by the benchmark's name
    std::map<std::size_t, std::vector<double>> seconds_;  // by case, one a repetition
    bool failed_ = false;
};

/// Checks and times every case. Google Benchmark's flags are accepted and override the defaults:
/// 15 interleaved repetitions of at least 0.01 s, the best of which counts: on a
/// machine with other work it is the least disturbed one. Returns the exit code: 1 if a check
/// failed.
inline int run_cases(int argc, char** argv) {
    std::vector<std::string> flags{argc > 0 ? argv[0] : "bench", "--benchmark_repetitions=15",
                                   "--benchmark_min_time=0.01",
                                   "--benchmark_enable_random_interleaving=true"};
    for (int i = 1; i < argc; ++i) {
        flags.emplace_back(argv[i]);
    }
    std::vector<char*> pointers;
    pointers.reserve(flags.size());
    for (std::string& f : flags) {
        pointers.push_back(f.data());
    }
    int count = static_cast<int>(pointers.size());
    benchmark::Initialize(&count, pointers.data());
    if (benchmark::ReportUnrecognizedArguments(count, pointers.data())) {
        return 2;
    }
    table_reporter reporter;
    for (std::size_t at = 0; at < cases().size(); ++at) {
        bench_case const& c = cases()[at];
        auto const checked = std::make_shared<bool>(false);
        std::string const name =
            c.work + " (" + c.size + ", " + std::to_string(c.threads) + " threads)";
        reporter.expect(name, at);
        benchmark::RegisterBenchmark(name.c_str(), [&c, checked](benchmark::State& state) {
            if (!*checked) {
                c.run();
                if (c.check && !c.check()) {
                    state.SkipWithError("the result is wrong");
                    return;
                }
                *checked = true;
            }
            for (auto _ : state) {
                c.run();
            }
        })->UseRealTime();
    }
    benchmark::RunSpecifiedBenchmarks(&reporter);
    return reporter.print() ? 0 : 1;
}

}  // namespace fpq::bench

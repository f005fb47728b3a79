// SPDX-License-Identifier: Apache-2.0
// A run shared out over ranks: the bytes of one rank, whatever their number; no rank waits for one
// that has failed.
#include "fpq/core/hosted/ranks.hpp"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/pipeline/report_json.hpp"
#include "pipeline/line.hpp"
#include "support/files.hpp"

using namespace fpq;
using namespace fpq_test;

namespace {

/// f's run on so many ranks; `progress` is told by each rank.
template <class Progress>
run_report on_ranks(std::size_t size, harness_flags const& f, Progress const& progress) {
    run_report report;
    on_thread_ranks(thread_ranks(size), size, [&](rank_group& ranks) {
        std::vector<std::string> notes;
        cpu const b{1};
        run_report mine = run(
            b, plan_run(b, recipe_of(f, notes), shipped_architectures), shipped_architectures,
            [&](progress_event const& event) { progress(ranks.rank(), event); }, ranks);
        if (ranks.rank() == 0) {
            report = std::move(mine);
        }
    });
    return report;
}

void quiet(std::size_t, progress_event const&) {}

harness_flags calibrated(std::filesystem::path const& out) {
    harness_flags f = small_run(format_family::nvfp);
    f.scheme.a_bits = 4;
    f.gptq = true;
    f.calibration.num_sequences = 9;
    f.output.kind = export_kind::realquant;
    f.output.directory = out;
    return f;
}

std::string weights_in(std::filesystem::path const& dir) {
    return read_text(dir / "model.safetensors");
}

}  // namespace

TEST_CASE("a run on several ranks writes the bytes of one", "[pipeline]") {
    temporary_directory const dir;
    run_report const alone = go(calibrated(dir.path() / "1"));
    std::string const bytes = weights_in(dir.path() / "1");
    for (std::size_t const size : {1, 2, 4, 8}) {
        auto const out = dir.path() / ("on" + std::to_string(size));
        run_report const shared = on_ranks(size, calibrated(out), quiet);
        INFO(size);
        CHECK(weights_in(out) == bytes);
        CHECK(shared.ranks == size);
        CHECK(shared.evaluation->kl_mean == alone.evaluation->kl_mean);
        REQUIRE(shared.linears.size() == alone.linears.size());
        for (std::size_t i = 0; i < alone.linears.size(); ++i) {
            CHECK(to_json(shared.linears[i]) == to_json(alone.linears[i]));
        }
    }
}

TEST_CASE("a rank that fails ends all, and the next run goes on", "[pipeline]") {
    temporary_directory const dir;
    (void)go(calibrated(dir.path() / "1"));
    for (std::size_t const failing : {0, 1}) {
        auto const out = dir.path() / ("out" + std::to_string(failing));
        auto const fails = [&](std::size_t rank, progress_event const& event) {
            if (rank == failing && event.phase == "quantize" && event.done == 2) {
                fail_input("a rank", "test", "life", "death");
            }
        };
        CHECK_THROWS_WITH(on_ranks(2, calibrated(out), fails), Catch::Contains("death"));
        CHECK_FALSE(std::filesystem::exists(out));
        run_report const rest = on_ranks(2, calibrated(out), quiet);
        CHECK(std::count_if(rest.notes.begin(), rest.notes.end(), [](std::string const& note) {
                  return note.find("layers were done") != std::string::npos;
              }) == 1);
        CHECK(weights_in(out) == weights_in(dir.path() / "1"));
    }
}

TEST_CASE("ranks need a window each", "[pipeline]") {
    temporary_directory const dir;
    harness_flags f = calibrated(dir.path() / "out");
    f.calibration.num_sequences = 3;
    CHECK_THROWS_WITH(on_ranks(4, f, quiet),
                      Catch::Contains("num_sequences") && Catch::Contains("4 ranks"));
    CHECK_THROWS_WITH(thread_ranks(3), Catch::Contains("1, 2, 4 or 8"));
}

// SPDX-License-Identifier: Apache-2.0
// fpq-selftest: what to run first on a new card. Checks, or the speed of the engine as a table and
// charts. Exit code: 0 nothing failed, 1 something did, 5 no device.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>

#include "common/console.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "selftest/options.hpp"
#include "speed/charts.hpp"
#include "speed/table.hpp"
#if defined(FPQ_HAVE_GPU)
#include "selftest/gpu/checks.hpp"
#include "speed/gpu/measure.hpp"
#endif

namespace {

using fpq::tools::selftest_options;
using fpq::tools::speed_table;

/// The directory, made where it is not.
std::filesystem::path directory_of(selftest_options const& options) {
    std::filesystem::path where = options.save_path.empty() ? "fpq-speed" : options.save_path;
    std::error_code failed;
    std::filesystem::create_directories(where, failed);
    if (failed) {
        fpq::fail_input("cannot make a directory", where.string(), {}, failed.message());
    }
    return where;
}

void save_charts(speed_table const& table, std::filesystem::path const& where) {
    fpq::write_file_whole(where / "decode.svg", fpq::tools::decode_chart(table));
    fpq::write_file_whole(where / "prefill.svg", fpq::tools::prefill_chart(table));
    fmt::print("charts: {} and prefill.svg beside it\n", (where / "decode.svg").string());
}

void require_sense(selftest_options const& o) {
    if (o.line && !o.charts.empty()) {
        fpq::fail_usage("--charts", {}, "no --line: it draws what was timed before", "both");
    }
    if (!o.line && !o.shapes.empty()) {
        fpq::fail_usage("--shape", {}, "--line, which times it", "none");
    }
    if (!o.line && o.charts.empty() && !o.save_path.empty()) {
        fpq::fail_usage("--save_path", {}, "--line or --charts, which write there", "neither");
    }
}

#if defined(FPQ_HAVE_GPU)
int time_line(selftest_options const& options) {
    std::vector<fpq::tools::model_shape> shapes;
    for (std::size_t const at : options.shapes) {
        shapes.push_back(fpq::tools::model_shapes[at]);
    }
    if (shapes.empty()) {
        shapes.assign(fpq::tools::model_shapes.begin() + 1, fpq::tools::model_shapes.end());
    }
    std::filesystem::path const where = directory_of(options);
    std::filesystem::path const file = where / "speed.json";
    // After every line: a run that is stopped has written what it timed.
    speed_table const table = fpq::tools::time_shapes(
        shapes, {}, [&](speed_table const& so_far, std::string const& line) {
            fmt::print("{}\n", line);
            static_cast<void>(std::fflush(stdout));
            fpq::write_file_whole(file, json_of(so_far).dump(1) + "\n");
        });
    fmt::print("table: {}\n", file.string());
    save_charts(table, where);
    return 0;
}
#endif

int selftest(selftest_options const& options) {
    require_sense(options);
    if (!options.charts.empty()) {
        speed_table const table = fpq::tools::read_speed_table(options.charts);
        save_charts(table, directory_of(options));
        return 0;
    }
#if defined(FPQ_HAVE_GPU)
    return options.line ? time_line(options) : fpq::selftest::run_checks();
#else
    fpq::fail(fpq::error_category::device, "nothing was tested", {}, "a build with CUDA",
              "one for the CPU");
#endif
}

}  // namespace

int main(int argc, char** argv) {
    return fpq::tools::run_program("fpq-selftest", [&] {
        selftest_options options;
        return fpq::tools::take_all(fpq::tools::selftest_program(options), argc, argv,
                                    [&] { return selftest(options); });
    });
}

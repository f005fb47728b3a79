// SPDX-License-Identifier: Apache-2.0
// A run is stopped at ten steps of each of its phases, and at all of publishing; the same command
// goes on to the same bytes.
#include "fpq/pipeline/report_json.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "pipeline/line.hpp"
#include "pipeline/stopped_disk.hpp"
#include "support/sanitized.hpp"
#include "support/tiny_checkpoint.hpp"

using namespace fpq;
using namespace fpq_test;

namespace {

#if defined(FPQ_TEST_SANITIZED)
constexpr bool kills = false;
constexpr int stops = 3;
#else
constexpr bool kills = true;
constexpr int stops = 10;
#endif

enum phase : std::size_t { load, observe, solve, write, publish, phases };
constexpr std::array<char const*, phases> phase_names{"load", "observe", "solve", "write",
                                                      "publish"};

/// Steps of a run: calls on files, windows that are watched, linears that are solved.
struct {
    std::array<std::atomic<int>, phases> seen;
    std::size_t stop_in = phases;  // none
    int stop_at = 0;
    std::atomic<bool> in_layers = false;
    std::atomic<bool> flushes = false;
    std::atomic<bool> stopped = false;
} steps;

/// False from the step on at which the run is to be stopped.
bool step(phase where) {
    if (steps.seen[where]++ == steps.stop_at && where == steps.stop_in) {
        if (kills) {
            ::kill(::getpid(), SIGKILL);
        }
        steps.stopped = true;  // no file changes any more
    }
    return !steps.stopped;
}

bool disk_step(disk_call call) {
    if (call == disk_call::flush) {
        steps.flushes = true;
    }
    if (steps.flushes && call == disk_call::open) {
        return !steps.stopped;  // changes nothing
    }
    return step(steps.flushes ? publish : steps.in_layers ? write : load);
}

struct stopped {};

void layer_step(progress_event const& e) {
    if (e.phase == "quantize" && e.part > 0.0) {
        steps.in_layers = true;
        if (!step(e.detail.starts_with("window") ? observe : solve)) {
            throw stopped{};
        }
    }
}

/// Runs `r`, stopped at a step of a phase.
void run_until(recipe const& r, std::size_t stop_in, int stop_at) {
    cpu const b{1};
    for (std::atomic<int>& count : steps.seen) {
        count = 0;
    }
    steps.stop_in = stop_in;
    steps.stop_at = stop_at;
    steps.in_layers = steps.flushes = steps.stopped = false;
    on_disk_call = disk_step;
    try {
        (void)run(b, plan_run(b, r, shipped_architectures), shipped_architectures, layer_step);
    } catch (stopped const&) {
    } catch (error const&) {  // a file could not be changed
    }
    on_disk_call = nullptr;
}

void stop(recipe const& r, std::size_t stop_in, int stop_at) {
    if (!kills) {
        run_until(r, stop_in, stop_at);
        REQUIRE(steps.stopped);
        return;
    }
    ::pid_t const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        run_until(r, stop_in, stop_at);
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
}

using files = std::map<std::string, std::string>;

files files_of(std::filesystem::path const& dir) {
    files out;
    for (auto const& entry : std::filesystem::directory_iterator(dir)) {
        if (entry.is_regular_file()) {
            out[entry.path().filename().string()] = read_text(entry.path());
        }
    }
    return out;
}

/// What a loader looks at.
files loaded_of(files all) {
    std::erase_if(all, [](auto const& file) {
        return file.first != "config.json" && file.first.find(".safetensors") == std::string::npos;
    });
    return all;
}

}  // namespace

TEST_CASE("a run stopped at ten steps of every phase goes on to the same bytes", "[pipeline]") {
    take_fast_products();
    temporary_directory const dir;
    std::filesystem::path const out = dir.path() / "out";
    tiny_checkpoint_options options;
    options.layers = 3;
    options.vocabulary = 4096;
    options.tokenizer = repo_model("tiny-llama") / "tokenizer.json";
    harness_flags f = small_run(format_family::nvfp);
    f.model = make_tiny_checkpoint(dir.path() / "model", options);
    write_text(dir.path() / "text.txt", read_text(f.calibration.dataset).substr(0, 8000));
    f.calibration.dataset = (dir.path() / "text.txt").string();
    f.calibration.num_sequences = 4;
    f.gptq = true;
    f.evaluation = {};
    f.output.kind = export_kind::realquant;
    f.output.directory = dir.path() / "old";
    f.output.max_shard_size = 200'000;  // another generation: shards and an index
    (void)go(f);
    files const old = files_of(dir.path() / "old");
    REQUIRE(old.contains("model.safetensors.index.json"));
    f.output.max_shard_size = harness_flags{}.output.max_shard_size;
    f.scheme.a_bits = 16;
    f.output.directory = dir.path() / "alone";
    run_report const alone = go(f);
    files const right = files_of(dir.path() / "alone");
    f.output.directory = out;
    std::vector<std::string> notes;
    recipe const r = recipe_of(f, notes);
    for (bool const there : {false, true}) {
        auto const prepare = [&] {
            std::filesystem::remove_all(out);
            if (there) {
                std::filesystem::copy(dir.path() / "old", out);
            }
        };
        prepare();
        run_until(r, phases, 0);
        REQUIRE(files_of(out) == right);
        std::array<int, phases> of{};
        for (std::size_t p = 0; p < phases; ++p) {
            of[p] = steps.seen[p];
            INFO(phase_names[p] << ": " << of[p]);
            REQUIRE(of[p] >= 10);
        }
        for (std::size_t p = 0; p < phases; ++p) {
            // Publishing at every step, where that is fast. What the phases before leave does not
            // depend on what stands in the target.
            int const points = p == publish && kills ? of[p] : stops;
            for (int k = there && p != publish ? points - 1 : 0; k < points; ++k) {
                int const at = k * (of[p] - 1) / (points - 1);
                INFO(phase_names[p] << ", step " << at << " of " << of[p]
                                    << (there ? ", onto an older export" : ""));
                prepare();
                stop(r, p, at);
                files const left =
                    std::filesystem::exists(out) ? loaded_of(files_of(out)) : files{};
                if (left.contains("config.json")) {
                    CHECK((left == loaded_of(old) || left == loaded_of(right)));
                }
                run_report const report = go(r, shipped_architectures);
                CHECK(to_json(report)["linears"] == to_json(alone)["linears"]);
                CHECK(files_of(out) == right);
                CHECK_FALSE(std::filesystem::exists(out / ".fpq-partial"));
                CHECK_FALSE(std::filesystem::exists(dir.path() / "out.partial"));
            }
        }
    }
}

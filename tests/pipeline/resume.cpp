// SPDX-License-Identifier: Apache-2.0
// A run that was killed and one that goes on end in the bytes and the report of a run alone.
#include "fpq/pipeline/output_files.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "fpq/io/file/staging_directory.hpp"
#include "fpq/pipeline/report_json.hpp"
#include "pipeline/line.hpp"
#include "support/sanitized.hpp"
#include "support/tiny_checkpoint.hpp"

using namespace fpq;
using namespace fpq_test;

namespace {

std::filesystem::path small_model(std::filesystem::path const& dir) {
    tiny_checkpoint_options options;
    options.layers = 4;
    options.vocabulary = 4096;
    options.tied = false;
    options.tokenizer = repo_model("tiny-llama") / "tokenizer.json";
    return make_tiny_checkpoint(dir, options);
}

harness_flags flags_for(std::filesystem::path const& model, std::filesystem::path const& out,
                        format_family family) {
    harness_flags f = small_run(family);
    f.model = model;
    f.gptq = true;
    f.calibration.num_sequences = 4;
    f.output.kind = export_kind::realquant;
    f.output.directory = out;
    return f;
}

recipe recipe_for(harness_flags const& f) {
    std::vector<std::string> notes;
    return recipe_of(f, notes);
}

std::map<std::string, std::string> bytes_of(std::filesystem::path const& dir) {
    std::map<std::string, std::string> out;
    for (auto const& entry : std::filesystem::directory_iterator(dir)) {
        if (entry.is_regular_file()) {
            out[entry.path().filename().string()] = read_text(entry.path());
        }
    }
    return out;
}

/// What a repeated run must tell again.
nlohmann::json figures(run_report const& report) {
    nlohmann::json all = to_json(report);
    return {{"linears", all["linears"]},
            {"evaluation", all["evaluation"]},
            {"bytes", all["quantized_bytes"]},
            {"tokens", all["calibration_tokens"]}};
}

std::string notes_of(run_report const& report) {
    std::string out;
    for (std::string const& note : report.notes) {
        out += note + "\n";
    }
    return out;
}

struct stopped {};

/// Runs `r` until its event `last` (from 1) of a finished layer and throws there: what is on disk
/// is what a kill leaves.
bool stopped_at(recipe const& r, int last) {
    int seen = 0;
    cpu const b{2};
    try {
        (void)run(b, plan_run(b, r, shipped_architectures), shipped_architectures,
                  [&](progress_event const& e) {
                      if (e.phase == "quantize" && e.part == 0.0 && ++seen == last) {
                          throw stopped{};
                      }
                  });
    } catch (stopped const&) {
        return true;
    }
    return false;
}

#if defined(FPQ_TEST_SANITIZED)
bool killed(recipe const& r, int last) { return stopped_at(r, last); }
#else
#define FPQ_TEST_KILLS
/// Runs `r` in a child that gets SIGKILL at its event `last`, see stopped_at, or after
/// `microseconds`. False when it came to its end before.
bool killed(recipe const& r, int last, useconds_t microseconds = 0) {
    ::pid_t const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        int seen = 0;
        cpu const b{1};
        try {
            (void)run(b, plan_run(b, r, shipped_architectures), shipped_architectures,
                      [&](progress_event const& e) {
                          if (e.phase == "quantize" && e.part == 0.0 && ++seen == last) {
                              ::kill(::getpid(), SIGKILL);
                          }
                      });
        } catch (error const&) {
            ::_exit(1);
        }
        ::_exit(0);
    }
    if (microseconds > 0) {
        ::usleep(microseconds);
        ::kill(child, SIGKILL);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE((WIFSIGNALED(status) || WEXITSTATUS(status) == 0));
    return WIFSIGNALED(status);
}
#endif

struct layout_case {
    format_family family;
    int a_bits;
    bool hadamard;
    export_kind kind;
    char const* layout;
    smooth_rule smooth = smooth_rule::none;
};

}  // namespace

TEST_CASE("a killed run goes on at the next layer and ends in the same bytes", "[pipeline]") {
    take_fast_products();
    temporary_directory const dir;
    std::filesystem::path const model = small_model(dir.path() / "model");
    for (layout_case const& c :
         {layout_case{format_family::nvfp, 4, false, export_kind::realquant, "compressed-tensors",
                      smooth_rule::awq},
          layout_case{format_family::mxfp, 4, true, export_kind::realquant, "fp_quant"},
          layout_case{format_family::nvfp, 4, false, export_kind::pseudoquant, "fp_quant"},
          layout_case{format_family::mxfp, 16, false, export_kind::realquant, "auto"}}) {
        harness_flags f = flags_for(model, dir.path() / "alone", c.family);
        f.scheme.a_bits = c.a_bits;
        f.scheme.transform = c.hadamard ? transform_kind::hadamard : transform_kind::identity;
        f.scheme.transform_block = 32;
        f.scheme.w_group_size = f.scheme.a_group_size = 32;
        f.output.kind = c.kind;
        f.output.layout = c.layout;
        f.smooth = c.smooth;
        INFO(c.layout << " " << static_cast<int>(c.family));
        run_report const alone = go(f);
        auto const expected = bytes_of(dir.path() / "alone");
        f.output.directory = dir.path() / "out";
        for (int const last : {1, 3, 4}) {
            REQUIRE(killed(recipe_for(f), last));
            CHECK_FALSE(std::filesystem::exists(dir.path() / "out"));
            std::size_t repeated = 0;
            cpu const b{2};
            run_report const report =
                run(b, plan_run(b, recipe_for(f), shipped_architectures), shipped_architectures,
                    [&](progress_event const& e) { repeated += e.phase == "repeat" ? 1 : 0; });
            CHECK(repeated == static_cast<std::size_t>(last));
            CHECK(figures(report) == figures(alone));
            CHECK(bytes_of(dir.path() / "out") == expected);
            CHECK_FALSE(std::filesystem::exists(dir.path() / "out.partial"));
            std::filesystem::remove_all(dir.path() / "out");
        }
        std::filesystem::remove_all(dir.path() / "alone");
    }
}

#ifdef FPQ_TEST_KILLS
TEST_CASE("a run that is killed again and again, wherever it is, comes to its end", "[pipeline]") {
    take_fast_products();
    temporary_directory const dir;
    std::filesystem::path const model = small_model(dir.path() / "model");
    harness_flags f = flags_for(model, dir.path() / "alone", format_family::nvfp);
    run_report const alone = go(f);
    auto const expected = bytes_of(dir.path() / "alone");
    char const* const many = std::getenv("FPQ_KILLS");  // some hundred: every phase is hit
    int const kills = many == nullptr ? 6 : std::atoi(many);
    philox const dice{20261126, 0};
    for (int i = 0; i < kills;) {
        f.output.directory = dir.path() / "out";
        std::filesystem::create_directory(f.output.directory);  // there: moved in place
        write_text(f.output.directory / "notes.txt", "mine");
        bool cut = true;
        for (int again = 0; cut && again < 3; ++again, ++i) {
            double const part = static_cast<double>(dice.at(static_cast<std::uint64_t>(i))) /
                                static_cast<double>(~std::uint32_t{0});
            cut =
                killed(recipe_for(f), 0, static_cast<useconds_t>(1 + part * alone.seconds * 1.2e6));
            bool const loads = std::filesystem::exists(f.output.directory / "config.json");
            CHECK(loads ==
                  (std::filesystem::exists(f.output.directory / "model.safetensors") && loads));
        }
        run_report const report = go(f);
        CHECK(figures(report) == figures(alone));
        auto found = bytes_of(f.output.directory);
        CHECK(found.erase("notes.txt") == 1);
        CHECK(found == expected);
        std::filesystem::remove_all(f.output.directory);
    }
}
#endif

TEST_CASE("a run that ends in an error goes on at the next layer too", "[pipeline]") {
    take_fast_products();
    temporary_directory const dir;
    std::filesystem::path const model = small_model(dir.path() / "model");
    harness_flags f = flags_for(model, dir.path() / "alone", format_family::nvfp);
    run_report const alone = go(f);
    f.output.directory = dir.path() / "out";
    REQUIRE(stopped_at(recipe_for(f), 2));
    CHECK(std::filesystem::exists(dir.path() / "out.partial"));
    CHECK(figures(go(f)) == figures(alone));
    CHECK(bytes_of(dir.path() / "out") == bytes_of(dir.path() / "alone"));
}

TEST_CASE("another recipe is refused where a run was interrupted, unless it restarts",
          "[pipeline]") {
    take_fast_products();
    temporary_directory const dir;
    std::filesystem::path const model = small_model(dir.path() / "model");
    harness_flags f = flags_for(model, dir.path() / "out", format_family::nvfp);
    f.evaluation = {};
    REQUIRE(killed(recipe_for(f), 2));
    harness_flags other = f;
    other.calibration.seed += 1;
    CHECK_THROWS_WITH(go(other), Catch::Contains("--restart") && Catch::Contains("another recipe"));
    auto const rehearsed = [](harness_flags const& flags, bool restart) {
        cpu const b{1};
        run_plan plan = plan_run(b, recipe_for(flags), shipped_architectures);
        plan.restart = restart;
        (void)rehearse(b, plan, shipped_architectures, no_progress);
    };
    CHECK_THROWS_WITH(rehearsed(other, false), Catch::Contains("another recipe"));
    CHECK_NOTHROW(rehearsed(other, true));
    CHECK_NOTHROW(rehearsed(f, false));
    CHECK(std::filesystem::exists(dir.path() / "out.partial"));
    other = f;
    other.gptq = false;  // which knows the model by other means
    other.calibration.dataset.clear();
    CHECK_THROWS_WITH(go(other), Catch::Contains("another recipe"));
    other = f;
    other.calibration.seed += 1;
    std::string bytes = read_text(model / "model.safetensors");
    bytes.back() ^= 1;  // another model of the same shapes
    write_text(model / "model.safetensors", bytes);
    CHECK_THROWS_WITH(go(f), Catch::Contains("another model"));
    cpu const b{1};
    run_plan plan = plan_run(b, recipe_for(other), shipped_architectures);
    plan.restart = true;
    (void)run(b, plan, shipped_architectures, no_progress);
    CHECK(std::filesystem::exists(dir.path() / "out" / "config.json"));
    CHECK_FALSE(std::filesystem::exists(dir.path() / "out.partial"));
}

TEST_CASE("a layer whose bytes are no longer what was written is done again", "[pipeline]") {
    take_fast_products();
    temporary_directory const dir;
    std::filesystem::path const model = small_model(dir.path() / "model");
    harness_flags f = flags_for(model, dir.path() / "alone", format_family::nvfp);
    f.evaluation = {};
    (void)go(f);
    f.output.directory = dir.path() / "out";
    REQUIRE(killed(recipe_for(f), 3));
    std::filesystem::path const shard = dir.path() / "out.partial" / "model.safetensors";
    {
        // A byte of layer 1 changes, as a disk may lose it when the power fails.
        checkpoint const written(dir.path() / "out.partial");
        std::string bytes = read_text(shard);
        std::span<std::byte const> const codes =
            written.at("model.layers.1.mlp.up_proj.weight_packed").bytes;
        std::string const found(reinterpret_cast<char const*>(codes.data()), codes.size());
        bytes[bytes.find(found)] ^= 1;
        write_text(shard, bytes);
    }
    std::string said = notes_of(go(f));
    CHECK_THAT(said, Catch::Contains("1 of 4 layers were done") &&
                         Catch::Contains("2 of 3 layers that an interrupted run had finished are "
                                         "done again: bytes of layer 1 differ"));
    CHECK(bytes_of(dir.path() / "out") == bytes_of(dir.path() / "alone"));
    // A file that was cut short costs all of it, which is said, too.
    for (char const* const cut : {"config.json", "model.safetensors"}) {
        f.output.directory = dir.path() / cut;
        REQUIRE(killed(recipe_for(f), 3));
        auto const file = dir.path() / (std::string(cut) + ".partial") / cut;
        std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
        said = notes_of(go(f));
        CHECK_THAT(said, Catch::Contains("3 of 3 layers that an interrupted run had finished are "
                                         "done again: ") &&
                             Catch::Contains(cut));
        CHECK(bytes_of(dir.path() / cut) == bytes_of(dir.path() / "alone"));
    }
}

TEST_CASE("a run goes on when its directory has appeared meanwhile", "[pipeline]") {
    take_fast_products();
    temporary_directory const dir;
    std::filesystem::path const model = small_model(dir.path() / "model");
    harness_flags f = flags_for(model, dir.path() / "alone", format_family::nvfp);
    f.evaluation = {};
    (void)go(f);
    f.output.directory = dir.path() / "out";
    REQUIRE(killed(recipe_for(f), 3));
    std::filesystem::create_directory(dir.path() / "out");
    CHECK_THAT(notes_of(go(f)), Catch::Contains("3 of 4 layers were done"));
    CHECK(bytes_of(dir.path() / "out") == bytes_of(dir.path() / "alone"));
    CHECK_FALSE(std::filesystem::exists(dir.path() / "out.partial"));
}

TEST_CASE("somebody else's file in the work of an interrupted run is refused, not published",
          "[pipeline]") {
    take_fast_products();
    temporary_directory const dir;
    harness_flags f =
        flags_for(small_model(dir.path() / "model"), dir.path() / "out", format_family::nvfp);
    f.evaluation = {};
    REQUIRE(killed(recipe_for(f), 2));
    auto const theirs = dir.path() / "out.partial" / "notes.txt";
    write_text(theirs, "theirs");
    cpu const b{2};
    run_plan plan = plan_run(b, recipe_for(f), shipped_architectures);
    CHECK_THROWS_WITH(rehearse(b, plan, shipped_architectures, no_progress),
                      Catch::StartsWith("in the way") && Catch::Contains("notes.txt"));
    CHECK_THROWS_WITH(go(f), Catch::StartsWith("in the way") && Catch::Contains("notes.txt"));
    CHECK(read_text(theirs) == "theirs");
    CHECK_FALSE(can_go_on(*plan.output, plan.model));
    std::filesystem::remove(theirs);
    CHECK(can_go_on(*plan.output, plan.model));
    std::filesystem::create_directory(dir.path() / "out");
    write_text(dir.path() / "out" / "model.safetensors", "a checkpoint of somebody else");
    CHECK_FALSE(can_go_on(*plan.output, plan.model));
    std::filesystem::remove_all(dir.path() / "out");
    CHECK_THAT(notes_of(go(f)), Catch::Contains("2 of 4 layers were done"));
}

// SPDX-License-Identifier: Apache-2.0
// fpq-quantize: options -> recipe -> plan -> run -> exit code.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/console.hpp"
#include "common/device.hpp"
#include "common/do_both.hpp"
#include "common/places.hpp"
#include "common/products.hpp"
#include "common/world.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/core/hosted/ranks.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/io/file/staging_directory.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/pipeline/line.hpp"
#include "fpq/pipeline/output_files.hpp"
#include "fpq/pipeline/recipe_json.hpp"
#include "line/calls.hpp"
#include "logs/run_logs.hpp"
#include "quantize/files.hpp"
#include "quantize/options.hpp"
#include "quantize/print.hpp"
#include "tasks/lm_eval.hpp"
#include "tasks/print_scores.hpp"

namespace {

/// Notes as they become known, each once, on rank 0.
class note_printer {
public:
    void operator()(std::vector<std::string> const& notes) {
        if (fpq::tools::world().rank() != 0) {
            return;
        }
        for (std::string const& note : notes) {
            if (said_.insert(note).second) {
                fpq::tools::say("note: {}\n", fpq::detail::printable(note, 400));
            }
        }
    }

private:
    std::set<std::string> said_;
};

/// A report, and what computed it.
struct finished_run {
    fpq::run_report report;
    std::string products;
};

/// The plan of a recipe on a backend, and the run of it or what can be told without one. The report
/// is there after a run, on rank 0.
template <class B>
int quantize_on(B const& backend, fpq::tools::chosen_device const& device,
                fpq::recipe const& recipe, fpq::tools::run_options const& options,
                fpq::tools::given_options const& given, note_printer& say_notes,
                fpq::tools::run_logs& logs, std::optional<finished_run>& finished) {
    auto const products_of = [&] {
        return device.gpu ? device.name
                          : fpq::tools::choose_products(options.products, backend.threads);
    };
    fpq::rank_group& world = fpq::tools::world();
    bool const speaks = world.rank() == 0;
    fpq::run_plan plan;
    fpq::tools::agree(world, [&] {
        plan = fpq::plan_run(backend, recipe, fpq::shipped_architectures);
        for (std::filesystem::path const& file : {options.report, options.save_recipe}) {
            if (!file.empty() && speaks) {
                fpq::require_writable_file(file, 1024 + 64 * plan.entries.size());
            }
        }
        if (speaks) {
            fpq::tools::check_tasks(recipe.evaluation.tasks, plan.model,
                                    [&](auto const& note) { say_notes({note}); });
        }
        if (speaks && !options.dry_run) {
            logs.open(to_json(recipe));
        }
    });
    say_notes(fpq::tools::idle_flags(given, recipe, plan.schemes, options));
    plan.restart = options.restart;
    if (options.dry_run && !speaks) {
        return 0;
    }
    if (options.dry_run) {
        (void)products_of();
        fpq::rehearsal const seen = [&] {
            fpq::tools::progress_printer progress(options.verbose);
            return fpq::rehearse(backend, plan, fpq::shipped_architectures, std::ref(progress));
        }();
        fpq::tools::save_recipe(recipe, options.save_recipe);
        fmt::print("{}", fpq::describe_plan(plan, seen));
        return 0;
    }
    say_notes(plan.notes);
    std::string const products = products_of();
    std::string const left = " is left: the same command goes on with it, --restart discards it";
    std::filesystem::path const staging =
        plan.output ? fpq::staging_path(plan.output->directory) : std::filesystem::path();
    if (speaks) {
        fpq::tools::on_interruption(staging.string(), left);
    }
    fpq::run_report report;
    try {
        fpq::tools::progress_printer progress(options.verbose);  // ends its line before the report
        auto const one_rank = [&](B const& own, fpq::rank_group& ranks) {
            if (ranks.rank() == 0) {
                auto const watch = [&](fpq::progress_event const& event) {
                    progress(event);
                    if (event.found != nullptr) {
                        logs.take(*event.found);
                    }
                };
                report = fpq::run(own, plan, fpq::shipped_architectures, watch, ranks);
            } else {
                (void)fpq::run(
                    own, plan, fpq::shipped_architectures, [](fpq::progress_event const&) {},
                    ranks);
            }
        };
        if (world.size() > 1) {
            one_rank(backend, world);
        } else {
            fpq::tools::on_every_card(device, backend, one_rank);
        }
    } catch (fpq::error const& why) {
        if (why.category() != fpq::error_category::usage && plan.output &&
            fpq::can_go_on(*plan.output, plan.model)) {
            say_notes({staging.string() + left});
        }
        throw;
    }
    if (!speaks) {
        return 0;
    }
    report.commit = FPQ_COMMIT;
    say_notes(report.notes);
    // First, so that the figures are seen whatever becomes of the files.
    fpq::tools::print_report(report, products, options.verbose);
    static_cast<void>(std::fflush(stdout));
    fpq::tools::save_recipe(recipe, options.save_recipe);
    finished = {std::move(report), products};
    return 0;
}

/// The tasks of a recipe on what was written, and the report with or without them. The backend is
/// gone by now: a card's memory is the server's.
void evaluate_and_report(finished_run run, fpq::recipe const& recipe,
                         fpq::tools::run_options const& options, fpq::tools::run_logs& logs) {
    auto const save_report = [&] {
        if (!options.report.empty()) {
            fpq::tools::save_report(run.report, run.products, options.report);
        }
    };
    // The report first: a log may wait for a network, and can be interrupted there.
    auto const save = [&] { fpq::tools::do_both(save_report, [&] { logs.finish(run.report); }); };
    if (recipe.evaluation.tasks.names.empty()) {
        return save();
    }
    save_report();  // tasks take hours; what was found is there meanwhile
    try {
        run.report.tasks = fpq::tools::run_tasks(
            recipe.evaluation.tasks, {run.report.directory, options.device, recipe.threads},
            [](std::string const& line) { fpq::tools::say("{}\n", line); });
    } catch (...) {
        save();  // the run itself is done
        throw;
    }
    fpq::tools::print_scores(*run.report.tasks);
    save();
}

/// `config`: every flag with its value, for a log.
int quantize(fpq::harness_flags const& flags, fpq::tools::run_options const& options,
             fpq::tools::given_options const& given, nlohmann::json const& config) {
    note_printer say_notes;
    say_notes(given.notes);
    fpq::rank_group& world = fpq::tools::world();
    std::vector<std::string> notes;
    fpq::recipe recipe;
    fpq::tools::chosen_device device;
    fpq::tools::agree(world, [&] {
        recipe = fpq::recipe_of(flags, notes);
        say_notes(notes);
        if (world.rank() == 0) {
            fpq::tools::check_written_file("report", options.report, recipe);
            fpq::tools::check_written_file("save_recipe", options.save_recipe, recipe);
            fpq::tools::check_log_directory(options.logs.directory, recipe);
        }
        fpq::tools::check_apart("log_dir", options.logs.directory, "--report", options.report);
        fpq::tools::check_apart("log_dir", options.logs.directory, "--save_recipe",
                                options.save_recipe);
        if (!options.save_recipe.empty() && options.save_recipe == options.report) {
            fpq::fail_usage("report", options.report.string(), "another file than --save_recipe",
                            "the same");
        }
        device = fpq::tools::choose_device(options.device);
        if (world.size() > 1 && device.indices.size() > 1) {
            fpq::fail_usage("--device " + options.device, {}, "one card for each process of mpirun",
                            std::to_string(device.indices.size()) + " cards");
        }
    });
    if (!device.note.empty()) {
        say_notes({device.note});
    }
    int const threads = recipe.threads > 0 ? recipe.threads : fpq::tools::default_threads();
    if (!device.gpu && options.memory.device != 0) {
        say_notes({"--gpu_memory: this run computes on the CPU"});
    }
    fpq::tools::run_logs logs(options.logs, config,
                              [&](std::string const& line) { say_notes({line}); });
    std::optional<finished_run> finished;
    int const code =
        fpq::tools::on_device(device, threads, options.memory, [&](auto const& backend) {
            return quantize_on(backend, device, recipe, options, given, say_notes, logs, finished);
        });
    if (finished) {
        evaluate_and_report(*std::move(finished), recipe, options, logs);
    }
    return code;
}

}  // namespace

int main(int argc, char** argv) {
    int const code = fpq::tools::run_program("fpq-quantize", [&] {
        fpq::rank_group& world = fpq::tools::world();
        fpq::harness_flags flags;
        fpq::tools::run_options options;
        fpq::tools::program_spec program;
        fpq::tools::command_line line;
        fpq::tools::agree(world, [&] {
            program = fpq::tools::quantize_program(flags, options);
            line = fpq::tools::read_command_line(program, argc, argv);
        });
        if (!line.help.empty()) {
            if (world.rank() == 0) {
                fmt::print("{}", line.help);
            }
            return 0;
        }
        auto const device = line.values.find("device");
        fpq::tools::enter_device_program(device == line.values.end() ? options.device
                                                                     : device->second.back());
        fpq::tools::given_options given;
        fpq::tools::agree(world, [&] {
            auto const file = line.values.find("recipe");
            bool const from_recipe = file != line.values.end();
            if (from_recipe) {
                flags = fpq::tools::read_recipe(file->second.back());
            }
            given = fpq::tools::take_quantize_flags(program, line, flags, from_recipe);
        });
        return quantize(flags, options, given,
                        fpq::tools::flag_values(program, line, line.values.contains("recipe")));
    });
    return fpq::tools::leave_world(code);
}

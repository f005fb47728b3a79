// SPDX-License-Identifier: Apache-2.0
// Runs for the two-sided objective: layers are solved within the backward pass, from the top down,
// and written from the bottom up.
#include "fpq/pipeline/layer_work.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/backend/cpu/forward.hpp"
#include "fpq/backend/cpu/load.hpp"
#include "fpq/backend/cpu/solve.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/ranks.hpp"
#include "fpq/pipeline/line.hpp"
#include "line/backward.hpp"
#include "line/instances.hpp"
#include "line/models.hpp"
#include "pipeline/line.hpp"
#include "solve/moments.hpp"
#include "support/files.hpp"
#include "support/sanitized.hpp"

using namespace fpq;
using fpq_test::go;
using fpq_test::read_text;
using fpq_test::repo_model;
using fpq_test::small_run;
using fpq_test::temporary_directory;
using fpq_test::written_kl;

namespace {

/// Windows of a run: backward passes are slow under sanitizers.
#if defined(FPQ_TEST_SANITIZED)
constexpr std::size_t few = 2;
#else
constexpr std::size_t few = 8;
#endif

harness_flags two_sided_run(format_family family) {
    harness_flags f = small_run(family);
    f.calibration.dataset = (fpq_test::repo_dir() / "examples" / "text" / "calib.txt").string();
    f.gptq = f.two_sided = true;
    f.order = quant_order::activation;
    f.calibration.num_sequences = few;
    return f;
}

std::string why_not(harness_flags const& f) {
    std::vector<std::string> notes;
    try {
        (void)plan_run(cpu{1}, recipe_of(f, notes), shipped_architectures);
    } catch (fpq::error const& why) {
        return why.what();
    }
    return {};
}

/// A linear of a run: its weights as the rounding sees them, what was found of it, the largest size
/// of its inputs, transformed.
struct seen_linear {
    scheme const& how;
    cpu::const_view w;
    gradient_statistics<cpu> const& found;
    float input_amax;
};

/// each(seen_linear) of f's run, every transform made here.
template <class F>
void each_linear(harness_flags const& f, F const& each) {
    std::vector<std::string> notes;
    cpu const b{2};
    run_plan const plan = plan_run(b, recipe_of(f, notes), shipped_architectures);
    opened_model<cpu> const model(b, f.model, shipped_architectures);
    token_windows const windows = read_windows(b, plan, model, fpq_test::no_progress).calibration;
    REQUIRE(windows.size() == few);
    decoder<cpu> const network = model.network();
    lone_rank alone;
    gradient_options options;
    options.labels.seed = plan.calibration.seed;
    options.keep_every = 2;  // changes nothing
    progress_sink const quiet = fpq_test::no_progress;
    gradient_sweep<cpu> sweep(
        b, alone, network,
        [&](std::size_t layer) { return load_layer(b, model.source(), model.graph(), layer); },
        windows, options, 0, quiet);
    scheme const& common = plan.schemes.front();
    REQUIRE(plan.schemes.size() == 1);
    block_transform const turn = transform_of(common.transform);
    std::map<tap, float> largest;  // of the layer at hand
    auto const solve = [&](std::size_t, decoder_layer<cpu>& layer,
                           std::vector<gradient_statistics<cpu>> const& found) {
        for (gradient_statistics<cpu> const& g : found) {
            cpu::view const w = layer.linears[g.node->row].weight.view();
            turn.apply_to_weights(w, 2);
            each(seen_linear{common, w, g, largest.at(g.node->input)});
        }
        largest.clear();
    };
    static_cast<void>(sweep.run(solve, [&](std::size_t, tap input, cpu::view x) {
        turn.apply_to_inputs(x, 2);
        largest[input] = std::max(largest[input], amax(b, x));
    }));
}

/// Without a global scale that follows from the weights.
solve_result solved_alone(harness_flags const& f, seen_linear const& seen, hessian const& outputs) {
    quant_args const& args = *seen.how.weight;
    return solve_two_sided(cpu{2}, seen.w, seen.found.inputs, outputs, f.order, f.rel_damp,
                           std::numeric_limits<std::size_t>::max(), args,
                           global_scale_of(args, 0.0F), "linear");
}

}  // namespace

TEST_CASE("a two-sided run solves every linear on the statistics of its own gradients",
          "[pipeline]") {
    harness_flags f = two_sided_run(format_family::mxfp);
    f.evaluation.perplexity = false;
    run_report const report = go(f);
    std::map<std::string, double> expected;
    each_linear(f, [&](seen_linear const& seen) {
        expected[seen.found.node->module] =
            solved_alone(f, seen, *seen.found.outputs).report.relative_error;
    });
    REQUIRE(report.linears.size() == 28);
    // In the order of the model, though the last layer was solved first.
    CHECK(report.linears.front().module == "model.layers.0.self_attn.q_proj");
    for (linear_report const& line : report.linears) {
        INFO(line.module);
        REQUIRE(line.relative_error);
        CHECK(*line.relative_error == expected.at(line.module));
        CHECK(*line.relative_error > 0.0);
    }
}

#if !defined(FPQ_TEST_SANITIZED)  // the same code as above, for minutes
TEST_CASE("two-sided under a transform, inputs and weights are as the rounding sees them",
          "[pipeline]") {
    harness_flags f = two_sided_run(format_family::mxfp);
    f.evaluation.perplexity = false;
    f.scheme.transform = transform_kind::random_hadamard;  // its matrix is not symmetric
    f.scheme.transform_block = 32;
    run_report const report = go(f);
    REQUIRE(report.linears.size() == 28);
    std::map<std::string, double> found;
    for (linear_report const& line : report.linears) {
        found[line.module] = line.relative_error.value();
    }
    each_linear(f, [&](seen_linear const& seen) {
        std::string const& module = seen.found.node->module;
        hessian const& inputs = seen.found.inputs;
        quant_args const& args = *seen.how.weight;
        INFO(module);
        solve_result const both = solved_alone(f, seen, *seen.found.outputs);
        CHECK(found.at(module) == both.report.relative_error);
        solve_result one = solve_gptq(cpu{2}, seen.w, inputs,
                                      factor_moment(cpu{2}, inputs, f.order, f.rel_damp, module),
                                      args, global_scale_of(args, 0.0F), module);
        hessian const equal =
            fpq_test::diagonal_moment(seen.w.rows, [](std::size_t) { return 1.0F; });
        CHECK(solved_alone(f, seen, equal).weight.codes == one.weight.codes);
        two_sided_report(seen.w, inputs, *seen.found.outputs, 2, one);
        CHECK(both.report.relative_error < one.report.relative_error);
    });
}

TEST_CASE("two-sided, inputs get the global scale of what the original model's tap holds",
          "[pipeline]") {
    harness_flags f = two_sided_run(format_family::nvfp);
    f.evaluation.perplexity = false;
    f.scheme.a_bits = 4;
    f.scheme.pow2_global_scale = false;  // every size shows
    f.scheme.transform = transform_kind::hadamard;
    f.scheme.transform_block = 32;
    run_report const report = go(f);
    std::map<std::string, float> found;
    for (linear_report const& line : report.linears) {
        found[line.module] = line.input_global_scale;
    }
    REQUIRE(found.size() == 28);
    each_linear(f, [&](seen_linear const& seen) {
        INFO(seen.found.node->module);
        CHECK(found.at(seen.found.node->module) ==
              global_scale_of(*seen.how.input, seen.input_amax));
    });
}

TEST_CASE("a two-sided export is what the run evaluated, on any number of threads", "[pipeline]") {
    temporary_directory const out;
    bool const turned = GENERATE(false, true);
    harness_flags f = two_sided_run(turned ? format_family::mxfp : format_family::nvfp);
    f.scheme.a_bits = 4;
    if (turned) {  // with the 3 that FP-Quant's rule has as a global scale
        f.scheme.transform = transform_kind::hadamard;
        f.scheme.transform_block = 32;
    }
    f.polish = 1;
    f.output.kind = export_kind::realquant;
    f.output.directory = out.path() / "one";
    f.threads = 1;
    run_report const report = go(f);
    for (std::string const& note : report.notes) {
        INFO(note);
        CHECK_FALSE(note.starts_with("verify: "));
    }
    CHECK(std::fabs(written_kl(f) - report.evaluation->kl_mean) < 1e-6);
    f.output.directory = out.path() / "three";
    f.threads = 3;
    (void)go(f);
    CHECK(read_text(out.path() / "one" / "model.safetensors") ==
          read_text(out.path() / "three" / "model.safetensors"));
}

TEST_CASE("a two-sided run on two ranks writes the bytes of one", "[pipeline]") {
    temporary_directory const out;
    harness_flags f = two_sided_run(format_family::nvfp);
    f.joint = 1;
    f.scheme.a_bits = 4;
    f.scheme.pow2_global_scale = false;
    f.output.kind = export_kind::realquant;
    f.output.directory = out.path() / "one";
    run_report const alone = go(f);
    f.output.directory = out.path() / "two";
    std::vector<std::string> notes;
    recipe const r = recipe_of(f, notes);
    run_report shared;
    on_thread_ranks(thread_ranks(2), 2, [&](rank_group& ranks) {
        cpu const b{1};
        run_report mine = run(b, plan_run(b, r, shipped_architectures), shipped_architectures,
                              fpq_test::no_progress, ranks);
        if (ranks.rank() == 0) {
            shared = std::move(mine);
        }
    });
    CHECK(read_text(out.path() / "one" / "model.safetensors") ==
          read_text(out.path() / "two" / "model.safetensors"));
    CHECK(shared.evaluation->kl_mean == alone.evaluation->kl_mean);
}

TEST_CASE("two-sided, linears whose outputs do not fit the memory are solved for inputs alone",
          "[pipeline]") {
    harness_flags f = two_sided_run(format_family::mxfp);
    f.evaluation.perplexity = false;
    std::vector<std::string> notes;
    recipe const r = recipe_of(f, notes);
    cpu b{2};
    b.budget.host = 4 << 20;
    run_plan const plan = plan_run(b, r, shipped_architectures);
    REQUIRE(plan.guided.size() == 8);
    CHECK(plan.guided.front() == "model.layers.0.mlp.gate_proj");
    CHECK(plan.peak_memory < plan_run(cpu{2}, r, shipped_architectures).peak_memory);
    run_report const report = run(b, plan, shipped_architectures, fpq_test::no_progress);
    CHECK(std::count_if(report.notes.begin(), report.notes.end(), [](std::string const& note) {
              return note.starts_with("--host_memory 4194304: 8 of 28 linears");
          }) == 1);
    std::map<std::string, double> guided;
    for (linear_report const& line : report.linears) {
        INFO(line.module);
        bool const wide = line.kind == "mlp.gate_proj" || line.kind == "mlp.up_proj";
        CHECK(line.objective == (wide ? solve_objective::guided : solve_objective::two_sided));
        CHECK((line.row_damping > 0.0) == !wide);
        if (wide) {
            guided[line.module] = line.relative_error.value();
        }
    }
    each_linear(f, [&](seen_linear const& seen) {
        auto const at = guided.find(seen.found.node->module);
        if (at != guided.end()) {
            hessian const& inputs = seen.found.inputs;
            gptq_factor const factor = factor_moment(b, inputs, f.order, f.rel_damp, at->first);
            CHECK(at->second ==
                  solve_gptq(b, seen.w, inputs, factor, *seen.how.weight, 1.0F, at->first)
                      .report.relative_error);
        }
    });
}

TEST_CASE("a two-sided run goes on with the layers that were not written", "[pipeline]") {
    temporary_directory const out;
    harness_flags f = two_sided_run(format_family::nvfp);
    f.scheme.a_bits = 4;
    f.output.kind = export_kind::realquant;
    f.output.directory = out.path() / "alone";
    double const kl = go(f).evaluation->kl_mean;
    f.output.directory = out.path() / "again";
    std::vector<std::string> notes;
    cpu const b{2};
    run_plan const plan = plan_run(b, recipe_of(f, notes), shipped_architectures);
    struct stopped {};
    CHECK_THROWS_AS(run(b, plan, shipped_architectures,
                        [](progress_event const& e) {
                            if (e.phase == "quantize" && e.done == 3) {
                                throw stopped{};
                            }
                        }),
                    stopped);
    std::vector<std::size_t> swept;
    run_report const report = run(b, plan, shipped_architectures, [&](progress_event const& e) {
        if (e.phase == "backward") {
            CHECK(e.total == 1);
            swept.push_back(e.done);
        }
    });
    CHECK(swept == std::vector<std::size_t>{1});  // of four layers
    CHECK(report.evaluation->kl_mean == kl);
    CHECK(read_text(out.path() / "again" / "model.safetensors") ==
          read_text(out.path() / "alone" / "model.safetensors"));
    // Less memory would solve some linears for something else.
    f.output.directory = out.path() / "less";
    cpu less{2};
    less.budget.host = 4 << 20;
    CHECK_THROWS_AS(
        run(b, plan_run(b, recipe_of(f, notes), shipped_architectures), shipped_architectures,
            [](progress_event const& e) {
                if (e.phase == "quantize" && e.done == 1) {
                    throw stopped{};
                }
            }),
        stopped);
    CHECK_THROWS_WITH(run(less, plan_run(less, recipe_of(f, notes), shipped_architectures),
                          shipped_architectures, fpq_test::no_progress),
                      Catch::Contains("another recipe"));
}
#endif

TEST_CASE("a two-sided run takes inputs of any kind, and wants text", "[pipeline]") {
    for (format_family const family : {format_family::nvfp, format_family::mxfp}) {
        harness_flags f = two_sided_run(family);
        f.scheme.a_bits = 4;
        CHECK(why_not(f).empty());
        f.calibration.dataset.clear();
        CHECK(why_not(f).find("dataset_name_or_path") != std::string::npos);
    }
}

TEST_CASE("two-sided without weights looks at inputs alone, by no backward pass", "[pipeline]") {
    harness_flags f = two_sided_run(format_family::nvfp);
    f.evaluation.perplexity = false;
    f.scheme.w_bits = 16;
    f.scheme.a_bits = 4;
    std::vector<std::string> notes;
    run_plan const plan = plan_run(cpu{1}, recipe_of(f, notes), shipped_architectures);
    CHECK_FALSE(plan.solves_by_gradients());
    CHECK_FALSE(plan.calibration.dataset.empty());
    for (phase_time const& p : go(f).phases) {
        CHECK(p.phase != "gradients");
    }
}

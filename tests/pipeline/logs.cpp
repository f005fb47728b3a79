// SPDX-License-Identifier: Apache-2.0
// Logs of runs: event files that grow with them, W&B through a stand-in for Python, and runs that
// end well whatever becomes of their logs. tests/interop/logs.sh has the real packages.
#include "logs/run_logs.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/backend/cpu/load.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/model/load.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/layer_work.hpp"
#include "pipeline/line.hpp"
#include "pipeline/programs.hpp"
#include "support/events.hpp"
#include "support/files.hpp"

using namespace fpq;
using namespace fpq::tools;
using fpq_test::logged;
using fpq_test::logged_in;
using fpq_test::outcome;
using fpq_test::run_program;
using fpq_test::temporary_directory;

namespace {

/// The only file of a directory.
std::filesystem::path only_file(std::filesystem::path const& dir) {
    std::vector<std::filesystem::path> all;
    for (auto const& entry : std::filesystem::directory_iterator(dir)) {
        all.push_back(entry.path());
    }
    REQUIRE(all.size() == 1);
    return all.front();
}

std::vector<logged> with_tag(std::vector<logged> const& all, std::string const& tag) {
    std::vector<logged> out;
    std::copy_if(all.begin(), all.end(), std::back_inserter(out),
                 [&](logged const& l) { return l.tag == tag; });
    return out;
}

run_report report_of(std::size_t layers) {
    run_report r;
    for (std::size_t layer = 0; layer < layers; ++layer) {
        linear_report l;
        l.kind = "mlp.up_proj";
        l.module = "model.layers." + std::to_string(layer) + "." + l.kind;
        l.layer = layer;
        l.sqnr_db = 20.0 + static_cast<double>(layer);
        r.linears.push_back(l);
        r.layers.push_back({layer, 0.5, 1 << 20});
    }
    return r;
}

/// A directory with a python3 that "has" wandb, or exits with another code than 0: at the look for
/// the package, or at the end.
class stand_in {
public:
    stand_in(int probe, int end) {
        auto const file = dir_.write("python3", "#!/bin/sh\ncase \"$2\" in *__version__*) exit " +
                                                    std::to_string(probe) +
                                                    " ;; esac\n"
                                                    "cp \"$3\" \"$(dirname \"$0\")/run.json\"\n"
                                                    "echo chatter\necho \"/runs/$WANDB_NAME\"\n"
                                                    "exit " +
                                                    std::to_string(end) + "\n");
        ::chmod(file.c_str(), 0755);
    }
    [[nodiscard]] std::string on_path() const {
        return "WANDB_NAME=named PATH=" + dir_.path().string() + ":/usr/bin:/bin ";
    }
    [[nodiscard]] nlohmann::json run() const { return read_json_file(dir_.path() / "run.json"); }

private:
    temporary_directory dir_;
};

std::string quantize_tiny() {
    return "fpq-quantize --model_name_or_path " + fpq_test::example_model() +
           " --format nvfp4 --device cpu --threads 2 ";
}

}  // namespace

TEST_CASE("layers are logged once, as they come; the rest at the end", "[log]") {
    temporary_directory const dir;
    std::vector<std::string> said;
    run_logs logs({dir.path() / "logs", false}, {{"gptq", true}},
                  [&](std::string const& line) { said.push_back(line); });
    logs.open({{"model", "m"}});
    logs.take(report_of(1));
    std::filesystem::path const file = only_file(dir.path() / "logs");
    CHECK(with_tag(logged_in(file), "sqnr_db/mlp.up_proj").size() == 1);
    logs.take(report_of(2));
    run_report all = report_of(3);
    all.layers.pop_back();  // as a head, which has no cost of its own
    all.notes = {"a note"};
    all.seconds = 2.0;
    logs.finish(all);
    std::vector<logged> const found = logged_in(file);
    std::vector<logged> const errors = with_tag(found, "sqnr_db/mlp.up_proj");
    REQUIRE(errors.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(errors[i].step == static_cast<std::int64_t>(i));
        CHECK(errors[i].value == 20.0 + static_cast<double>(i));
    }
    CHECK(with_tag(found, "layer/seconds").size() == 2);
    CHECK(with_tag(found, "run/seconds").at(0).value == 2.0);
    CHECK(with_tag(found, "recipe").at(0).text.find("    {\n      \"model\": \"m\"\n    }\n") == 0);
    CHECK(with_tag(found, "notes").at(0).text == "- a note\n");
    CHECK(said.empty());
}

TEST_CASE("a log that cannot grow ends with a line, and whole events", "[log]") {
    temporary_directory const dir;
    std::vector<std::string> said;
    run_logs logs({dir.path(), false}, {}, [&](std::string const& line) { said.push_back(line); });
    logs.open({{"model", "m"}});
    logs.take(report_of(1));
    std::filesystem::path const file = only_file(dir.path());
    std::size_t const events = fpq_test::events_of(file).size();
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    rlimit small = before;
    small.rlim_cur = std::filesystem::file_size(file) + 100;  // some of the next layer
    auto* const handler = ::signal(SIGXFSZ, SIG_IGN);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    logs.take(report_of(2));
    logs.finish(report_of(3));
    ::setrlimit(RLIMIT_FSIZE, &before);
    ::signal(SIGXFSZ, handler);
    REQUIRE(said.size() == 1);
    CHECK(said[0].find("--log_dir: the log ends here: cannot write") == 0);
    CHECK(fpq_test::events_of(file).size() == events + 1);
}

TEST_CASE("peaks are those of the weights, streamed or loaded, and of the inputs' channels",
          "[log]") {
    CHECK(fpq::detail::peak_of({1.0F, 1.0F, 4.0F, 2.0F}) == std::sqrt(4.0 / 2.0));
    CHECK(fpq::detail::peak_of({0.0F, 0.0F}) == std::nullopt);
    harness_flags f = fpq_test::small_run(format_family::nvfp);
    f.gptq = true;
    f.evaluation.perplexity = false;
    run_report const seen = fpq_test::go(f);
    f.gptq = false;
    f.calibration.dataset.clear();
    f.scheme.a_bits = 16;
    run_report const streamed = fpq_test::go(f);
    cpu const b{1};
    opened_model<cpu> const model(b, f.model, shipped_architectures);
    REQUIRE(seen.linears.size() == streamed.linears.size());
    for (std::size_t i = 0; i < seen.linears.size(); ++i) {
        linear_report const& l = seen.linears[i];
        linear_node const& node = model.graph().linears()[i];
        INFO(l.module);
        CHECK(l.module == node.module);
        CHECK(l.layer == node.layer);
        CHECK(l.module.ends_with("." + std::to_string(l.layer) + "." + l.kind));
        tensor<cpu> const weight = load_linear(b, model.source(), node).weight;
        double most = 0.0;
        double sum = 0.0;
        for (std::size_t row = 0; row < node.out; ++row) {
            for (std::size_t col = 0; col < node.in; ++col) {
                double const w = static_cast<double>(weight.view()(row, col));
                most = std::max(most, std::abs(w));
                sum += w * w;
            }
        }
        double const peak = most / std::sqrt(sum / static_cast<double>(node.out * node.in));
        CHECK(l.weight_peak.value() == Approx(peak).epsilon(1e-9));
        CHECK(streamed.linears[i].weight_peak.value() == Approx(peak).epsilon(1e-5));
        CHECK(l.input_peak.value() >= 1.0);
        CHECK(l.input_peak.value() <= std::sqrt(static_cast<double>(node.in)));
        CHECK_FALSE(streamed.linears[i].input_peak);
    }
    REQUIRE(seen.layers.size() == model.graph().layers());
    CHECK(seen.layers.back().layer + 1 == seen.layers.size());
    CHECK(seen.host_memory >= seen.layers.back().host_memory);
    CHECK(seen.input_bytes > 0);
}

TEST_CASE("a run with all logs: events, a run of W&B, a page", "[tools][log]") {
    if (!fpq_test::have_programs()) {
        return;
    }
    temporary_directory const dir;
    stand_in const python(0, 0);
    std::string const at = dir.path().string();
    outcome const run = run_program(
        quantize_tiny() + "--gptq --dataset_name_or_path " + fpq_test::example_text("calib.txt") +
            " --num_sequences 2 --sequence_length 48 --eval_perplexity --eval_data " +
            fpq_test::example_text("eval.txt") + " --eval_windows 2 --log_dir " + at +
            "/logs --log_wandb --report " + at + "/report.html",
        python.on_path());
    INFO(run.text);
    REQUIRE(run.code == 0);
    CHECK(run.says("--log_wandb: the run lies in /runs/named (wandb sync takes it)"));
    std::vector<logged> const events = logged_in(only_file(dir.path() / "logs"));
    std::vector<logged> const errors = with_tag(events, "relative_error/self_attn.q_proj");
    REQUIRE(errors.size() > 1);
    CHECK(errors[1].step == 1);
    CHECK(with_tag(events, "layer/seconds").size() == errors.size());
    CHECK(with_tag(events, "phase_seconds/solve").size() == 1);
    CHECK(with_tag(events, "recipe").at(0).text.find("\"gptq\"") != std::string::npos);
    double const kl = with_tag(events, "evaluation/kl_mean").at(0).value;
    CHECK(kl > 0.0);
    nlohmann::json const wandb = python.run();
    CHECK(wandb.at("config").at("gptq") == true);
    CHECK(wandb.at("config").at("amp") == false);
    CHECK(wandb.at("config").at("num_sequences") == "2");
    CHECK(wandb.at("config").at("rel_damp") == "0.01");
    CHECK(wandb.at("config").at("resolved_recipe").contains("rules"));
    REQUIRE(wandb.at("history").size() == errors.size());
    CHECK(wandb.at("history").at(1).at("step") == 1);
    CHECK(wandb.at("history").at(1).at("values").at(errors[1].tag).get<double>() ==
          Approx(errors[1].value));
    CHECK(wandb.at("summary").at("evaluation/kl_mean").get<double>() == Approx(kl));
    std::string const page = fpq_test::read_text(dir.path() / "report.html");
    CHECK(page.find("<title>tiny-llama, quantized</title>") != std::string::npos);
    CHECK(page.find("KL to the original, with standard errors") != std::string::npos);
}

TEST_CASE("a log that fails is said, and costs no run", "[tools][log]") {
    if (!fpq_test::have_programs()) {
        return;
    }
    temporary_directory const dir;
    std::string const at = dir.path().string();
    {
        stand_in const without(1, 0);
        outcome const run = run_program(quantize_tiny() + "--log_wandb", without.on_path());
        CHECK(run.code == 0);
        CHECK(run.says("has no wandb (python3 -m pip install wandb)"));
        CHECK(run.text.find("pip install wandb") < run.text.find("linears "));
    }
    {
        stand_in const failing(0, 9);
        outcome const run = run_program(quantize_tiny() + "--log_wandb", failing.on_path());
        CHECK(run.code == 0);
        CHECK(run.says("--log_wandb: the run was not logged: wandb: "));
        CHECK(run.says("expected exit code 0, found 9"));
    }
    outcome const full =
        run_program(quantize_tiny() + "--log_dir " + at + "/full", "ulimit -f 1; ");
    INFO(full.text);
    CHECK(full.code == 0);
    CHECK(full.says("--log_dir: the log ends here"));
    CHECK(full.says("linears "));
    outcome const dry =
        run_program(quantize_tiny() + "--dry_run --log_wandb --log_dir " + at + "/dry");
    CHECK(dry.says("--log_dir, --log_wandb: a dry run solves nothing"));
    CHECK_FALSE(std::filesystem::exists(dir.path() / "dry"));
}

TEST_CASE("logs have no place in a model or where a checkpoint is written", "[tools][log]") {
    if (!fpq_test::have_programs()) {
        return;
    }
    temporary_directory const dir;
    std::string const at = dir.path().string();
    std::string const save = quantize_tiny() + "--save_path " + at + "/out --log_dir ";
    for (std::string const& where : {at + "/out", at + "/out/logs", at + "/out.partial",
                                     fpq_test::example_model() + "/logs"}) {
        outcome const refused = run_program(save + where);
        INFO(refused.text);
        CHECK(refused.code == 2);
        CHECK(refused.says("log_dir: " + where));
        CHECK_FALSE(std::filesystem::exists(where));
    }
    auto const file = dir.write("file", "x");
    outcome const beneath = run_program(quantize_tiny() + "--log_dir " + file.string() + "/logs");
    CHECK(beneath.code == 3);
    CHECK(beneath.says("cannot make a directory"));
}

TEST_CASE("an evaluation is logged as well", "[tools][log]") {
    if (!fpq_test::have_programs()) {
        return;
    }
    temporary_directory const dir;
    stand_in const python(0, 0);
    std::string const model = fpq_test::example_model();
    outcome const run = run_program(
        "fpq-evaluate --model " + model + " --text " + fpq_test::example_text("eval.txt") +
            " --sequence_length 48 --max_windows 2 --device cpu --log_wandb --log_dir " +
            dir.path().string() + "/logs",
        python.on_path());
    INFO(run.text);
    REQUIRE(run.code == 0);
    std::vector<logged> const events = logged_in(only_file(dir.path() / "logs"));
    CHECK(with_tag(events, "evaluation/perplexity").size() == 1);
    CHECK(with_tag(events, "flags").at(0).text.find("\"max_windows\": \"2\"") != std::string::npos);
    CHECK(python.run().at("summary").contains("evaluation/perplexity"));
    CHECK(run_program("fpq-evaluate --model " + model + " --text " +
                      fpq_test::example_text("eval.txt") + " --log_dir " + model)
              .code == 2);
}

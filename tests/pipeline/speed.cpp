// SPDX-License-Identifier: Apache-2.0
// Tables and charts of an engine's speed, the timer on the CPU, and fpq-selftest where there is no
// card.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "line/engine.hpp"
#include "pipeline/programs.hpp"
#include "speed/charts.hpp"
#include "speed/shapes.hpp"
#include "speed/timing.hpp"
#include "support/files.hpp"
#include "support/shared_data.hpp"

using namespace fpq_test;
using fpq::tools::speed_row;
using fpq::tools::speed_table;

namespace {

speed_row row_of(std::string const& shape, std::string const& weights, std::size_t batch,
                 std::size_t context, double milliseconds) {
    speed_row row;
    row.shape = shape;
    row.weights = weights;
    row.work = batch == 0 ? "prefill" : "decode";
    row.batch = std::max<std::size_t>(1, batch);
    row.context = context;
    row.milliseconds = milliseconds;
    row.least = milliseconds - 0.25;
    row.most = milliseconds + 0.5;
    row.samples = 48;
    if (batch != 0) {
        row.mean_context = static_cast<double>(context) + 31.5;
        row.step_bytes = 1.5e9;
    }
    return row;
}

speed_table some_table() {
    speed_table table;
    table.card = "A <card>";
    table.capability = "12.0";
    table.driver = "580.1";
    table.copy_rate = 2e12;
    table.left_out = {"mxfp4: no room"};
    table.rows = {
        row_of("Qwen3-8B", "bf16", 1, 1024, 6),   row_of("Qwen3-8B", "nvfp4", 1, 1024, 4),
        row_of("Qwen3-8B", "mxfp4", 1, 1024, 3),  row_of("Qwen3-8B", "bf16", 4, 1024, 8),
        row_of("Qwen3-8B", "nvfp4", 4, 1024, 16), row_of("Qwen3-8B", "bf16", 0, 2048, 64),
        row_of("Qwen3-14B", "bf16", 1, 1024, 9),  row_of("Qwen3-14B", "nvfp4", 1, 1024, 6),
        row_of("Qwen3-14B", "mxfp4", 1, 8192, 6)};
    return table;
}

std::size_t count(std::string const& text, std::string const& part) {
    std::size_t n = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++n;
    }
    return n;
}

}  // namespace

TEST_CASE("a table of speeds is the same after its JSON, and says what follows from it",
          "[speed]") {
    temporary_directory const dir;
    speed_table const table = some_table();
    auto const json = fpq::tools::json_of(table);
    fpq::write_file_whole(dir.path() / "speed.json", json.dump());
    CHECK(fpq::tools::read_speed_table(dir.path() / "speed.json") == table);
    CHECK_FALSE(json["rows"][0].contains("speed_up_over_bf16"));
    CHECK(json["rows"][1]["speed_up_over_bf16"] == 1.5);
    CHECK(json["rows"][2]["speed_up_over_bf16"] == 2.0);
    CHECK(json["rows"][4]["speed_up_over_bf16"] == 0.5);
    CHECK_FALSE(json["rows"][8].contains("speed_up_over_bf16"));  // no bf16 at that context
    CHECK(json["rows"][4]["tokens_per_second"] == 250.0);
    CHECK(json["rows"][5]["tokens_per_second"] == 32000.0);
    CHECK_FALSE(json["rows"][5].contains("step_bytes"));
}

TEST_CASE("what is no table of speeds is refused by file and key", "[speed]") {
    temporary_directory const dir;
    auto const file = dir.path() / "speed.json";
    auto const refused = [&](auto const& change) {
        auto json = fpq::tools::json_of(some_table());
        change(json);
        fpq::write_file_whole(file, json.dump());
        try {
            (void)fpq::tools::read_speed_table(file);
        } catch (fpq::error const& why) {
            return std::string(why.what());
        }
        return std::string("read");
    };
    CHECK_THAT(refused([](auto& j) { j = "x"; }), Catch::Contains(file.string()));
    CHECK_THAT(refused([](auto& j) { j.erase("card"); }), Catch::Contains("card"));
    CHECK_THAT(refused([](auto& j) { j["rows"][1].erase("batch"); }),
               Catch::Contains("rows[1].batch"));
    CHECK_THAT(refused([](auto& j) { j["rows"][2]["milliseconds"] = 0; }),
               Catch::Contains("rows[2].milliseconds"));
    CHECK_THAT(refused([](auto& j) { j["rows"][0]["work"] = "rest"; }),
               Catch::Contains("\"decode\" or \"prefill\""));
}

TEST_CASE("the charts hold a bar for each speed-up and each prefill", "[speed]") {
    std::string const decode = fpq::tools::decode_chart(some_table());
    CHECK(decode.starts_with("<svg"));
    CHECK(count(decode, "<rect class=\"f") == 4);  // rows that have a bf16 beside them
    CHECK_THAT(decode, Catch::Contains("NVFP4, context 1k, 8B, 1: 1.5<"));
    CHECK_THAT(decode, Catch::Contains("MXFP4, context 1k, 8B, 1: 2<"));
    CHECK_THAT(decode, Catch::Contains("NVFP4, context 1k, 8B, 4: 0.5<"));
    CHECK_THAT(decode, Catch::Contains("NVFP4, context 1k, 14B, 1: 1.5<"));
    CHECK_THAT(decode, Catch::Contains("A &lt;card&gt;"));
    std::string const prefill = fpq::tools::prefill_chart(some_table());
    CHECK(count(prefill, "<rect class=\"f") == 1);
    CHECK_THAT(prefill, Catch::Contains("bf16, 8B, 2k: 32<"));
    CHECK_THAT(fpq::tools::decode_chart({}), Catch::Contains("nothing to show"));
}

TEST_CASE("the shapes are those of the models", "[speed]") {
    // Parameters of the cards on the models' pages: 8.2 and 14.8 thousand million, of which 6.95
    // and 13.2 are not embeddings.
    for (auto const& [at, billions] : {std::pair<std::size_t, double>{1, 6.95}, {2, 13.2}}) {
        fpq::model_graph const graph(fpq::tools::config_of(fpq::tools::model_shapes[at]));
        double const head = 2.0 * 151936 * static_cast<double>(graph.config().hidden_size);
        double const linears = fpq::tools::weight_bytes(graph, nullptr) - head;
        CHECK(linears / 2e9 == Approx(billions).epsilon(0.01));
        CHECK((fpq::tools::weight_bytes(graph, &fpq::nvfp4) - head) / linears ==
              Approx(4.5 / 16).epsilon(1e-4));
        CHECK((fpq::tools::weight_bytes(graph, &fpq::mxfp4) - head) / linears ==
              Approx(4.25 / 16).epsilon(1e-4));
        CHECK(fpq::tools::cache_bytes(graph.config()) ==
              static_cast<double>(graph.config().layers) * 2 * 8 * 128 * 2);
    }
}

TEST_CASE("the timer times full batches, in a cache of just their room", "[speed]") {
    constexpr std::array<std::size_t, 3> batches{1, 2, 4};
    constexpr std::size_t context = 24;
    fpq::engine_options options;
    options.batch_tokens = 20;
    options.sequences = 4;
    std::size_t const room = fpq::tools::decode_room(batches, context, options.batch_tokens);
    std::size_t const pages = (context + room + options.page - 1) / options.page;
    options.cache_tokens = 4 * pages * options.page;
    fpq::cpu const b{2};
    fpq::opened_model<fpq::cpu> const model(b, example_model(), fpq::shipped_architectures);
    fpq::engine<fpq::cpu> engine(b, model, options);
    fpq::tools::speed_timer<fpq::cpu> timer(engine, options.batch_tokens,
                                            model.config().vocab_size);
    std::vector<speed_row> const rows = timer.decode(batches, context);
    REQUIRE(rows.size() == 3);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        CHECK(rows[i].batch == batches[i]);
        CHECK(rows[i].context == context);
        CHECK(rows[i].samples == 48);
        CHECK(rows[i].least > 0);
        CHECK(rows[i].least <= rows[i].milliseconds);
        CHECK(rows[i].milliseconds <= rows[i].most);
        CHECK(rows[i].mean_context < static_cast<double>(context + room));
    }
    // Alone: a token of the prompt, 8 steps of warming up, half of 48.
    CHECK(rows[0].mean_context == context + 1 + 8 + 24);
    CHECK(engine.running() + engine.waiting() == 0);
    speed_row const prompt = timer.prefill(50);
    CHECK(prompt.context == 50);
    CHECK(prompt.samples == 6);
    CHECK(prompt.tokens_per_second() == Approx(50e3 / prompt.milliseconds));
}

TEST_CASE("fpq-selftest without a card: one line, exit code 5; charts need none", "[speed]") {
    if (!have_programs()) {
        return;
    }
    temporary_directory const dir;
    std::string const no_card = "cd " + dir.path().string() + " && CUDA_VISIBLE_DEVICES= ";
    for (char const* const arguments : {"fpq-selftest", "fpq-selftest --line"}) {
        outcome const out = run_program(arguments, no_card);
        CHECK(out.code == 5);
        CHECK(out.says("fpq-selftest: "));
        CHECK(count(out.text, "\n") == 1);
    }
    CHECK(run_program("fpq-selftest --shape Qwen3-8B").code == 2);
    CHECK(run_program("fpq-selftest --line --shape Qwen3-9B").says("Qwen3-0.6B"));
    CHECK(run_program("fpq-selftest --save_path x").code == 2);
    CHECK(run_program("fpq-selftest --line --charts x").code == 2);
    auto const json = dir.path() / "speed.json";
    fpq::write_file_whole(json, fpq::tools::json_of(some_table()).dump());
    outcome const drawn = run_program("fpq-selftest --charts " + json.string() + " --save_path " +
                                      (dir.path() / "charts").string());
    INFO(drawn.text);
    CHECK(drawn.code == 0);
    CHECK(fpq::detail::read_whole_file(dir.path() / "charts" / "decode.svg") ==
          fpq::tools::decode_chart(some_table()));
    CHECK(fpq::detail::read_whole_file(dir.path() / "charts" / "prefill.svg") ==
          fpq::tools::prefill_chart(some_table()));
}

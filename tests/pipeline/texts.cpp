// SPDX-License-Identifier: Apache-2.0
// The texts of a run as a checkpoint reads them: its chat template, its tokenizer, one BOS.
#include "fpq/pipeline/texts.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/io/chat/chat_template.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"
#include "pipeline/line.hpp"
#include "pipeline/models.hpp"
#include "support/files.hpp"

using namespace fpq;
using namespace fpq_test;

namespace {

char const* const conversation =
    R"({"messages": [{"role": "user", "content": "What is a group?"},
        {"role": "assistant", "content": "Values that share a scale."}], "story": "A group."})";

/// One line a row, `count` times.
std::filesystem::path rows(temporary_directory const& dir, std::string row, std::size_t count) {
    std::erase(row, '\n');
    std::string text;
    for (std::size_t i = 0; i < count; ++i) {
        text += row + "\n";
    }
    write_text(dir.path() / "rows.jsonl", text);
    return dir.path() / "rows.jsonl";
}

/// The conversation as tiny-llama's template writes it; BOS is the template's own.
std::vector<std::int32_t> expected_ids(tokenizer const& words) {
    std::string const header = "<|end_header_id|>\n\n";
    return words.encode("<|begin_of_text|><|start_header_id|>user" + header +
                            "What is a group?<|eot_id|><|start_header_id|>assistant" + header +
                            "Values that share a scale.<|eot_id|>",
                        false);
}

std::filesystem::path copy_without_template(temporary_directory const& dir) {
    std::filesystem::copy(repo_model("tiny-llama"), dir.path() / "plain");
    std::filesystem::remove(dir.path() / "plain" / "chat_template.jinja");
    return dir.path() / "plain";
}

}  // namespace

TEST_CASE("an evaluation writes conversations by the checkpoint's template, with one BOS",
          "[pipeline]") {
    temporary_directory const dir;
    model_on_cpu const model(cpu{1}, repo_model("tiny-llama"), shipped_architectures);
    tokenizer const words = tokenizer::open(model.directory());
    std::vector<std::int32_t> const want = expected_ids(words);
    REQUIRE(want.front() == words.bos());
    evaluation_text text{{rows(dir, conversation, 2)}, want.size(), 0, 0, true, {}};
    CHECK(evaluation_windows(model, text).windows == token_windows{want, want});
    text.text_column = "story";
    text.sequence_length = words.encode("A group.", true).size();
    CHECK(evaluation_windows(model, text).windows ==
          token_windows(2, words.encode("A group.", true)));
    text.text_column = "absent";
    CHECK_THROWS_WITH(evaluation_windows(model, text), Catch::Contains("absent"));
}

TEST_CASE("calibration windows hold conversations by the template; without one a note says so",
          "[pipeline]") {
    temporary_directory const dir;
    calibration_args args;
    args.dataset = rows(dir, conversation, 3).string();
    args.num_sequences = 2;
    cpu const b{1};
    model_on_cpu const model(b, repo_model("tiny-llama"), shipped_architectures);
    tokenizer const words = tokenizer::open(model.directory());
    args.sequence_length = expected_ids(words).size() - 1;
    calibration_cut const cut = load_calibration_windows(b, args, model, no_progress);
    CHECK(cut.remarks.empty());
    std::vector<std::int32_t> const want = expected_ids(words);
    for (auto const& window : cut.windows) {
        bool const from_start = window.front() == want.front();
        CHECK(std::equal(window.begin(), window.end(), want.begin() + (from_start ? 0 : 1)));
    }
    args.sequence_length = 8;
    model_on_cpu const plain(b, copy_without_template(dir), shipped_architectures);
    calibration_cut const without = load_calibration_windows(b, args, plain, no_progress);
    REQUIRE(without.remarks.size() == 1);
    CHECK_THAT(without.remarks[0],
               Catch::Contains("3 conversations are joined without a chat template"));
}

TEST_CASE("an evaluation of conversations says where it had no template", "[pipeline]") {
    temporary_directory const dir;
    cpu const b{1};
    evaluation_text text{{rows(dir, conversation, 6)}, 8, 0, 0, true, {}};
    model_on_cpu const model(b, repo_model("tiny-llama"), shipped_architectures);
    CHECK(evaluation_windows(model, text).notes.empty());
    std::filesystem::path const without = copy_without_template(dir);
    model_on_cpu const plain(b, without, shipped_architectures);
    std::vector<std::string> const said = evaluation_windows(plain, text).notes;
    REQUIRE(said.size() == 1);
    CHECK_THAT(said[0], Catch::Contains("6 conversations are joined without a chat template"));
    write_text(dir.path() / "text.txt", std::string(400, 'a'));
    text.files = {dir.path() / "text.txt"};
    CHECK(evaluation_windows(plain, text).notes.empty());
    // A run says it once, of whichever text, in the rehearsal too.
    harness_flags f = small_run(format_family::mxfp);
    f.model = without;
    f.gptq = true;
    f.calibration.sequence_length = 8;
    f.calibration.num_sequences = 2;
    f.evaluation.perplexity = true;
    f.evaluation.texts = {rows(dir, conversation, 3)};
    for (std::string const& calibration :
         {f.evaluation.texts[0].string(), (dir.path() / "text.txt").string()}) {
        f.calibration.dataset = calibration;
        std::vector<std::string> notes;
        run_plan plan = plan_run(b, recipe_of(f, notes), shipped_architectures);
        (void)rehearse(b, plan, shipped_architectures, no_progress);
        CHECK(std::count_if(plan.notes.begin(), plan.notes.end(), [](std::string const& note) {
                  return note.find("conversations are joined") != std::string::npos;
              }) == 1);
    }
}

TEST_CASE("limits of windows and characters are of a text, not of each of its documents",
          "[pipeline]") {
    temporary_directory const dir;
    model_on_cpu const model(cpu{1}, repo_model("tiny-llama"), shipped_architectures);
    std::filesystem::path const file =
        rows(dir, R"({"text": "One two three four five six seven eight nine ten."})", 30);
    evaluation_text text{{file}, 4, 0, 0, false, {}};
    std::size_t const all = evaluation_windows(model, text).windows.size();
    REQUIRE(all % 30 == 0);
    std::size_t const each = all / 30;
    REQUIRE(each > 1);
    text.max_windows = each + 1;  // in the middle of the second document
    CHECK(evaluation_windows(model, text).windows.size() == each + 1);
    text.files = {file, file};
    evaluation_set const twice = evaluation_windows(model, text);
    CHECK(twice.windows.size() == 2 * (each + 1));
    CHECK(twice.texts.size() == 2);
    text.files = {file};
    text.max_windows = 0;
    text.max_characters = 2 * 49;  // two documents
    CHECK(evaluation_windows(model, text).windows.size() == 2 * each);
    text.max_characters = 49 + 20;
    std::size_t const more = evaluation_windows(model, text).windows.size();
    CHECK(more >= each);
    CHECK(more < 2 * each);
}

TEST_CASE("a column reaches the text of an evaluation, and is idle for plain text", "[pipeline]") {
    temporary_directory const dir;
    model_on_cpu const model(cpu{1}, repo_model("tiny-llama"), shipped_architectures);
    calibration_args calibration;
    calibration.sequence_length = 8;
    calibration.text_column = "story";
    evaluation_args args;
    args.texts = {rows(dir, R"({"story": "A group of values that share one scale.", "x": 1})", 2)};
    evaluation_set const set = evaluation_windows(model, evaluation_text_of(args, calibration));
    CHECK_FALSE(set.windows.empty());
    CHECK(set.notes.empty());
    args.texts = {dir.path() / "plain.txt"};
    write_text(args.texts.front(), "A group of values that share one scale.");
    CHECK_THAT(evaluation_windows(model, evaluation_text_of(args, calibration)).notes.at(0),
               Catch::StartsWith("--text_column: ") && Catch::Contains("which has no columns"));
}

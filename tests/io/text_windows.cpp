// SPDX-License-Identifier: Apache-2.0
// Windows of tokens from calibration text and for evaluations.
#include "fpq/io/text/text_windows.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "tokenizer_fixture.hpp"

namespace {

using fpq_test::input_error;
using ids = std::vector<std::int32_t>;
using texts = std::vector<std::string>;

fpq::tokenizer bytes_tokenizer() {
    return fpq_test::make_tokenizer(fpq_test::tiny_tokenizer_json());
}

bool says(std::string const& line, std::string_view what) {
    UNSCOPED_INFO("said: " << line);
    return line.find(what) != std::string::npos;
}

/// By value: what a loop runs over must outlive it.
fpq::token_windows cut(fpq::tokenizer const& t, texts const& documents,
                       fpq::window_options const& options) {
    return fpq::calibration_windows(t, documents, options).windows;
}

}  // namespace

TEST_CASE("Plain text windows are pieces of the joined text, without BOS, fixed by the seed",
          "[io]") {
    auto const t = bytes_tokenizer();
    texts const documents{std::string(50, 'a'), std::string(50, 'b')};
    fpq::window_options options;
    options.sequence_length = 20;
    options.num_sequences = 400;
    options.is_plain_text = true;
    auto const windows = cut(t, documents, options);
    REQUIRE(windows.size() == 400);
    ids const all = t.encode(documents[0] + "\n" + documents[1], false);
    REQUIRE(all.size() == 101);
    std::set<std::ptrdiff_t> offsets;
    for (ids const& window : windows) {
        REQUIRE(window.size() == 20);
        auto const at = std::search(all.begin(), all.end(), window.begin(), window.end());
        REQUIRE(at != all.end());
        offsets.insert(at - all.begin());
    }
    CHECK(offsets.count(0) == 1);   // the first place
    CHECK(offsets.count(51) == 1);  // "b" twenty times: found first at 51
    CHECK(offsets.size() > 15);     // and most of 31 to 50
    CHECK(cut(t, documents, options) == windows);
    options.seed = 43;
    CHECK(cut(t, documents, options) != windows);
}

TEST_CASE("The random offsets of windows are pinned: the same on every platform", "[io]") {
    std::string text;
    for (int i = 0; i < 256; ++i) {
        fpq::append_utf8(text, static_cast<char32_t>(0x4E00 + i));  // three byte tokens each
    }
    fpq::window_options options;
    options.sequence_length = 3;
    options.num_sequences = 4;
    options.is_plain_text = true;
    auto const t = bytes_tokenizer();
    ids const all = t.encode(text, false);
    fpq::philox const random{42, 0x77696E646F77};
    for (std::uint64_t i = 0; i < 4; ++i) {
        auto const at = static_cast<std::ptrdiff_t>(
            random.below(i, static_cast<std::uint32_t>(all.size() - 2)));
        ids const want(all.begin() + at, all.begin() + at + 3);
        CHECK(cut(t, {text}, options)[i] == want);
    }
}

TEST_CASE("Document windows come from documents that are longer than a window", "[io]") {
    auto const t = bytes_tokenizer();
    texts const documents{"aaa", std::string(30, 'b'), "c", std::string(10, 'd'),
                          std::string(40, 'e')};
    fpq::window_options options;
    options.sequence_length = 10;
    options.num_sequences = 200;
    std::set<std::int32_t> last;
    std::size_t with_bos = 0;
    for (ids const& window : cut(t, documents, options)) {
        REQUIRE(window.size() == 10);
        with_bos += window.front() == 262;
        last.insert(window.back());
    }
    CHECK(last == std::set<std::int32_t>{'b', 'd', 'e'});  // "d": eleven tokens with BOS
    CHECK(with_bos > 0);
    CHECK(with_bos < 200);
    options.add_bos = false;
    last.clear();
    for (ids const& window : cut(t, documents, options)) {
        last.insert(window.front());
    }
    CHECK(last == std::set<std::int32_t>{'b', 'e'});
}

TEST_CASE("Documents that are all shorter than a window are joined, and that is said", "[io]") {
    auto const t = bytes_tokenizer();
    REQUIRE(t.eos() == std::nullopt);
    texts const documents{"aaa", "bbbb", "cc"};
    fpq::window_options options;
    options.sequence_length = 8;
    options.num_sequences = 100;
    fpq::calibration_cut const packed = fpq::calibration_windows(t, documents, options);
    REQUIRE(packed.windows.size() == 100);
    CHECK(packed.packed);
    CHECK(packed.used == 3);
    CHECK(packed.notes() ==
          texts{"no calibration document is longer than a window: all 3 are joined"});
    ids const all{262, 'a', 'a', 'a', 262, 'b', 'b', 'b', 'b', 262, 'c', 'c'};
    std::set<std::ptrdiff_t> offsets;
    for (ids const& window : packed.windows) {
        auto const at = std::search(all.begin(), all.end(), window.begin(), window.end());
        REQUIRE(at != all.end());
        offsets.insert(at - all.begin());
    }
    CHECK(offsets == std::set<std::ptrdiff_t>{0, 1, 2, 3, 4});
    CHECK(cut(t, documents, options) == packed.windows);
}

TEST_CASE("windows that all come from few documents are told", "[io]") {
    auto const t = bytes_tokenizer();
    fpq::window_options options;
    options.sequence_length = 20;
    options.num_sequences = 8;
    texts documents(40, "short");
    documents.push_back(std::string(100, 'x'));
    fpq::calibration_cut const few = fpq::calibration_windows(t, documents, options);
    CHECK(few.used == 1);
    CHECK_FALSE(few.packed);
    REQUIRE(few.notes().size() == 1);
    CHECK(says(few.notes()[0], "8 calibration windows come from 1 of 41 documents"));
    texts const long_ones(8, std::string(100, 'x'));
    CHECK(fpq::calibration_windows(t, long_ones, options).notes().empty());
    options.is_plain_text = true;
    CHECK(fpq::calibration_windows(t, documents, options).notes().empty());
    documents[3] = "caf\xE9 na\xEFve";  // Latin-1
    texts const notes = fpq::calibration_windows(t, documents, options).notes();
    REQUIRE(notes.size() == 1);
    CHECK(says(notes[0], "1 of 41 calibration documents are not valid UTF-8"));
}

TEST_CASE("Too little text for a window is refused by its size", "[io]") {
    auto const t = bytes_tokenizer();
    fpq::window_options options;
    options.sequence_length = 50;
    auto const refusal = [&] {
        return input_error([&] { (void)fpq::calibration_windows(t, {"abc", "abcdef"}, options); });
    };
    CHECK(says(refusal(), "expected 50 tokens or more, found 2 documents of 11 tokens together"));
    options.is_plain_text = true;
    options.where = "few.txt";
    CHECK(says(refusal(), "short: few.txt: expected 50 tokens or more, found 10"));
    options.sequence_length = 0;
    CHECK_THROWS_AS(fpq::calibration_windows(t, {"abc"}, options), fpq::error);
}

TEST_CASE("Evaluation windows follow one another and the rest is dropped", "[io]") {
    ids const all{1, 2, 3, 4, 5, 6, 7, 8, 9};
    auto const windows = fpq::cut_windows(all, 4);
    REQUIRE(windows.size() == 2);
    CHECK(ids(windows[0].begin(), windows[0].end()) == ids{1, 2, 3, 4});
    CHECK(ids(windows[1].begin(), windows[1].end()) == ids{5, 6, 7, 8});
    CHECK(fpq::cut_windows(all, 9).size() == 1);
    CHECK(fpq::cut_windows(all, 3).size() == 3);
    CHECK(fpq::cut_windows(all, 10).empty());
    CHECK_THROWS_AS(fpq::cut_windows(all, 1), fpq::error);
}

TEST_CASE("a text that holds many U+FFFD is named, and BOS comes once", "[io]") {
    fpq::tokenizer const t = bytes_tokenizer();
    fpq::window_options options;
    options.sequence_length = 4;
    options.num_sequences = 2;
    texts const notes =
        fpq::calibration_windows(t, {"caf\xEF\xBF\xBD, na\xEF\xBF\xBDve"}, options).notes();
    CHECK(notes.size() == 1);
    CHECK(notes[0].find("holds U+FFFD 2 times") != std::string::npos);
    std::string const once = "\xEF\xBF\xBD" + std::string(5000, 'a');
    CHECK(fpq::calibration_windows(t, {once}, options).notes().empty());
}

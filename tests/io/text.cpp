// SPDX-License-Identifier: Apache-2.0
// Calibration text from files, windows of tokens, and the Unicode part: repair, NFC, classes.
#include "fpq/io/text/text.hpp"

#include <sys/stat.h>
#include <utf8proc.h>
#include <zlib.h>

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "fpq/io/file/mapped_file.hpp"
#include "fpq/io/text/text_windows.hpp"
#include "tokenizer_fixture.hpp"

namespace {

using fpq_test::input_error;
using fpq_test::temporary_directory;
using ids = std::vector<std::int32_t>;
using texts = std::vector<std::string>;

std::string gzip(std::string const& text) {
    z_stream stream{};
    REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    std::string out(deflateBound(&stream, text.size()) + 32, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

fpq::tokenizer bytes_tokenizer() {
    return fpq_test::make_tokenizer(fpq_test::tiny_tokenizer_json());
}

bool says(std::string const& line, std::string_view what) {
    UNSCOPED_INFO("said: " << line);
    return line.find(what) != std::string::npos;
}

std::string load_error(std::filesystem::path const& path) {
    return input_error([&] { (void)fpq::load_text(path); });
}

/// By value: what a loop runs over must outlive it.
fpq::token_windows cut(fpq::tokenizer const& t, texts const& documents,
                       fpq::window_options const& options) {
    return fpq::calibration_windows(t, documents, options).windows;
}

}  // namespace

TEST_CASE("Text files: one document, one a line, compressed, a directory in name order", "[io]") {
    temporary_directory const dir("text");
    auto const plain = fpq::load_text(dir.write("b.txt", "line one\r\nline two\n"));
    CHECK(plain.documents.all() == texts{"line one\r\nline two\n"});
    CHECK(plain.is_plain_text);
    std::string const lines =
        "{\"text\": \"first\\n\", \"url\": \"x\"}\n\n{\"text\": \"second\"}\r\n{\"text\": \"\"}";
    auto const many = fpq::load_text(dir.write("c.jsonl", lines));
    CHECK(many.documents.all() == texts{"first\n", "second", ""});
    CHECK_FALSE(many.is_plain_text);
    std::string const half = gzip(lines + "\n");
    CHECK(fpq::load_documents(dir.write("a.json.gz", half + half)).size() == 6);  // two members
    dir.write("notes.md", "left out");
    CHECK(fpq::load_documents(dir.path()).size() == 6 + 1 + 3);
    CHECK(fpq::load_documents(dir.path())[6] == "line one\r\nline two\n");
    CHECK_FALSE(fpq::load_text(dir.path()).is_plain_text);
}

TEST_CASE("Long lines pass through the reader's buffer whole", "[io]") {
    temporary_directory const dir("long-lines");
    texts want;
    std::string file;
    for (std::size_t size : {65535U, 65536U, 65537U, 300000U, 1U}) {
        want.emplace_back(size, 'q');
        file += "{\"text\":\"" + want.back() + "\"}\n";
    }
    CHECK(fpq::load_documents(dir.write("a.jsonl", file)) == want);
    CHECK(fpq::load_documents(dir.write("a.jsonl.gz", gzip(file))) == want);
}

TEST_CASE("Chat messages are written in the style of the tokenizer's special tokens", "[io]") {
    temporary_directory const dir("chat");
    auto const path = dir.write(
        "a.jsonl", R"({"messages": [{"role": "user", "content": "Hi"},)"
                   R"( {"role": "assistant", "content": [{"type": "text", "text": "Ho"}]}]})");
    CHECK(fpq::load_documents(path) == texts{"user: Hi\nassistant: Ho\n"});
    CHECK(fpq::load_documents(path, fpq::chat_style::chatml) ==
          texts{"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n"});
    CHECK(fpq::load_documents(path, fpq::chat_style::llama3) ==
          texts{"<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\nHo<|eot_id|>"});
    CHECK(fpq::chat_style_of(bytes_tokenizer()) == fpq::chat_style::plain);
    auto json = fpq_test::tiny_tokenizer_json();
    json["added_tokens"].push_back({{"id", 264}, {"content", "<|im_start|>"}});
    json["added_tokens"].push_back({{"id", 265}, {"content", "<|im_end|>"}});
    CHECK(fpq::chat_style_of(fpq_test::make_tokenizer(json)) == fpq::chat_style::chatml);
}

TEST_CASE("Pipes and devices are refused, not waited on", "[io]") {
    temporary_directory const dir("pipes");
    for (char const* name : {"a.txt", "a.jsonl", "a.json.gz"}) {
        std::string const path = (dir.path() / name).string();
        REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
        CHECK(says(load_error(path), path + ": expected a regular file, found a pipe"));
    }
    CHECK(says(input_error([] { (void)fpq::mapped_file("/dev/null"); }), "found a device"));
    CHECK(says(input_error([&] { (void)fpq::mapped_file(dir.path()); }), "found a directory"));
}

TEST_CASE("A line without end is refused before it fills the memory", "[io]") {
    temporary_directory const dir("bomb");
    std::string const line = "{\"text\": \"" + std::string(std::size_t{20} << 20, 'a') + "\"}";
    CHECK(says(load_error(dir.write("a.json.gz", gzip(line))), "line 1: expected at most"));
}

TEST_CASE("Text files that are malformed are refused with file and line", "[io]") {
    temporary_directory const dir("bad-text");
    CHECK(says(load_error(dir.path()), "no document"));
    CHECK(says(load_error(dir.path() / "none.txt"), "cannot read file"));
    CHECK(says(load_error(dir.path() / "none.jsonl"), "cannot read file"));
    CHECK(says(load_error(dir.write("a.parquet", "PAR1")), "text file not understood"));
    CHECK(says(load_error(dir.write("a.jsonl", "{\"text\": \"x\"}\n{\"text\": \"y\"\n")),
               "a.jsonl line 2: byte "));
    CHECK(
        says(load_error(dir.write("a.jsonl", "{\"body\": 1}")), "line 1: text: expected a string"));
    CHECK(says(load_error(dir.write("a.jsonl", "{\"text\": 1}")), "expected a string, found 1"));
    CHECK(says(load_error(dir.write("a.jsonl", "[1]")), "expected an object, found 1"));
    CHECK(says(load_error(dir.write("a.jsonl", "{\"messages\": {}}")), "a list"));
    CHECK(says(load_error(dir.write("a.jsonl", "{\"messages\": [3]}")),
               "expected an object, found 3"));
    CHECK(says(load_error(dir.write("a.jsonl", "{\"messages\": [{\"role\": \"u\"}]}")), "content"));
    CHECK(says(load_error(dir.write("a.jsonl", "\n\n")), "no document"));
}

TEST_CASE("A compressed file cut anywhere is refused", "[io]") {
    temporary_directory const dir("cut");
    std::string file;
    fpq::philox const random{1, 2};
    for (std::uint32_t i = 0; i < 3000; ++i) {
        file += "{\"text\": \"" + std::to_string(random.at(i)) + "\"}\n";
    }
    std::string const whole = gzip(file);
    CHECK(fpq::load_documents(dir.write("a.json.gz", whole)).size() == 3000);
    std::size_t accepted = 0;
    for (std::size_t size = 0; size < whole.size(); size += size < 40 ? 1 : 97) {
        accepted += load_error(dir.write("a.json.gz", whole.substr(0, size))) == "no error";
    }
    accepted += load_error(dir.write("a.json.gz", whole.substr(0, whole.size() - 1))) == "no error";
    CHECK(accepted == 0);
    std::string corrupt = whole;
    corrupt[whole.size() / 2] = static_cast<char>(corrupt[whole.size() / 2] ^ 0x55);
    CHECK(load_error(dir.write("a.json.gz", corrupt)) != "no error");
    CHECK(says(load_error(dir.write("a.json.gz", "{\"text\": \"x\"}")), "not a gzip file"));
}

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
    CHECK(says(refusal(), "expected 50 tokens or more, found 10"));
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

TEST_CASE("NFC by runs equals NFC of the whole text", "[io]") {
    CHECK(fpq::to_nfc("e\xCC\x81") == "\xC3\xA9");
    CHECK(fpq::to_nfc("plain") == "plain");
    CHECK(fpq::to_nfc("\xE1\x84\x80\xE1\x85\xA1") == "\xEA\xB0\x80");  // Hangul jamo
    char32_t const marks[] = {'e',    'a',    ' ',     0xC9,   0x300,  0x301,
                              0x323,  0x2019, 0x212B,  0x1100, 0x1161, 0x11A8,
                              0x0958, 0xFB1D, 0x1D15E, 0x0341, 0x9C7,  0x9BE};
    fpq::philox_engine random(fpq::philox{3, 3});
    std::size_t wrong = 0;
    for (int trial = 0; trial < 5000; ++trial) {
        std::string text;
        for (std::uint32_t n = random() % 12; n > 0; --n) {
            fpq::append_utf8(text, marks[random() % 18]);
        }
        utf8proc_uint8_t* const whole =
            utf8proc_NFC(reinterpret_cast<utf8proc_uint8_t const*>(text.c_str()));
        wrong += fpq::to_nfc(text) != reinterpret_cast<char const*>(whole);
        std::free(whole);
    }
    CHECK(wrong == 0);
}

TEST_CASE("UTF-8 is repaired as the standard recommends", "[io]") {
    std::string const mark = "\xEF\xBF\xBD";
    CHECK(fpq::repair_utf8("a\xF0\x80\x80\x41") == "a" + mark + mark + mark + "A");
    CHECK(fpq::repair_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41") ==
          mark + mark + mark + mark + "A");  // Unicode 15, table 3-11
    for (char32_t c = 0; c < 0x110000; c += c < 0x900 ? 1 : 61) {
        if (c < 0xD800 || c > 0xDFFF) {
            std::string text;
            fpq::append_utf8(text, c);
            fpq::utf8_char const back = fpq::decode_utf8(text, 0);
            REQUIRE((back.valid && back.value == c && back.length == text.size()));
        }
    }
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

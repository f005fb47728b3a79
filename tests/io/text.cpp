// SPDX-License-Identifier: Apache-2.0
// Calibration text from files: which are read, how, and which are refused.
#include "fpq/io/text/text.hpp"

#include <sys/stat.h>
#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "fpq/io/chat/chat_template.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/file/mapped_file.hpp"
#include "support/load_documents.hpp"
#include "tokenizer_fixture.hpp"

namespace {

using fpq_test::input_error;
using fpq_test::temporary_directory;
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

bool says(std::string const& line, std::string_view what) {
    UNSCOPED_INFO("said: " << line);
    return line.find(what) != std::string::npos;
}

std::string load_error(std::filesystem::path const& path) {
    return input_error([&] { (void)fpq::load_text(path); });
}

}  // namespace

TEST_CASE("Text files: one document, one a line, compressed, a directory in name order", "[io]") {
    temporary_directory const dir;
    auto const plain = fpq::load_text(dir.write("b.txt", "line one\r\nline two\n"));
    CHECK(plain.documents.all() == texts{"line one\r\nline two\n"});
    CHECK(plain.is_plain_text);
    std::string const lines =
        "{\"text\": \"first\\n\", \"url\": \"x\"}\n\n{\"text\": \"second\"}\r\n{\"text\": \"\"}";
    auto const many = fpq::load_text(dir.write("c.jsonl", lines));
    CHECK(many.documents.all() == texts{"first\n", "second", ""});
    CHECK_FALSE(many.is_plain_text);
    std::string const half = gzip(lines + "\n");
    CHECK(fpq_test::load_documents(dir.write("a.json.gz", half + half)).size() ==
          6);  // two members
    dir.write("notes.md", "left out");
    CHECK(fpq_test::load_documents(dir.path()).size() == 6 + 1 + 3);
    CHECK(fpq_test::load_documents(dir.path())[6] == "line one\r\nline two\n");
    CHECK_FALSE(fpq::load_text(dir.path()).is_plain_text);
}

TEST_CASE("Long lines pass through the reader's buffer whole", "[io]") {
    temporary_directory const dir;
    texts want;
    std::string file;
    for (std::size_t size : {65535U, 65536U, 65537U, 300000U, 1U}) {
        want.emplace_back(size, 'q');
        file += "{\"text\":\"" + want.back() + "\"}\n";
    }
    CHECK(fpq_test::load_documents(dir.write("a.jsonl", file)) == want);
    CHECK(fpq_test::load_documents(dir.write("a.jsonl.gz", gzip(file))) == want);
}

TEST_CASE("Chat messages are written in the style of the tokenizer's special tokens", "[io]") {
    temporary_directory const dir;
    auto const path = dir.write(
        "a.jsonl", R"({"messages": [{"role": "user", "content": "Hi"},)"
                   R"( {"role": "assistant", "content": [{"type": "text", "text": "Ho"}]}]})");
    CHECK(fpq_test::load_documents(path) == texts{"user: Hi\nassistant: Ho\n"});
    CHECK(fpq_test::load_documents(path, fpq::chat_style::chatml) ==
          texts{"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n"});
    CHECK(fpq_test::load_documents(path, fpq::chat_style::llama3) ==
          texts{"<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\nHo<|eot_id|>"});
    auto json = fpq_test::tiny_tokenizer_json();
    CHECK(fpq::chat_style_of(fpq_test::make_tokenizer(json)) == fpq::chat_style::plain);
    json["added_tokens"].push_back({{"id", 264}, {"content", "<|im_start|>"}});
    json["added_tokens"].push_back({{"id", 265}, {"content", "<|im_end|>"}});
    CHECK(fpq::chat_style_of(fpq_test::make_tokenizer(json)) == fpq::chat_style::chatml);
}

TEST_CASE("Pipes and devices are refused, not waited on", "[io]") {
    temporary_directory const dir;
    for (char const* name : {"a.txt", "a.jsonl", "a.json.gz"}) {
        std::string const path = (dir.path() / name).string();
        REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
        CHECK(says(load_error(path), path + ": expected a regular file, found a pipe"));
    }
    CHECK(says(input_error([] { (void)fpq::mapped_file("/dev/null"); }), "found a device"));
    CHECK(says(input_error([&] { (void)fpq::mapped_file(dir.path()); }), "found a directory"));
}

TEST_CASE("a path that the system refuses is an error of input by its name", "[io]") {
    temporary_directory const dir;
    std::string const long_name(300, 'n');  // ENAMETOOLONG
    CHECK(says(load_error(dir.path() / long_name), "cannot look at: "));
    CHECK(says(load_error(dir.path() / (long_name + ".txt")), "cannot look at: "));
    auto const directory = dir.path() / long_name;
    CHECK(says(input_error([&] { (void)fpq::tokenizer::open(directory); }), "cannot look at: "));
    CHECK(says(input_error([&] { (void)fpq::open_chat_template(directory); }), "cannot look at: "));
    CHECK(says(input_error([&] { (void)fpq::is_link(directory); }), "cannot look at: "));
}

TEST_CASE("A line without end is refused before it fills the memory", "[io]") {
    temporary_directory const dir;
    std::string const line = "{\"text\": \"" + std::string(std::size_t{20} << 20, 'a') + "\"}";
    CHECK(says(load_error(dir.write("a.json.gz", gzip(line))), "line 1: expected at most"));
}

TEST_CASE("Text files that are malformed are refused with file and line", "[io]") {
    temporary_directory const dir;
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
    temporary_directory const dir;
    std::string file;
    fpq::philox const random{1, 2};
    for (std::uint32_t i = 0; i < 3000; ++i) {
        file += "{\"text\": \"" + std::to_string(random.at(i)) + "\"}\n";
    }
    std::string const whole = gzip(file);
    CHECK(fpq_test::load_documents(dir.write("a.json.gz", whole)).size() == 3000);
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

TEST_CASE("a file that two texts hold is found, by whatever path", "[io]") {
    temporary_directory const dir;
    fpq_test::write_text(dir.path() / "rows.jsonl", "{\"text\": \"a\"}\n");
    fpq_test::write_text(dir.path() / "b.txt", "b");
    CHECK(fpq::shared_text_file(dir.path(), dir.path() / "." / "rows.jsonl").filename() ==
          "rows.jsonl");
    CHECK(fpq::shared_text_file(dir.path() / "b.txt", dir.path()).filename() == "b.txt");
    CHECK(fpq::shared_text_file(dir.path() / "b.txt", dir.path() / "rows.jsonl").empty());
    CHECK(fpq::shared_text_file(dir.path() / "none.txt", dir.path()).empty());
}

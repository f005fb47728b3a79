// SPDX-License-Identifier: Apache-2.0
// The shapes in which people have calibration texts, and the files that hold them.
#include "fpq/io/text/document_store.hpp"

#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "fpq/io/chat/chat_template.hpp"
#include "fpq/io/text/document.hpp"
#include "fpq/io/text/text.hpp"
#include "support/sanitized.hpp"
#include "tokenizer_fixture.hpp"

namespace {

using fpq_test::input_error;
using fpq_test::temporary_directory;
using texts = std::vector<std::string>;

std::string text_of(std::string_view row, std::string column = {}) {
    return fpq::read_line(row, {fpq::chat_style::chatml, std::move(column), {}}, "f line 1").text;
}

std::string refusal(std::string_view row, std::string column = {}) {
    return input_error([&] { (void)text_of(row, column); });
}

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

#if !defined(FPQ_TEST_SANITIZED)
/// Bytes at the widest moment of this process; 0 where the system does not tell.
std::uint64_t peak_resident() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("VmHWM:")) {
            return std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
        }
    }
    return 0;
}
#endif

fpq::conversation_writer writer_by(std::string_view source) {
    return [chat = fpq::chat_template(source, "t")](auto const& variables, auto const& where) {
        return chat.render(variables, where);
    };
}

}  // namespace

TEST_CASE("rows of the known shapes become text", "[io]") {
    std::string const turns = "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nB<|im_end|>\n";
    CHECK(text_of(R"({"text": "A", "messages": 3})") == "A");
    CHECK(text_of(R"({"content": "A"})") == "A");
    CHECK(text_of(R"({"messages": [{"role": "user", "content": "A"},
                                   {"role": "assistant", "content": "B"}]})") == turns);
    CHECK(text_of(R"({"conversations": [{"from": "human", "value": "A"},
                                        {"from": "gpt", "value": "B"}]})") == turns);
    CHECK(text_of(R"({"conversations": [{"from": "system", "value": "S"}]})") ==
          "<|im_start|>system\nS<|im_end|>\n");
    CHECK(text_of(R"({"prompt": "A ", "completion": "B"})") == "A B");
    CHECK(text_of(R"({"instruction": "A", "input": "", "output": "B"})") == turns);
    CHECK(text_of(R"({"instruction": "A", "input": "I", "output": "B"})")
              .starts_with("<|im_start|>user\nA\n\nI<|im_end|>"));
    CHECK(text_of(R"({"question": "A", "answer": "B"})") == turns);
    CHECK(text_of(R"({"messages": [{"role": "assistant", "content": null, "tool_calls": []}]})") ==
          "<|im_start|>assistant\n<|im_end|>\n");
    CHECK(text_of(R"({"text": "A", "body": "B"})", "body") == "B");
}

TEST_CASE("rows of other shapes are refused by their key", "[io]") {
    CHECK(refusal(R"({"body": "A"})") ==
          "document not understood: f line 1: text: expected a string, found nothing");
    CHECK(refusal(R"({"text": "A"})", "body").find("body: expected a string") != std::string::npos);
    CHECK(refusal(R"({"messages": [{"role": "user"}]})").find("messages[0].content") !=
          std::string::npos);
    CHECK(refusal(R"({"conversations": [{"from": "human"}]})").find("conversations[0].value") !=
          std::string::npos);
    CHECK(refusal(R"({"prompt": "A"})").find("text: expected a string") != std::string::npos);
    CHECK(refusal(R"(["A"])").find("expected an object") != std::string::npos);
}

TEST_CASE("arrays, marks, raw text and gzip of it", "[io]") {
    temporary_directory const dir;
    auto const load = [&](char const* name, std::string const& bytes) {
        return fpq::load_text(dir.write(name, bytes), fpq::text_options{});
    };
    CHECK(load("a.json", "\n [{\"text\": \"A\"},\n\"B\"]").documents.all() == texts{"A", "B"});
    CHECK(
        load("b.jsonl", "\xEF\xBB\xBF{\"text\": \"A\"}\r\n{\"text\": \"B\"}\r\n").documents.all() ==
        texts{"A", "B"});
    CHECK(load("c.raw", "x\ny").documents.all() == texts{"x\ny"});
    CHECK(load("c.raw", "x\ny").is_plain_text);
    std::string const large(300000, 'q');
    CHECK(load("d.txt.gz", gzip("x\n" + large + "\n")).documents.all() ==
          texts{"x\n" + large + "\n"});
    CHECK(load("d.txt.gz", gzip("x")).is_plain_text);
    auto const error = [&](char const* name, std::string const& bytes) {
        return input_error([&] { (void)load(name, bytes); });
    };
    CHECK(error("e.json", "[3]").find("e.json: [0]: expected an object") != std::string::npos);
    CHECK(error("e.json", "[\n{\"text\": 1}]").find("[0].text: expected a string") !=
          std::string::npos);
    CHECK(error("f.txt", std::string("\xFF\xFEh\0", 4)).find("UTF-16") != std::string::npos);
    CHECK(error("f.jsonl", std::string("\xFE\xFF\0{", 4)).find("UTF-16") != std::string::npos);
    CHECK(error("g.txt.gz", "plain").find("not a gzip file") != std::string::npos);
}

TEST_CASE("what is not read says how it becomes what is", "[io]") {
    temporary_directory const dir;
    auto const error = [](std::filesystem::path const& path) {
        return input_error([&] { (void)fpq::load_text(path); });
    };
    CHECK(error(dir.write("a.parquet", "PAR1")).find("to_json('text.jsonl'") != std::string::npos);
    CHECK(error(dir.write("a.jsonl.zst", "x")).find("zstd -d a.jsonl.zst") != std::string::npos);
    CHECK(error("c4").find("hf download --repo-type dataset --local-dir c4 allenai/c4") !=
          std::string::npos);
    CHECK(error("owner/set").find("--local-dir DIR owner/set") != std::string::npos);
    CHECK(error(dir.path() / "none.jsonl").find("cannot read file") == 0);
}

TEST_CASE("conversations are written by the checkpoint's template", "[io]") {
    fpq::text_options options;
    options.chat = writer_by(
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.tool_calls %}"
        "{{ m.tool_calls|tojson }}{% endif %}{% endfor %}{% if tools %}T{% endif %}");
    auto const text = [&](char const* row) {
        return fpq::read_line(row, options, "f line 1").text;
    };
    CHECK(text(R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "A"}]},
                   {"role": "assistant", "content": null, "tool_calls": [{"z": 1, "a": 2}]},
                   {"role": "assistant", "tool_calls": []}], "tools": [1]})") ==
          "<user>A<assistant>[{\"z\": 1, \"a\": 2}]<assistant>T");
    CHECK(text(R"({"conversations": [{"from": "human", "value": "A"},
                                     {"role": "assistant", "content": "B"}]})") ==
          "<user>A<assistant>B");
    CHECK(text(R"({"instruction": "A", "input": "I", "output": "B"})") ==
          "<user>A\n\nI<assistant>B");
    CHECK(text(R"({"question": "A", "answer": "B"})") == "<user>A<assistant>B");
    CHECK(text(R"({"text": "A", "messages": []})") == "A");
    temporary_directory const dir;
    auto const array = dir.write("a.json", R"([{"messages": [{"role": "assistant", "content": "",
        "tool_calls": [{"z": 1, "a": 2}]}]}, {"text": "B"}])");
    fpq::text_source const source = fpq::load_text(array, options);
    CHECK(source.documents.all() == texts{"<assistant>[{\"z\": 1, \"a\": 2}]", "B"});
    CHECK(source.conversations == 1);
    options.chat = writer_by("{{ raise_exception('no') }}");
    auto const path = dir.write("b.jsonl", "{\"text\": \"\"}\n{\"messages\": []}\n");
    std::string const line = input_error([&] { (void)fpq::load_text(path, options); });
    CHECK(line.find("b.jsonl line 2: t line 1: found it says: no") != std::string::npos);
}

TEST_CASE("documents beyond the memory lie in a file and come back", "[io]") {
    fpq::document_store store;
    texts want;
    std::size_t const half = fpq::document_store::memory_bytes / 2;
    for (std::size_t i = 0; i < 5; ++i) {
        want.emplace_back(half + i, static_cast<char>('a' + i));
        store.append(want.back());
    }
    want.emplace_back();
    store.append("");
    CHECK(store.size() == 6);
    CHECK(store.bytes() == 5 * half + 10);
    CHECK(store.all() == want);
    CHECK(store[3] == want[3]);
    store.append("\xFF");
    store.append("\xEF\xBF\xBD!\xEF\xBF\xBD");
    CHECK(store.malformed() == 1);
    CHECK(store.replaced() == 2);
}

TEST_CASE("a document that comes in parts is the same document", "[io]") {
    std::string const text = "na\xC3\xAFve \xE2\x82\xAC \xF0\x9F\x98\x80 \xEF\xBF\xBD.";
    for (std::string const& whole :
         {text, text + "\xF0\x9F\x98", "\xFF" + text, text + "\xE2" + text, std::string()}) {
        fpq::document_store at_once;
        at_once.append(whole);
        for (std::size_t step = 1; step < 8; ++step) {
            fpq::document_store parts{"before"};
            parts.append({});
            for (std::size_t at = 0; at < whole.size(); at += step) {
                parts.extend(whole.substr(at, step));
            }
            CHECK(parts.all() == texts{"before", whole});
            CHECK(parts.malformed() == at_once.malformed());
            CHECK(parts.replaced() == at_once.replaced());
            parts.append("behind");
            CHECK(parts.malformed() == at_once.malformed());
            CHECK(parts.joined("--") == "before--" + whole + "--behind");
        }
    }
    // Partly in the file and partly in memory.
    fpq::document_store large;
    std::string want;
    large.append({});
    for (char c = 'a'; c < 'f'; ++c) {
        std::string const part(fpq::document_store::memory_bytes / 2 + 1, c);
        large.extend(part);
        want += part;
    }
    CHECK(large.all() == texts{want});
    CHECK(large.joined("") == want);
}

TEST_CASE("a plain text is read in pieces and is held once", "[io]") {
    temporary_directory const dir;
    std::size_t const size = std::size_t{64} << 20;
    std::string text;
    while (text.size() < size) {
        text += "\xE2\x82\xAC na\xC3\xAFve\n";  // a piece ends within a character
    }
    auto const path = dir.write("large.txt", text);
    fpq::text_source const read = fpq::load_text(path);
    CHECK(read.documents.size() == 1);
    CHECK(read.documents.malformed() == 0);
    CHECK((read.documents[0] == text));
    CHECK((fpq::load_text(dir.write("large.txt.gz", gzip(text))).documents[0] == text));
#if defined(FPQ_TEST_SANITIZED)
    WARN("SKIPPED: sanitizers keep memory that was freed");
#else
    text = {};
    ::pid_t const child = ::fork();
    if (child == 0) {  // whose widest moment is its own
        std::uint64_t const before = peak_resident();
        fpq::document_store const documents = fpq::load_text(path).documents;
        std::uint64_t const loaded = peak_resident() - before;
        std::size_t const length = documents.joined("\n").size();
        std::uint64_t const joined = peak_resident() - before;
        bool const right = length > size && loaded < size / 2 && joined < size + size / 2;
        ::_exit(before == 0 || right ? 0 : 1);
    }
    REQUIRE(child > 0);
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
#endif
}

TEST_CASE("the repository's own calibration text is valid UTF-8", "[io]") {
    std::string const text = fpq::detail::read_whole_file(std::filesystem::path(FPQ_SOURCE_DIR) /
                                                          "examples/text/calib.txt");
    CHECK(fpq::valid_utf8_prefix(text) == text.size());
}

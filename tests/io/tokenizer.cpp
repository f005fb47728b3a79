// SPDX-License-Identifier: Apache-2.0
// Tokenizers as a whole: the public vectors and counts of Llama-3, Qwen2 and Llama-2, the trained
// models' own files, and every feature of tokenizer.json on a fixture written here.
#include "fpq/io/tokenizer/tokenizer.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/io/tokenizer/same_tokens.hpp"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "support/shared_data.hpp"
#include "tokenizer_fixture.hpp"

namespace {

using fpq_test::have_shared;
using fpq_test::make_tokenizer;
using fpq_test::shared_path;
using fpq_test::tiny_tokenizer_json;
using ids = std::vector<std::int32_t>;

/// Checks every public vector of `name` and that decoding gives the text back.
void check_vectors(fpq::tokenizer const& t, std::string const& name) {
    std::string const stem = "data/tokenizers/vectors/ggml-vocab-" + name + ".gguf";
    std::string const inputs = fpq::detail::read_whole_file(shared_path(stem + ".inp"));
    std::istringstream outputs(fpq::detail::read_whole_file(shared_path(stem + ".out")));
    std::string const separator = "\n__ggml_vocab_test__\n";
    std::size_t cases = 0;
    for (std::size_t at = 0; at < inputs.size();) {
        std::size_t const end = std::min(inputs.find(separator, at), inputs.size());
        std::string const text = inputs.substr(at, end - at);
        at = end + separator.size();
        std::string line;
        REQUIRE(std::getline(outputs, line));
        std::istringstream numbers(line);
        ids want;
        for (std::int32_t id = 0; numbers >> id;) {
            want.push_back(id);
        }
        INFO(name << ": [" << text << "]");
        CHECK(t.encode(text, false) == want);
        CHECK(t.decode(want) == text);
        ++cases;
    }
    CHECK(cases == 46);
}

std::string wikitext() {
    return fpq::detail::read_whole_file(shared_path("data/wikitext2/wikitext2-test.joined.txt"));
}

}  // namespace

TEST_CASE("Llama-3's tiktoken file passes the public vectors and counts WikiText-2", "[io]") {
    if (!have_shared("data/tokenizers/llama3")) {
        return;
    }
    auto const t = fpq::tokenizer::open(shared_path("data/tokenizers/llama3"));
    check_vectors(t, "llama-bpe");
    CHECK(t.vocab_size() == 128256);
    CHECK(t.bos() == 128000);
    CHECK(t.eos() == 128001);
    CHECK(t.special("<|start_header_id|>") == 128006);
    CHECK(t.special("<|eot_id|>") == 128009);
    CHECK(t.special("<|reserved_special_token_250|>") == 128255);
    CHECK(t.encode("") == ids{128000});
    CHECK(t.encode("a<|eot_id|>b", false) == ids{64, 128009, 65});
    if (have_shared("data/wikitext2")) {
        std::string const text = wikitext();
        ids const got = t.encode(text);
        CHECK(got.size() == 289077);
        CHECK(t.decode(std::span(got).subspan(1)) == text);
    }
}

TEST_CASE("Qwen2's vocabulary and merges pass the public vectors and count WikiText-2", "[io]") {
    if (!have_shared("data/tokenizers/qwen2")) {
        return;
    }
    auto const t = fpq::tokenizer::open(shared_path("data/tokenizers/qwen2"));
    check_vectors(t, "qwen2");
    CHECK(t.vocab_size() == 151646);
    CHECK_FALSE(t.bos());
    CHECK(t.eos() == 151645);
    CHECK(t.encode("<|im_start|>a<|im_end|>") == ids{151644, 64, 151645});
    CHECK(t.encode("e\xCC\x81") == t.encode("\xC3\xA9"));
    if (have_shared("data/wikitext2")) {
        CHECK(t.encode(wikitext()).size() == 299078);
    }
}

TEST_CASE("Llama-2's SentencePiece file passes the public vectors and counts WikiText-2", "[io]") {
    if (!have_shared("data/tokenizers/llama2")) {
        return;
    }
    auto const t = fpq::tokenizer::open(shared_path("data/tokenizers/llama2"));
    check_vectors(t, "llama-spm");
    CHECK(t.vocab_size() == 32000);
    CHECK(t.bos() == 1);
    CHECK(t.eos() == 2);
    CHECK(t.encode("") == ids{1});
    CHECK(t.encode("<s>", false).size() > 1);  // a control symbol in the text is text
    if (have_shared("data/wikitext2")) {
        // libsentencepiece takes seconds for the whole text: under sanitizers a part must do.
#if defined(__SANITIZE_ADDRESS__)
        CHECK(t.encode(wikitext().substr(0, 20000)).size() > 4000);
#else
        CHECK(t.encode(wikitext()).size() == 341469);
#endif
    }
}

TEST_CASE("The trained models' tokenizers give the golden probe ids", "[io]") {
    auto const models = fpq_test::repo_dir() / "examples/models";
    auto const golden = nlohmann::json::parse(fpq::detail::read_whole_file(models / "golden.json"));
    for (std::string const name : {"tiny-llama", "tiny-qwen3"}) {
        auto const t = fpq::tokenizer::open(models / name);
        auto const probe = golden[name]["probe_ids"].get<ids>();
        std::string const text =
            "Alice was beginning to get very tired, and 1234 \xE2\x80\x94 \"na\xC3\xAFve\" "
            "caf\xC3\xA9.\n\n  Done";
        CHECK(t.encode(text) == probe);
        CHECK(t.vocab_size() == 4096);
        CHECK(t.decode(probe) == (t.bos() ? "<|begin_of_text|>" : "") + text);
        CHECK(t.encode(t.decode(probe), false) == probe);
    }
}

TEST_CASE("Merges go by rank, and ignore_merges takes a whole piece first", "[io]") {
    auto json = tiny_tokenizer_json();
    CHECK(make_tokenizer(json).encode("hello", false) == ids{260});
    CHECK(make_tokenizer(json).encode(" hello", false) == ids{' ', 260});  // "he" before " h"
    CHECK(make_tokenizer(json).encode(" hi", false) == ids{259, 'i'});
    CHECK(make_tokenizer(json).encode("hellhe", false) == ids{258, 256});
    CHECK(make_tokenizer(json).encode("lllll", false) == ids{257, 257, 'l'});  // leftmost first
    json["model"]["ignore_merges"] = true;
    CHECK(make_tokenizer(json).encode(" hello", false) == ids{261});
    json["model"]["merges"] =
        nlohmann::json::parse(R"([["h","e"],["l","l"],["he","ll"],["hell","o"]])");
    CHECK(make_tokenizer(json).encode("hello", false) == ids{260});  // pairs as arrays
}

TEST_CASE("A long piece merges as its short beginning does", "[io]") {
    auto const t = make_tokenizer(tiny_tokenizer_json());
    std::string text;
    ids want;
    for (int i = 0; i < 2000; ++i) {
        text += "hellohhell";
        want.insert(want.end(), {260, 'h', 258});
    }
    CHECK(t.encode(text, false) == want);
    CHECK(t.encode(std::string(10001, 'l'), false) == [] {
        ids out(5000, 257);
        out.push_back('l');
        return out;
    }());
}

TEST_CASE("Templates put ids around a text, and only when asked", "[io]") {
    auto json = tiny_tokenizer_json();
    auto const t = make_tokenizer(json);
    CHECK(t.encode("a") == ids{262, 'a'});
    CHECK(t.encode("a", false) == ids{'a'});
    CHECK(t.encode("") == ids{262});
    CHECK(t.encode("", false).empty());
    CHECK(t.bos() == 262);
    CHECK_FALSE(t.eos());
    json["post_processor"]["single"].push_back({{"SpecialToken", {{"id", "</s>"}}}});
    json["post_processor"]["special_tokens"]["</s>"] = {{"ids", {263}}};
    CHECK(make_tokenizer(json).encode("a") == ids{262, 'a', 263});
    json["post_processor"] = nullptr;
    CHECK(make_tokenizer(json).encode("a") == ids{'a'});
}

TEST_CASE("Special tokens in a text become their ids: the longest, leftmost one", "[io]") {
    auto json = tiny_tokenizer_json();
    json["added_tokens"].push_back({{"id", 264}, {"content", "<s>>"}, {"special", true}});
    auto const t = make_tokenizer(json);
    CHECK(t.encode("a<s>b</s>", false) == ids{'a', 262, 'b', 263});
    CHECK(t.encode("<s><s>", false) == ids{262, 262});
    CHECK(t.encode("<s>>", false) == ids{264});
    CHECK(t.encode("<<s>", false) == ids{'<', 262});
    CHECK(t.encode("<s", false) == ids{'<', 's'});
    CHECK(t.decode(ids{262, 260, 263}) == "<s>hello</s>");
}

TEST_CASE("The flags of added tokens", "[io]") {
    auto const with = [](char const* flag) {
        auto json = tiny_tokenizer_json();
        nlohmann::json token = {{"id", 264}, {"content", "XY"}, {"normalized", false}};
        token[flag] = true;
        json["added_tokens"].push_back(token);
        return make_tokenizer(json);
    };
    CHECK(with("special").encode("a XY b", false) == ids{'a', ' ', 264, ' ', 'b'});
    CHECK(with("lstrip").encode("a \tXY b", false) == ids{'a', 264, ' ', 'b'});
    CHECK(with("rstrip").encode("a XY\n\xE3\x80\x80 b", false) == ids{'a', ' ', 264, 'b'});
    auto const word = with("single_word");
    CHECK(word.encode("XY aXY XY_ XYa -XY-", false) ==
          ids{264, ' ', 'a', 'X', 'Y', ' ', 'X', 'Y', '_', ' ', 'X', 'Y', 'a', ' ', '-', 264, '-'});
    CHECK(word.encode("\xC3\xA9XY", false) == ids{0xC3, 0xA9, 'X', 'Y'});  // not ASCII
}

TEST_CASE("Normalizers run between added tokens; normalized ones are sought after them", "[io]") {
    auto json = tiny_tokenizer_json();
    json["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
    json["added_tokens"].push_back(
        {{"id", 264}, {"content", "\xE1\xBA\xBD"}, {"normalized", true}, {"special", false}});
    auto const t = make_tokenizer(json);
    CHECK(t.encode("e\xCC\x83", false) == ids{264});
    json["added_tokens"].back()["normalized"] = false;
    CHECK(make_tokenizer(json).encode("e\xCC\x83", false) == ids{0xE1, 0xBA, 0xBD});
    CHECK(make_tokenizer(json).encode("\xE1\xBA\xBD", false) == ids{264});
    json["normalizer"] = {
        {"type", "Replace"}, {"pattern", {{"String", "ab"}}}, {"content", "hello"}};
    CHECK(make_tokenizer(json).encode("xabab", false) == ids{'x', 260, 260});
}

TEST_CASE("ByteLevel alone is GPT-2's pattern, with a space in front when asked", "[io]") {
    auto json = tiny_tokenizer_json();
    json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}};
    CHECK(make_tokenizer(json).encode("hi", false) == ids{259, 'i'});
    CHECK(make_tokenizer(json).encode(" hi", false) == ids{259, 'i'});
    json["pre_tokenizer"]["add_prefix_space"] = false;
    CHECK(make_tokenizer(json).encode("hi", false) == ids{'h', 'i'});
    json["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"}, {"pattern", {{"String", "e"}}}, {"behavior", "Isolated"}},
          {{"type", "ByteLevel"}, {"add_prefix_space", false}}}}};
    CHECK(make_tokenizer(json).encode("hello", false) == ids{'h', 'e', 257, 'o'});
}

TEST_CASE("Malformed UTF-8 is read as U+FFFD, one for each maximal prefix", "[io]") {
    auto const t = make_tokenizer(tiny_tokenizer_json());
    ids const mark{0xEF, 0xBF, 0xBD};
    for (std::string const bad :
         {"\x80", "\xFF", "\xC3", "\xE2\x82", "\xF0\x9F\x98", "\xC0", "\xF5"}) {
        CHECK(t.encode(bad, false) == mark);
    }
    CHECK(t.encode("a\xE2\x82hello", false) == ids{'a', 0xEF, 0xBF, 0xBD, 260});
    CHECK(t.encode("\xED\xA0\x80", false).size() == 9);  // a surrogate: three bytes, three marks
    CHECK(t.encode("\xF4\x90\x80\x80", false).size() == 12);  // above U+10FFFF
}

TEST_CASE("All bytes survive a round trip, and a decoder refuses ids of no token", "[io]") {
    auto const t = make_tokenizer(tiny_tokenizer_json());
    std::string text;
    for (char32_t c = 1; c < 0x3000; c += 7) {
        fpq::append_utf8(text, c);
    }
    CHECK(t.decode(t.encode(text, false)) == text);
    CHECK(t.encode(std::string(1, '\0'), false) == ids{0});
    for (std::int32_t const id : {-1, 264, 1 << 30}) {
        CHECK(fpq_test::input_error([&] { (void)t.decode(ids{id}); }).find("no such token") !=
              std::string::npos);
    }
}

TEST_CASE("tokenizer_config.json names BOS and EOS", "[io]") {
    fpq_test::temporary_directory const dir;
    dir.write("tokenizer.json", tiny_tokenizer_json().dump());
    dir.write("tokenizer_config.json", R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>"})");
    auto const t = fpq::tokenizer::open(dir.path());
    CHECK(t.bos() == 262);
    CHECK(t.eos() == 263);
    CHECK(t.vocab_size() == 264);
}

TEST_CASE("A byte-fallback tokenizer.json: Llama-2's normalizers, or Metaspace", "[io]") {
    auto json = tiny_tokenizer_json();
    nlohmann::json vocabulary;
    for (int b = 0; b < 256; ++b) {
        char name[8];
        std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(b));
        vocabulary[name] = b;
    }
    int id = 256;
    for (char const* token :
         {"\xE2\x96\x81", "h", "e", "l", "o", "he", "\xE2\x96\x81he", "\xC3\xA9"}) {
        vocabulary[token] = id++;
    }
    json["added_tokens"] = nlohmann::json::array();
    json["post_processor"] = nullptr;
    json["pre_tokenizer"] = nullptr;
    json["model"] = {{"type", "BPE"},
                     {"byte_fallback", true},
                     {"fuse_unk", true},
                     {"vocab", vocabulary},
                     {"merges", {"h e", "\xE2\x96\x81 he"}}};
    json["normalizer"] = {
        {"type", "Sequence"},
        {"normalizers",
         {{{"type", "Prepend"}, {"prepend", "\xE2\x96\x81"}},
          {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\xE2\x96\x81"}}}}};
    json["decoder"] = {{"type", "Sequence"},
                       {"decoders",
                        {{{"type", "Replace"}},
                         {{"type", "ByteFallback"}},
                         {{"type", "Fuse"}},
                         {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}};
    auto const t = make_tokenizer(json);
    std::string const text = "hello he\xC3\xA9z\n";
    ids const want{262, 259, 259, 260, 262, 263, 'z', '\n'};
    CHECK(t.encode(text) == want);
    CHECK(t.decode(want) == text);
    CHECK(t.encode("").empty());
    json["normalizer"] = nullptr;
    json["pre_tokenizer"] = {{"type", "Metaspace"}, {"prepend_scheme", "first"}, {"split", false}};
    CHECK(make_tokenizer(json).encode(text) == want);
}

TEST_CASE("tokenizers are compared by the string of each id that both have", "[tokenizer]") {
    nlohmann::json json = fpq_test::tiny_tokenizer_json();
    auto const first = make_tokenizer(json);
    CHECK(first.token('a') == "a");
    CHECK(first.token(260) == "hello");
    CHECK(first.token(262) == "<s>");
    CHECK_FALSE(first.token(264));
    CHECK_FALSE(first.token(-1));
    json["added_tokens"].push_back({{"id", 264}, {"content", "<pad>"}, {"special", true}});
    CHECK_FALSE(fpq::first_other_token(first, make_tokenizer(json)));
    json["added_tokens"][1]["content"] = "<end>";
    CHECK(fpq::first_other_token(first, make_tokenizer(json)) == 263);
    std::swap(json["model"]["vocab"]["q"], json["model"]["vocab"]["z"]);
    CHECK(fpq::first_other_token(make_tokenizer(json), first) == 'q');
}

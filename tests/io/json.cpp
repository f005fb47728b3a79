// SPDX-License-Identifier: Apache-2.0
// JSON files and the values in them: what is refused, and the line that says so.
#include "fpq/io/json/json_file.hpp"

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/io/json/json_text.hpp"
#include "fpq/io/json/json_value.hpp"
#include "tokenizer_fixture.hpp"

namespace {

using fpq::json_value;
using fpq::parse_json;
using fpq_test::input_error;

std::string parse_error(std::string const& text) {
    return input_error([&] { (void)parse_json(text, "file"); });
}

nlohmann::json const sample = parse_json(
    R"({"n": 3, "big": 18446744073709551615, "low": -5, "x": 0.5, "one": 1.0, "name": "fpq",
        "on": true, "none": null, "list": [1, 2, 70000],
        "inner": {"deep": [{"key": "value"}]}})",
    "file");
json_value const root(sample, "c.json");

}  // namespace

TEST_CASE("a malformed text is refused with byte and line", "[json]") {
    CHECK(parse_json("{\"a\":[1,{\"a\":2}]}", "x")["a"][1]["a"] == 2);
    CHECK(parse_error("{\"a\":1,\"a\":2}") ==
          "malformed JSON: file: byte 10: expected each key once, found key 'a' twice");
    CHECK(parse_error("{\n\"a\": 1,\n\"b\" 2}")
              .starts_with("malformed JSON: file: byte 14 (line 3): "));
    CHECK(parse_error("{\"a\":").starts_with("malformed JSON: file: byte 5: expected valid JSON"));
    CHECK(parse_error("").starts_with("malformed JSON: file: byte "));
    CHECK(parse_error("{}{}").starts_with("malformed JSON: file: byte 2: "));
    CHECK(parse_error("{\"a\":\"\xc3\x28\"}").find("UTF-8") != std::string::npos);
    CHECK(parse_error("[NaN]").starts_with("malformed JSON: file: byte "));
    CHECK(parse_error("[1, 1e999]").ends_with("found number overflow parsing '1e999'"));
    CHECK(parse_error("{'a': 1}").starts_with("malformed JSON"));
    CHECK(parse_error("[1,]").starts_with("malformed JSON"));
    CHECK(parse_error("// c\n[1]").starts_with("malformed JSON"));
}

TEST_CASE("nesting, and the same key in two objects", "[json]") {
    std::size_t const deepest = fpq::json_depth_limit;
    CHECK_NOTHROW(parse_json(std::string(deepest, '[') + std::string(deepest, ']'), "file"));
    CHECK(parse_error(std::string(deepest + 1, '[')).find("deeper nesting") != std::string::npos);
    CHECK(parse_error(std::string(100000, '[')).find("deeper nesting") != std::string::npos);
    CHECK_NOTHROW(parse_json("[{\"a\":1},{\"a\":{\"a\":1}}]", "file"));
    CHECK(parse_error("[{\"b\":{\"a\":1},\"b\":2}]").find("'b' twice") != std::string::npos);
}

TEST_CASE("a file that is too large is refused before it is read", "[json]") {
    fpq_test::temporary_directory const dir;
    auto const path = dir.write("large.json", "{}");
    std::filesystem::resize_file(path, fpq::json_size_limit + 1);
    CHECK(input_error([&] {
              (void)fpq::read_json_file(path);
          }).starts_with("JSON file is too large: " + path.string()));
}

TEST_CASE("values are taken as what they are", "[json]") {
    CHECK(root.required<int>("n") == 3);
    CHECK(root.required<std::size_t>("big") == std::numeric_limits<std::uint64_t>::max());
    CHECK(root.required<int>("low", {-5, 5}) == -5);
    CHECK(root.required<double>("x") == 0.5);
    CHECK(root.required<float>("n") == 3.0F);
    CHECK(root.required<std::string>("name") == "fpq");
    CHECK(root.required<bool>("on"));
    CHECK(root.required<std::vector<int>>("list") == std::vector<int>{1, 2, 70000});
    CHECK(root.optional<int>("absent") == std::nullopt);
    CHECK(root.optional<int>("none") == std::nullopt);
    CHECK(root.optional<int>("n", {1, 3}) == 3);
    CHECK_FALSE(root.has("none"));
    CHECK(root.members().size() == sample.size());
    CHECK(root.at("inner").at("deep").elements()[0].required<std::string>("key") == "value");
}

TEST_CASE("what does not fit is refused by file, path, expected and found", "[json]") {
    auto const refusal = [](auto&& take) { return input_error([&] { (void)take(); }); };
    CHECK(refusal([] { return root.required<int>("absent"); }) ==
          "wrong value: c.json: absent: expected an integer, found nothing");
    CHECK(refusal([] {
              return root.required<std::size_t>("none", {1, 8});
          }) == "wrong value: c.json: none: expected an integer from 1 to 8, found nothing");
    CHECK(refusal([] {
              return root.required<int>("n", {4, 8});
          }) == "wrong value: c.json: n: expected an integer from 4 to 8, found 3");
    CHECK(refusal([] { return root.optional<int>("n", {0, 2}); }).ends_with("0 to 2, found 3"));
    CHECK(refusal([] { return root.required<std::size_t>("low"); }) ==
          "wrong value: c.json: low: expected an integer from 0, found -5");
    CHECK(refusal([] { return root.required<std::int64_t>("big"); }).ends_with("551615"));
    CHECK(refusal([] { return root.required<int>("one"); }).ends_with("an integer, found 1.0"));
    CHECK(refusal([] { return root.required<int>("on"); }).ends_with("found true"));
    CHECK(refusal([] {
              return root.required<double>("x", {1.0, 2.5});
          }) == "wrong value: c.json: x: expected a number from 1.0 to 2.5, found 0.5");
    CHECK(refusal([] { return root.required<bool>("n"); }).ends_with("true or false, found 3"));
    CHECK(refusal([] { return root.required<std::string>("n"); }).ends_with("a string, found 3"));
    CHECK(refusal([] { return root.required<std::vector<std::uint16_t>>("list"); }) ==
          "wrong value: c.json: list[2]: expected an integer from 0, found 70000");
    CHECK(
        refusal([] { return root.required<std::vector<int>>("n"); }).ends_with("a list, found 3"));
    CHECK(refusal([] { return root.at("name").find("x"); }) ==
          "wrong value: c.json: name: expected an object, found \"fpq\"");
    CHECK(refusal([] { return root.at("inner").at("deep").elements()[0].required<int>("key"); }) ==
          "wrong value: c.json: inner.deep[0].key: expected an integer, found \"value\"");
    CHECK(refusal([] {
              root.refuse_member("n", "unsupported thing", "4");
              return 0;
          }) == "unsupported thing: c.json: n: expected 4, found 3");
    nlohmann::json const named = {{"a", {{"b", 1}}}};
    CHECK(refusal([&] {
              return json_value(named, "f", "bad model").at("a").required<bool>("b");
          }) == "bad model: f: a.b: expected true or false, found 1");
}

TEST_CASE("what is written is UTF-8 whatever its strings hold, and bytes come back", "[json]") {
    std::string const bytes = "a\xff\xc3(\xe2\x82\xac\xed\xa0\x80\\x41\n";
    std::string const escaped = "a\\xff\\xc3(\xe2\x82\xac\\xed\\xa0\\x80\\x41\n";
    CHECK(fpq::utf8_escaped(bytes) == escaped);
    CHECK(fpq::utf8_unescaped(escaped) == bytes);
    CHECK(fpq::utf8_escaped(std::string("\0z", 2)) == std::string("\0z", 2));
    CHECK(fpq::utf8_unescaped("\\x\\xf\\xfg") == "\\x\\xf\\xfg");
    CHECK(fpq::utf8_escaped("\\xff\xff") == "\\x5cxff\\xff");
    for (char const* const text : {"\\xff\xff", "\\x5cxff", "\\x5c", "\\", "\\\\xe9", "\\d\\x41"}) {
        CHECK(fpq::utf8_unescaped(fpq::utf8_escaped(text)) == text);
    }
    CHECK(fpq::utf8_json(nlohmann::json("re:\\xe9")) == "re:\\xe9");  // no path
    nlohmann::json const value = {{"k\xfe", {1, bytes, {{"deep", "\x80"}}}}, {"n", nullptr}};
    nlohmann::json const back = parse_json(fpq::json_file_text(value), "file");
    CHECK(back == nlohmann::json{{"k\\xfe", {1, escaped, {{"deep", "\\x80"}}}}, {"n", nullptr}});
    CHECK(fpq::utf8_json(back) == back);
}

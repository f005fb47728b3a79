// SPDX-License-Identifier: Apache-2.0
// Tests of io/safetensors/safetensors.hpp, json_file.hpp and mapped_file.hpp: what is read, and
// every file that the container format forbids, refused in one line with file, tensor and byte.
#include "fpq/io/safetensors/safetensors.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/tiny_checkpoint.hpp"

using fpq_test::raw_tensor;
using fpq_test::safetensors_bytes;
using fpq_test::temporary_directory;

namespace {

/// The error line of opening a file with these bytes; "" when it opens.
std::string line_of(std::string const& bytes) {
    temporary_directory dir;
    std::filesystem::path const path = dir.path() / "x.safetensors";
    fpq_test::write_text(path, bytes);
    try {
        fpq::safetensors_file const file(path);
        return "";
    } catch (fpq::error const& why) {
        std::string line = why.what();
        CHECK(why.category() == fpq::error_category::input);
        CHECK(line.find('\n') == std::string::npos);
        CHECK(line.find(path.string()) != std::string::npos);
        CHECK(line.find("byte ") != std::string::npos);
        CHECK(line.size() < 1000);
        return line;
    }
}

bool has(std::string const& line, std::string const& part) {
    INFO(line);
    bool const found = line.find(part) != std::string::npos;
    CHECK(found);
    return found;
}

std::string entry(std::string const& name, std::string const& type, std::string const& shape,
                  std::string const& offsets) {
    return "\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":" + shape +
           ",\"data_offsets\":" + offsets + "}";
}

std::string one(std::string const& type, std::string const& shape, std::string const& offsets,
                std::size_t data) {
    return safetensors_bytes("{" + entry("w", type, shape, offsets) + "}", std::string(data, 'x'));
}

}  // namespace

TEST_CASE("a safetensors file gives names, types, shapes and bytes", "[io]") {
    temporary_directory dir;
    std::vector<raw_tensor> const tensors{{"b", fpq::dtype::bf16, {2, 3}, std::string(12, 'b')},
                                          {"a", fpq::dtype::u8, {5}, "12345"},
                                          {"scalar", fpq::dtype::f32, {}, "abcd"},
                                          {"empty", fpq::dtype::f32, {2, 0}, ""}};
    fpq_test::write_text(dir.path() / "x", safetensors_bytes(tensors));
    fpq::safetensors_file const opened(dir.path() / "x");
    fpq::safetensors_file const file(std::move(const_cast<fpq::safetensors_file&>(opened)));
    REQUIRE(file.tensors().size() == 4);
    CHECK(file.tensors()[0].name == "b");
    CHECK(file.tensors()[0].shape == std::vector<std::uint64_t>{2, 3});
    CHECK(file.tensors()[1].type == fpq::dtype::u8);
    CHECK(std::to_integer<char>(file.tensors()[1].bytes[4]) == '5');
    CHECK(file.tensors()[2].bytes.size() == 4);
    CHECK(file.tensors()[3].bytes.empty());
    CHECK(file.tensors()[0].file->filename() == "x");
    REQUIRE(file.metadata().size() == 1);
    CHECK(file.metadata()[0].second == "pt");
}

TEST_CASE("legal oddities are accepted: blanks, no tensors, header order, every type", "[io]") {
    CHECK(line_of(safetensors_bytes("  {}  ", "")).empty());
    CHECK(line_of(safetensors_bytes("{\"__metadata__\":{}}", "")).empty());
    CHECK(line_of(safetensors_bytes("{" + entry("b", "U8", "[2]", "[3,5]") + "," +
                                        entry("a", "U8", "[3]", "[0,3]") + "}",
                                    "12345"))
              .empty());
    CHECK(line_of(one("F4", "[4]", "[0,2]", 2)).empty());
    CHECK(line_of(one("F6_E2M3", "[4]", "[0,3]", 3)).empty());
    CHECK(line_of(one("F32", "[0,18446744073709551615]", "[0,0]", 0)).empty());
}

TEST_CASE("a file too short for its header is refused", "[io]") {
    has(line_of(""), "found 0 bytes");
    has(line_of("1234567"), "found 7 bytes");
    has(line_of(std::string("\x02\0\0\0\0\0\0\0", 8)), "expected 2 bytes of header");
    has(line_of(safetensors_bytes("{}", "").substr(0, 9)), "truncated safetensors header");
}

TEST_CASE("a header over the limit is refused before anything is read", "[io]") {
    has(line_of(std::string(16, '\xff')), "at most 100000000 bytes");
    std::string over(8, '\0');
    std::uint64_t const n = 100'000'001;
    for (std::size_t i = 0; i < 8; ++i) {
        over[i] = static_cast<char>((n >> (8 * i)) & 0xFFu);
    }
    has(line_of(over + "{}"), "found 100000001");
}

TEST_CASE("a header that is no JSON object of tensor entries is refused by byte", "[io]") {
    has(line_of(safetensors_bytes("", "")), "starts with '{'");
    has(line_of(safetensors_bytes("   ", "")), "starts with '{'");
    has(line_of(safetensors_bytes("[]", "")), "byte 8");
    has(line_of(safetensors_bytes("{", "")), "malformed JSON");
    has(line_of(safetensors_bytes("{\"\xff\":1}", "")), "malformed JSON");
    has(line_of(safetensors_bytes("{} x", "")), "byte 11");
    has(line_of(safetensors_bytes("{\"w\":1}", "")), "expected a tensor entry, found a number");
    has(line_of(safetensors_bytes("{\"w\":[]}", "")), "found an array");
    has(line_of(safetensors_bytes("{\"w\":{}}", "")), "incomplete entry");
    has(line_of(safetensors_bytes("{\"w\":null}", "")), "found null");
    has(line_of(one("Q9", "[1]", "[0,1]", 1)), "a known dtype, found 'Q9'");
    has(line_of(one("U8", "[-1]", "[0,1]", 1)), "a negative number");
    has(line_of(one("U8", "[1.5]", "[0,1]", 1)), "unsigned 64-bit integers");
    has(line_of(one("U8", "[18446744073709551616]", "[0,1]", 1)), "no 64-bit integer");
    has(line_of(one("U8", "[[1]]", "[0,1]", 1)), "found an array");
    has(line_of(one("U8", "[1]", "[0]", 1)), "incomplete entry");
    has(line_of(one("U8", "[1]", "[0,1,2]", 1)), "more than two offsets");
    has(line_of(one("U8", "{}", "[0,1]", 1)), "found an object");
    has(line_of(safetensors_bytes("{\"w\":{\"dtype\":3}}", "")), "expected a string");
    has(line_of(safetensors_bytes("{\"w\":{\"extra\":3}}", "")), "key 'extra'");
    std::string ones = "[1";
    for (int i = 0; i < 64; ++i) {
        ones += ",1";
    }
    has(line_of(one("U8", ones + "]", "[0,1]", 1)), "more than 64 dimensions");
    has(line_of(safetensors_bytes("{\"w\":" + std::string(100000, '['), "")), "found an array");
}

TEST_CASE("metadata holds strings only", "[io]") {
    has(line_of(safetensors_bytes("{\"__metadata__\":{\"a\":1}}", "")), "expected a string");
    has(line_of(safetensors_bytes("{\"__metadata__\":{\"a\":{}}}", "")), "__metadata__");
    has(line_of(safetensors_bytes("{\"__metadata__\":3}", "")), "an object of strings");
    has(line_of(safetensors_bytes("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", "")), "twice");
}

TEST_CASE("duplicate names and keys are refused", "[io]") {
    std::string const w = entry("w", "U8", "[1]", "[0,1]");
    has(line_of(safetensors_bytes("{" + w + "," + w + "}", "x")), "'w' twice");
    has(line_of(safetensors_bytes("{\"__metadata__\":{},\"__metadata__\":{}}", "")), "twice");
    has(line_of(safetensors_bytes("{\"w\":{\"shape\":[],\"shape\":[]}}", "")), "'shape' twice");
}

TEST_CASE("offsets must cover the data without gap or overlap", "[io]") {
    has(line_of(one("U8", "[1]", "[1,2]", 2)), "begin at 0, found [1, 2]");
    has(line_of(one("U8", "[1]", "[1,0]", 2)), "reversed");
    std::string const a = entry("a", "U8", "[2]", "[0,2]");
    has(line_of(safetensors_bytes("{" + a + "," + entry("b", "U8", "[2]", "[1,3]") + "}", "xxx")),
        "tensor 'b'");
    has(line_of(safetensors_bytes("{" + a + "," + entry("b", "U8", "[2]", "[0,2]") + "}", "xx")),
        "gap or overlap");
    has(line_of(safetensors_bytes("{" + a + "," + entry("b", "U8", "[1]", "[3,4]") + "}", "xxxx")),
        "begin at 2");
    has(line_of(one("U8", "[2]", "[0,2]", 1)), "truncated tensor data");
    has(line_of(one("U8", "[2]", "[0,2]", 3)), "expected end of file, found 1 more bytes");
    has(line_of(safetensors_bytes("{}", "x")), "bytes after the last tensor");
}

TEST_CASE("sizes that disagree or overflow are refused", "[io]") {
    has(line_of(one("BF16", "[2]", "[0,2]", 2)), "expected 4 bytes for BF16 [2], found 2 bytes");
    has(line_of(one("U8", "[2,18446744073709551614]", "[0,1]", 1)), "impossible tensor size");
    has(line_of(one("U8", "[2,9223372036854775807]", "[0,1]", 1)), "impossible tensor size");
    has(line_of(one("F32", "[4294967296,4294967296]", "[0,0]", 0)), "impossible tensor size");
    has(line_of(one("F64", "[288230376151711744]", "[0,0]", 0)), "impossible tensor size");
    has(line_of(one("F4", "[3]", "[0,2]", 2)), "impossible tensor size");
    has(line_of(one("U8", "[1]", "[0,18446744073709551615]", 1)), "found 18446744073709551615");
}

TEST_CASE("every truncation of a good file is refused", "[io]") {
    std::string const good = safetensors_bytes(
        {{"a", fpq::dtype::f32, {2}, "12345678"}, {"b", fpq::dtype::u8, {3}, "abc"}});
    REQUIRE(line_of(good).empty());
    for (std::size_t n = 0; n < good.size(); ++n) {
        INFO(n);
        CHECK(!line_of(good.substr(0, n)).empty());
    }
}

TEST_CASE("control characters and huge names stay out of the error line", "[io]") {
    std::string const name = "evil\\n\\u001b" + std::string(5000, 'n');
    std::string const line =
        line_of(safetensors_bytes("{" + entry(name, "U8", "[1]", "[0,2]") + "}", "xx"));
    CHECK(line.find('\x1b') == std::string::npos);
    has(line, "evil??nnn");
    has(line_of(safetensors_bytes("{\"" + std::string(100000, 'k'), "")), "malformed JSON");
}

TEST_CASE("a path that is no readable file is refused by name", "[io]") {
    temporary_directory dir;
    CHECK_THROWS_WITH(fpq::mapped_file(dir.path() / "none"), Catch::Contains("none"));
    CHECK_THROWS_WITH(fpq::mapped_file(dir.path()), Catch::Contains("a regular file"));
    fpq_test::write_text(dir.path() / "empty", "");
    CHECK(fpq::mapped_file(dir.path() / "empty").bytes().empty());
}

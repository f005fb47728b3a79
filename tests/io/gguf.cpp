// SPDX-License-Identifier: Apache-2.0
// Tests of io/gguf: the bytes of a file made by hand, what is written and read back, and every file
// that the format forbids, refused in one line with file, key or tensor, and byte.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "catch.hpp"
#include "fpq/io/gguf/gguf_file.hpp"
#include "fpq/io/gguf/gguf_layout.hpp"
#include "support/tiny_checkpoint.hpp"

using fpq::ggml_type;
using fpq::gguf_array;
using fpq::gguf_file;
using fpq::gguf_metadata;
using fpq_test::temporary_directory;

namespace {

/// Bytes of a file put together by hand, without the code under test.
struct bytes {
    std::string text;

    bytes& number(std::uint64_t value, int width) {
        for (int i = 0; i < width; ++i) {
            text.push_back(static_cast<char>((value >> (8 * i)) & 0xFF));
        }
        return *this;
    }
    bytes& u32(std::uint64_t value) { return number(value, 4); }
    bytes& u64(std::uint64_t value) { return number(value, 8); }
    bytes& string(std::string const& s) {
        u64(s.size());
        text += s;
        return *this;
    }
    bytes& head(std::uint64_t tensors, std::uint64_t keys, std::uint64_t version = 3) {
        text += "GGUF";
        return u32(version).u64(tensors).u64(keys);
    }
    bytes& info(std::string const& name, std::vector<std::uint64_t> const& dims, std::uint64_t type,
                std::uint64_t offset) {
        string(name).u32(dims.size());
        for (std::uint64_t const d : dims) {
            u64(d);
        }
        return u32(type).u64(offset);
    }
    bytes& pad(std::size_t to = 32) {
        text.resize((text.size() + to - 1) / to * to, '\0');
        return *this;
    }
    bytes& data(std::size_t count) {
        text.append(count, 'x');
        return *this;
    }
};

/// The error line of opening a file with these bytes; "" when it opens.
std::string line_of(bytes const& file) {
    temporary_directory dir;
    std::filesystem::path const path = dir.path() / "x.gguf";
    fpq_test::write_text(path, file.text);
    try {
        gguf_file const opened(path);
        return "";
    } catch (fpq::error const& why) {
        std::string line = why.what();
        CHECK(why.category() == fpq::error_category::input);
        CHECK(line.find('\n') == std::string::npos);
        CHECK(line.find(path.string()) != std::string::npos);
        CHECK(line.find("byte ") != std::string::npos);
        return line;
    }
}

bool has(std::string const& line, std::string const& part) {
    INFO(line);
    bool const found = line.find(part) != std::string::npos;
    CHECK(found);
    return found;
}

/// One tensor and no keys.
bytes one(std::vector<std::uint64_t> const& dims, std::uint64_t type, std::size_t data,
          std::string const& name = "w", std::uint64_t offset = 0) {
    return bytes().head(1, 0).info(name, dims, type, offset).pad().data(data);
}

/// A key with what follows its name.
bytes key(std::string const& name, bytes const& rest) {
    bytes out = bytes().head(0, 1).string(name);
    out.text += rest.text;
    return out.pad();
}

}  // namespace

TEST_CASE("a GGUF file has the bytes of one made by hand", "[io]") {
    gguf_metadata const metadata{{"general.architecture", std::string("llama")},
                                 {"n", std::uint32_t{7}},
                                 {"eps", 0.5F},
                                 {"yes", true},
                                 {"words", gguf_array(std::vector<std::string>{"a", "bc"})},
                                 {"types", gguf_array(std::vector<std::int32_t>{-1, 3})}};
    fpq::gguf_layout const layout =
        fpq::lay_out_gguf(metadata, {{"m", ggml_type::mxfp4, {64, 1}}, {"f", ggml_type::f32, {2}}});

    bytes expected = bytes().head(2, 6);
    expected.string("general.architecture").u32(8).string("llama");
    expected.string("n").u32(4).u32(7);
    expected.string("eps").u32(6).u32(0x3F000000);
    expected.string("yes").u32(7).number(1, 1);
    expected.string("words").u32(9).u32(8).u64(2).string("a").string("bc");
    expected.string("types").u32(9).u32(5).u64(2).u32(0xFFFFFFFF).u32(3);
    expected.info("m", {64, 1}, 39, 0).info("f", {2}, 0, 64).pad();
    CHECK(layout.head == expected.text);
    REQUIRE(layout.offsets.size() == 2);
    CHECK(layout.offsets[0] == expected.text.size());
    CHECK(layout.offsets[1] == expected.text.size() + 64);  // 34 bytes, padded
    CHECK(layout.size == expected.text.size() + 96);
}

TEST_CASE("what a GGUF file holds is read back", "[io]") {
    gguf_metadata const metadata{{"a", std::uint8_t{200}},
                                 {"b", std::int8_t{-3}},
                                 {"c", std::uint16_t{60000}},
                                 {"d", std::int16_t{-300}},
                                 {"e", std::uint32_t{4000000000}},
                                 {"f", std::int32_t{-70000}},
                                 {"g", 1.5F},
                                 {"h", false},
                                 {"i", std::string("a\0b", 3)},
                                 {"k", std::uint64_t{1} << 63},
                                 {"l", std::numeric_limits<std::int64_t>::min()},
                                 {"m", 0.1},
                                 {"n", gguf_array(std::vector<bool>{true, false, true})},
                                 {"o", gguf_array(std::vector<double>{0.1, -2.0})},
                                 {"p", gguf_array(std::vector<float>{})},
                                 {"q", gguf_array(std::vector<std::string>{"", "\xC4\xA0t"})}};
    fpq::gguf_layout const layout = fpq::lay_out_gguf(
        metadata, {{"w", ggml_type::nvfp4, {64, 2}}, {"one", ggml_type::bf16, {1}}});
    temporary_directory dir;
    std::string text = layout.head;
    text.resize(layout.size, '\0');
    text[layout.offsets[0] + 71] = 'z';
    text[layout.offsets[1] + 1] = 'y';
    fpq_test::write_text(dir.path() / "x", text);
    gguf_file opened(dir.path() / "x");
    gguf_file const file(std::move(opened));
    CHECK(file.version() == 3);
    CHECK(file.metadata() == metadata);
    CHECK(file.head_bytes() == layout.head.size());
    CHECK(file.trailing() == 0);
    REQUIRE(file.tensors().size() == 2);
    fpq::gguf_tensor const& w = file.at("w");
    CHECK(w.type == ggml_type::nvfp4);
    CHECK(w.dims == std::vector<std::uint64_t>{64, 2});
    REQUIRE(w.bytes.size() == 72);
    CHECK(std::to_integer<char>(w.bytes[71]) == 'z');
    CHECK(std::to_integer<char>(file.at("one").bytes[1]) == 'y');
    CHECK(file.find("two") == nullptr);
    CHECK_THROWS_WITH(file.at("two"), Catch::Contains("missing tensor"));
    CHECK(*fpq::find_gguf<std::uint32_t>(file.metadata(), "e") == 4000000000);
    CHECK(fpq::find_gguf<std::uint32_t>(file.metadata(), "f") == nullptr);  // another type
    CHECK(fpq::find_gguf_array<std::string>(file.metadata(), "q")->at(1) == "\xC4\xA0t");
    CHECK(fpq::find_gguf_array<std::string>(file.metadata(), "o") == nullptr);
}

TEST_CASE("a GGUF file may say its alignment and have bytes behind its tensors", "[io]") {
    bytes file = bytes().head(2, 1, 2).string("general.alignment").u32(4).u32(64);
    file.info("a", {3}, 24, 0).info("b", {}, 0, 64).pad(64).data(3).pad(64).data(4);
    temporary_directory dir;
    fpq_test::write_text(dir.path() / "x", file.text);  // the last tensor without its padding
    CHECK(gguf_file(dir.path() / "x").at("b").bytes.size() == 4);
    file.pad(64).data(5);
    fpq_test::write_text(dir.path() / "y", file.text);
    gguf_file const opened(dir.path() / "y");
    CHECK(opened.trailing() == 5);
    CHECK(opened.alignment() == 64);
}

TEST_CASE("GGUF headers that are cut or foreign are refused", "[io]") {
    has(line_of(bytes()), "truncated GGUF file");
    has(line_of(bytes{"GGUF"}), "truncated GGUF file");
    has(line_of(bytes{"GGUX"}.u32(3).u64(0).u64(0)), "no GGUF file");
    has(line_of(bytes().head(0, 0, 1)), "unsupported GGUF version");
    has(line_of(bytes().head(0, 0, 4)), "found 4");
    has(line_of(bytes().head(0, 0, 0x03000000)), "big-endian");
    has(line_of(bytes().head(1, 0)), "1 tensors of at least 24 bytes, found 0 bytes");
    has(line_of(bytes().head(~std::uint64_t{0}, 0).data(64)), "truncated GGUF file");
    has(line_of(bytes().head(0, ~std::uint64_t{0}).data(64)), "truncated GGUF file");
    CHECK(line_of(bytes().head(0, 0)).empty());
    // Every prefix of a whole file.
    std::string const whole = bytes()
                                  .head(1, 1)
                                  .string("k")
                                  .u32(9)
                                  .u32(8)
                                  .u64(1)
                                  .string("v")
                                  .info("w", {4}, 0, 0)
                                  .pad()
                                  .data(16)
                                  .text;
    CHECK(line_of({whole}).empty());
    for (std::size_t size = 0; size < whole.size(); ++size) {
        INFO(size);
        CHECK_FALSE(line_of({whole.substr(0, size)}).empty());
    }
}

TEST_CASE("GGUF metadata that cannot be is refused by key", "[io]") {
    has(line_of(key("", bytes().u32(4).u32(0))), "bad GGUF key");
    bytes const value = bytes().u32(4).u32(0);
    bytes twice = bytes().head(0, 2).string("k");
    twice.text += value.text;
    twice.string("k").text += value.text;
    has(line_of(twice), "'k' twice");
    has(line_of(key("k", bytes().u32(13).u64(0))), "key 'k': byte 33: expected 0 to 12, found 13");
    has(line_of(key("k", bytes().u32(7).number(2, 1))), "bad bool");
    has(line_of(key("k", bytes().u32(9).u32(9).u64(0))), "array of arrays");
    has(line_of(key("k", bytes().u32(9).u32(13).u64(0))), "unknown type of GGUF value");
    has(line_of(key("k", bytes().u32(9).u32(4).u64(1000))), "1000 items of at least 4 bytes");
    has(line_of(key("k", bytes().u32(9).u32(8).u64(1 << 20))), "items of at least 8 bytes");
    has(line_of(key("k", bytes().u32(9).u32(0).u64(std::uint64_t{1} << 31))), "array too long");
    has(line_of(key("k", bytes().u32(8).u64(std::uint64_t{1} << 31))), "string too long");
    has(line_of(key("k", bytes().u32(8).u64(1 << 20))), "truncated GGUF file");
    for (std::uint32_t const bad : {0u, 3u, 48u}) {
        has(line_of(key("general.alignment", bytes().u32(4).u32(bad))), "bad alignment");
    }
    has(line_of(key("general.alignment", bytes().u32(10).u64(32))), "found u64");
}

TEST_CASE("GGUF tensors that cannot be are refused by name", "[io]") {
    CHECK(line_of(one({32, 2}, 39, 64)).empty());
    has(line_of(one({32}, 39, 32, "")), "bad tensor name");
    CHECK(line_of(one({32}, 39, 32, std::string(63, 'n'))).empty());
    has(line_of(one({32}, 39, 32, std::string(64, 'n'))), "found 64");
    has(line_of(one({1, 1, 1, 1, 1}, 0, 32)), "too many dimensions");
    has(line_of(one({32}, 42, 64)), "found number 42");
    has(line_of(one({32}, 4, 64)), "found number 4");  // a type that is gone
    has(line_of(one({32}, 40, 64)), "tensor 'w': byte 33: expected rows of whole blocks of 64");
    has(line_of(one({16, 2}, 39, 64)), "found MXFP4 [16, 2]");
    has(line_of(one({}, 39, 64)), "impossible tensor size");
    std::uint64_t const huge = std::uint64_t{1} << 32;
    has(line_of(one({huge, huge}, 0, 64)), "impossible tensor size");
    has(line_of(one({huge << 28, 4}, 28, 64)), "impossible tensor size");  // in bytes alone
    has(line_of(one({huge, huge / 4}, 39, 64)), "truncated tensor data");
    has(line_of(one({std::uint64_t{1} << 63}, 24, 64)), "impossible tensor size");
    has(line_of(one({4}, 0, 15)), "16 bytes from offset 0");
    has(line_of(one({4}, 0, 64, "w", 32)), "gap or overlap");
    bytes two = bytes().head(2, 0).info("a", {4}, 0, 0).info("b", {4}, 0, 16).pad().data(64);
    has(line_of(two), "tensor 'b': byte");
    has(line_of(two), "offset 32, found 16");
    two = bytes().head(2, 0).info("a", {4}, 0, 0).info("a", {4}, 0, 32).pad().data(64);
    has(line_of(two), "tensor twice");
}

TEST_CASE("a GGUF layout refuses what no reader takes", "[io]") {
    using Catch::Contains;
    CHECK_THROWS_WITH(fpq::lay_out_gguf({{"", 1.0F}}, {}), Contains("bad GGUF key"));
    CHECK_THROWS_WITH(fpq::lay_out_gguf({{"k", 1.0F}, {"k", 1.0F}}, {}), Contains("'k'"));
    CHECK_THROWS_WITH(fpq::lay_out_gguf({{"general.alignment", std::uint32_t{64}}}, {}),
                      Contains("reserved"));
    CHECK_THROWS_WITH(fpq::lay_out_gguf({{"k", gguf_array(std::monostate{})}}, {}),
                      Contains("without a type"));
    auto const refused = [](std::vector<fpq::gguf_tensor_plan> const& tensors) {
        CHECK_THROWS_WITH(fpq::lay_out_gguf({}, tensors), Contains("bad output plan"));
    };
    refused({{"", ggml_type::f32, {1}}});
    refused({{std::string(64, 'n'), ggml_type::f32, {1}}});
    refused({{"w", ggml_type::f32, {1}}, {"w", ggml_type::f32, {1}}});
    refused({{"w", ggml_type::nvfp4, {32, 4}}});
    refused({{"w", ggml_type::f32, {1, 1, 1, 1, 1}}});
}

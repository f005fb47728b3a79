// SPDX-License-Identifier: Apache-2.0
// Tests of io/safetensors/checkpoint.hpp: single and sharded directories, what is refused, and
// weights as floats.
#include "fpq/io/safetensors/checkpoint.hpp"

#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/tiny_checkpoint.hpp"

using fpq_test::make_tiny_checkpoint;
using fpq_test::raw_tensor;
using fpq_test::temporary_directory;
using fpq_test::tiny_checkpoint_options;

namespace {

std::string line_of(std::filesystem::path const& dir) {
    try {
        fpq::checkpoint const opened(dir);
        return "";
    } catch (fpq::error const& why) {
        CHECK(why.category() == fpq::error_category::input);
        return why.what();
    }
}

void edit_index(std::filesystem::path const& dir, std::string const& name,
                nlohmann::json const& file) {
    std::filesystem::path const path = dir / "model.safetensors.index.json";
    nlohmann::json index = nlohmann::json::parse(fpq_test::read_text(path));
    index["weight_map"][name] = file;
    fpq_test::write_text(path, index.dump());
}

tiny_checkpoint_options sharded() {
    tiny_checkpoint_options options;
    options.shards = 2;
    return options;
}

/// Bytes of this process that lie in memory now (Linux).
long long resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    long long size = 0;
    long long resident = 0;
    statm >> size >> resident;
    return resident * ::sysconf(_SC_PAGESIZE);
}

}  // namespace

TEST_CASE("one file and many shards give the same tensors", "[io]") {
    temporary_directory dir;
    fpq::checkpoint const one(make_tiny_checkpoint(dir.path() / "one", {}));
    fpq::checkpoint const many(make_tiny_checkpoint(dir.path() / "many", sharded()));
    CHECK(one.shards().size() == 1);
    CHECK(many.shards().size() == 2);
    REQUIRE(one.names().size() == many.names().size());
    CHECK(one.total_bytes() == many.total_bytes());
    CHECK(many.index().at("metadata").at("total_size") == many.total_bytes());
    for (std::string const& name : one.names()) {
        INFO(name);
        CHECK(fpq::load_floats(one.at(name)) == fpq::load_floats(many.at(name)));
    }
    CHECK(one.contains("model.norm.weight"));
    CHECK_FALSE(one.contains("model.norm"));
    CHECK(one.config().at("model_type") == "llama");
    CHECK_THROWS_WITH(one.at("nope"), Catch::Contains("tensor 'nope'"));
}

TEST_CASE("a directory that is no checkpoint is refused by what is missing", "[io]") {
    temporary_directory dir;
    CHECK_THAT(line_of(dir.path() / "none"), Catch::Contains("expected a directory"));
    CHECK_THAT(line_of(dir.path()), Catch::Contains("expected config.json"));
    fpq_test::write_text(dir.path() / "config.json", "{}");
    CHECK_THAT(line_of(dir.path()), Catch::Contains("no weights"));
    fpq_test::write_text(dir.path() / "config.json", "[]");
    CHECK_THAT(line_of(dir.path()), Catch::Contains("expected a JSON object, found array"));
    fpq_test::write_text(dir.path() / "config.json", "{\"a\":}");
    CHECK_THAT(line_of(dir.path()), Catch::Contains("config.json: byte 5"));
}

TEST_CASE("an index that does not fit its shards is refused", "[io]") {
    temporary_directory dir;
    std::filesystem::path const at = make_tiny_checkpoint(dir.path() / "m", sharded());
    std::string const second = "model-00002-of-00002.safetensors";
    REQUIRE(line_of(at).empty());
    SECTION("missing shard") {
        std::filesystem::remove(at / second);
        CHECK_THAT(line_of(at), Catch::Contains("missing shard") && Catch::Contains(second));
    }
    SECTION("truncated shard") {
        std::filesystem::resize_file(at / second, std::filesystem::file_size(at / second) - 1);
        CHECK_THAT(line_of(at), Catch::Contains("truncated tensor data") &&
                                    Catch::Contains(second) && Catch::Contains("model.norm"));
    }
    SECTION("a tensor that the shard lacks") {
        edit_index(at, "ghost.weight", second);
        CHECK_THAT(line_of(at), Catch::Contains("'ghost.weight'") && Catch::Contains("none"));
    }
    SECTION("a tensor that lies in the other shard") {
        edit_index(at, "model.embed_tokens.weight", second);
        CHECK_THAT(line_of(at), Catch::Contains("index and shard disagree"));
    }
    SECTION("paths out of the directory") {
        for (std::string const bad : {"../m/model-00002-of-00002.safetensors", "/etc/passwd", "..",
                                      "", "a\\b.safetensors", "pytorch_model.bin"}) {
            edit_index(at, "model.norm.weight", bad);
            CHECK_THAT(line_of(at), Catch::Contains("a .safetensors file of this directory"));
        }
    }
    SECTION("wrong types") {
        edit_index(at, "model.norm.weight", 3);
        CHECK_THAT(line_of(at), Catch::Contains("expected a string, found 3"));
        fpq_test::write_text(at / "model.safetensors.index.json", "{\"weight_map\":[]}");
        CHECK_THAT(line_of(at), Catch::Contains("weight_map"));
        fpq_test::write_text(at / "model.safetensors.index.json", "{\"weight_map\":{}}");
        CHECK_THAT(line_of(at), Catch::Contains("at least one tensor"));
    }
    SECTION("the same tensor in two shards") {
        std::filesystem::copy_file(at / "model-00001-of-00002.safetensors",
                                   at / "copy.safetensors");
        edit_index(at, "model.layers.0.mlp.up_proj.weight", "copy.safetensors");
        CHECK_THAT(line_of(at), Catch::Contains("tensor in two shards"));
    }
    SECTION("a single file of another generation") {
        std::filesystem::copy_file(at / second, at / "model.safetensors");
        CHECK_THAT(line_of(at), Catch::Contains("two generations"));
    }
}

TEST_CASE("floats come from bf16, fp16 and fp32, whatever their alignment", "[io]") {
    temporary_directory dir;
    std::vector<raw_tensor> tensors{
        {"pad", fpq::dtype::u8, {1}, "x"},
        {"b", fpq::dtype::bf16, {2}, std::string("\x80\x3f\x00\xc0", 4)},
        {"h", fpq::dtype::f16, {2}, std::string("\x00\x3c\x00\xc0", 4)},
        {"s", fpq::dtype::f32, {1}, std::string("\x00\x00\x80\x3f", 4)}};
    fpq_test::write_text(dir.path() / "x", fpq_test::safetensors_bytes(tensors));
    fpq::safetensors_file const file(dir.path() / "x");
    CHECK(fpq::load_floats(file.tensors()[1]) == std::vector<float>{1.0F, -2.0F});
    CHECK(fpq::load_floats(file.tensors()[2]) == std::vector<float>{1.0F, -2.0F});
    CHECK(fpq::load_floats(file.tensors()[3]) == std::vector<float>{1.0F});
    CHECK_THROWS_WITH(fpq::load_floats(file.tensors()[0]),
                      Catch::Contains("tensor 'pad'") && Catch::Contains("found U8"));
    std::vector<float> wrong(3);
    CHECK_THROWS_WITH(fpq::load_floats_into(file.tensors()[1], wrong), Catch::Contains("3 values"));
    CHECK_THROWS_WITH(fpq::require_shape(file.tensors()[1], std::vector<std::uint64_t>{1, 2}),
                      Catch::Contains("expected [1, 2], found [2]"));
}

TEST_CASE("NaN and infinite weights are refused by tensor and element", "[io]") {
    for (auto const& [type, bytes, word] :
         {std::tuple{fpq::dtype::bf16, std::string("\x00\x00\xc0\x7f", 4), "NaN"},
          std::tuple{fpq::dtype::bf16, std::string("\x00\x00\x80\xff", 4), "infinity"},
          std::tuple{fpq::dtype::f16, std::string("\x00\x00\x00\x7c", 4), "infinity"},
          std::tuple{fpq::dtype::f32, std::string("\0\0\0\0\0\0\xc0\x7f", 8), "NaN"}}) {
        temporary_directory dir;
        fpq_test::write_text(dir.path() / "x",
                             fpq_test::safetensors_bytes({{"w", type, {2}, bytes}}));
        fpq::safetensors_file const file(dir.path() / "x");
        CHECK_THROWS_WITH(fpq::load_floats(file.tensors()[0]),
                          Catch::Contains("tensor 'w': element 1") && Catch::Contains(word));
    }
}

TEST_CASE("the finiteness of every bf16 and fp16 pattern is seen, in blocks and tails", "[io]") {
    for (fpq::dtype const type : {fpq::dtype::bf16, fpq::dtype::f16}) {
        for (std::uint32_t pattern = 0; pattern < 0x10000u; ++pattern) {
            auto const bits = static_cast<std::uint16_t>(pattern);
            std::byte raw[4]{};
            std::memcpy(raw, &bits, 2);
            bool const finite = std::isfinite(fpq::detail::load_float(type, raw));
            REQUIRE(fpq::detail::first_non_finite(type, std::span(raw).first(2)).has_value() ==
                    !finite);
        }
    }
    for (std::size_t const count : {1u, 1023u, 1024u, 1025u, 5000u}) {
        std::vector<float> values(count, 1.0F);
        CHECK_FALSE(
            fpq::detail::first_non_finite(fpq::dtype::f32, std::as_bytes(std::span(values))));
        for (std::size_t const at : {std::size_t{0}, count / 2, count - 1}) {
            std::vector<float> bad = values;
            bad[at] = bad[count - 1] = std::numeric_limits<float>::infinity();
            CHECK(fpq::detail::first_non_finite(fpq::dtype::f32, std::as_bytes(std::span(bad))) ==
                  at);
        }
    }
}

TEST_CASE("released tensors leave memory and read as before", "[io]") {
    temporary_directory dir;
    tiny_checkpoint_options options;
    options.layers = 1;
    options.hidden = 512;
    options.vocabulary = 16384;  // 16 MiB
    fpq::checkpoint const source(make_tiny_checkpoint(dir.path() / "m", options));
    std::string const name = "model.embed_tokens.weight";
    std::span<std::byte const> const bytes = source.at(name).bytes;
    auto const sum = [&bytes] {
        std::uint64_t total = 0;
        for (std::byte const b : bytes) {
            total = total * 31 + std::to_integer<std::uint64_t>(b);
        }
        return total;
    };
    std::uint64_t const before = sum();
    long long const touched = resident_bytes();
    source.release("no such tensor");
    source.release(name);
    if (touched > 0) {  // zero where /proc is missing
        CHECK(touched - resident_bytes() > static_cast<long long>(bytes.size()) * 9 / 10);
    }
    CHECK(sum() == before);
}

// SPDX-License-Identifier: Apache-2.0
#include "export_fixture.hpp"

#include <optional>
#include <string_view>

#include "fpq/core/random.hpp"
#include "fpq/io/safetensors/checkpoint_writer.hpp"

namespace fpq_test {

namespace {

std::vector<std::uint8_t> from_hex(std::string_view text) {
    std::vector<std::uint8_t> out;
    auto const digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
        out.push_back(static_cast<std::uint8_t>(digit(text[i]) * 16 + digit(text[i + 1])));
    }
    return out;
}

}  // namespace

packed_fixture golden_nvfp4() {
    return {fpq::nvfp4,
            1,
            64,
            from_hex("2f5e7cf9e3b6174f6d7ae2c5963f6e7c0000000000000000c5874f6e7be1d4a6"),
            from_hex("7a5a007a"),
            512.0F};
}

packed_fixture golden_mxfp4() {
    return {fpq::mxfp4,
            1,
            64,
            from_hex("1e4d5be8c2a4063d08088080800808080000000000000000b4852d4c6ad1c395"),
            from_hex("7f7f"),
            1.0F};
}

packed_fixture golden_fp_quant_mxfp4() {
    return {fpq::mxfp4,
            1,
            64,
            from_hex("2f5e6cf9d3b5174e18189080810908180000000000000000c5864f6d7be1d4a6"),
            from_hex("8080"),
            3.0F};
}

packed_fixture random_packed(fpq::quant_format const& format, std::size_t rows, std::size_t cols,
                             float global, std::uint64_t seed) {
    fpq::philox const source{seed, 0};
    packed_fixture out{format, rows, cols, {}, {}, global};
    out.codes.resize(rows * format.row_bytes(cols));
    out.scales.resize(format.scale_count(rows, cols));
    for (std::size_t i = 0; i < out.codes.size(); ++i) {
        out.codes[i] = static_cast<std::uint8_t>(source.at(i));
    }
    for (std::size_t i = 0; i < out.scales.size(); ++i) {
        bool const nv = format.scale == fpq::scale_kind::e4m3;
        std::uint32_t const low = nv ? 0x30 : 0x7C;
        out.scales[i] = static_cast<std::uint8_t>(low + source.at(1'000'000 + i) % 8);
    }
    return out;
}

fpq::scheme scheme_for(fpq::quant_format const& format, bool inputs, fpq::scale_rule mx) {
    fpq::scheme s;
    s.weight = fpq::quant_args{format, fpq::scale_rule::minmax, mx, true, false};
    if (inputs) {
        s.input = fpq::quant_args{format, fpq::scale_rule::minmax, mx, true, true};
    }
    return s;
}

fpq::export_plan plan_of(std::vector<fpq::linear_record> const& records, fpq::scheme const& how) {
    fpq::export_plan plan;
    plan.schemes = {how};
    plan.unquantized = {"lm_head"};
    for (fpq::linear_record const& r : records) {
        plan.linears.push_back({r.module, r.module, r.weight.rows, r.weight.cols, 0, false});
    }
    return plan;
}

std::filesystem::path write_export(std::filesystem::path const& dir, fpq::dialect const& kind,
                                   std::vector<fpq::linear_record> const& records,
                                   fpq::export_plan const& plan) {
    std::vector<fpq::tensor_plan> tensors{
        {"model.embed_tokens.weight", fpq::dtype::bf16, {4, 64}, ""},
        {"model.norm.weight", fpq::dtype::bf16, {64}, ""}};
    for (fpq::export_linear const& linear : plan.linears) {
        if (std::optional<fpq::refusal> const why = kind.refuses(plan, linear)) {
            fpq::fail_usage(kind.name, why->where, why->expected, why->found);
        }
        auto const more = kind.tensors(plan, linear);
        tensors.insert(tensors.end(), more.begin(), more.end());
    }
    fpq::checkpoint_writer out(dir, tensors, std::uint64_t{1} << 30);
    out.write("model.embed_tokens.weight", std::vector<std::byte>(512));
    out.write("model.norm.weight", std::vector<std::byte>(128));
    for (std::size_t i = 0; i < records.size(); ++i) {
        for (fpq::tensor_data const& t : kind.write(plan, plan.linears[i], records[i])) {
            out.write(t);
        }
    }
    nlohmann::json const source = {{"model_type", "llama"}, {"torch_dtype", "float16"}};
    for (fpq::named_json const& file : kind.files(plan, source)) {
        out.add_json(file.name, file.content);
    }
    out.finish();
    return dir;
}

}  // namespace fpq_test

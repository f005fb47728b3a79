// SPDX-License-Identifier: Apache-2.0
// fpq-inspect from outside: the summary, filters by name, JSON, and which names a filter takes.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "inspect/name_filter.hpp"
#include "support/shared_data.hpp"
#include "support/tiny_checkpoint.hpp"

namespace {

/// FPQ_BIN_DIR is set by ctest; without it these cases skip loudly.
bool have_tools() {
    if (std::getenv("FPQ_BIN_DIR") != nullptr) {
        return true;
    }
    std::puts("SKIPPED: FPQ_BIN_DIR is not set: the programs are not tested");
    return false;
}

class programs {
public:
    programs() {
        fpq_test::tiny_checkpoint_options options;
        options.tied = false;
        fpq_test::make_tiny_checkpoint(model(), options);
        REQUIRE(run("fpq-quantize", "--model_name_or_path " + model().string() +
                                        " --format nvfp --w_bits 4 --export_quantized_model "
                                        "realquant --save_path " +
                                        out().string()) == 0);
    }
    [[nodiscard]] std::filesystem::path model() const { return dir_.path() / "model"; }
    [[nodiscard]] std::filesystem::path out() const { return dir_.path() / "out"; }

    int run(char const* program, std::string const& arguments) {
        std::filesystem::path const bin(std::getenv("FPQ_BIN_DIR"));
        std::string const command = (bin / program).string() + " " + arguments + " > " +
                                    log().string() + " 2> " + log().string() + ".err";
        return std::system(command.c_str()) / 256;
    }
    /// Standard output of the last run; that of fpq-inspect OUT `arguments`.
    [[nodiscard]] std::string text() const { return fpq_test::read_text(log()); }
    std::string inspect(std::string const& arguments, int code = 0) {
        CHECK(run("fpq-inspect", out().string() + " " + arguments) == code);
        return text();
    }

private:
    [[nodiscard]] std::filesystem::path log() const { return dir_.path() / "log"; }
    fpq_test::temporary_directory dir_;
};

}  // namespace

TEST_CASE("a name is taken by whole parts, wildcards and regular expressions", "[tools]") {
    using fpq::tools::name_filter;
    std::string const name = "model.layers.1.mlp.up_proj";
    CHECK(name_filter({}).takes(name));
    for (char const* const text : {"layers.1", "up_proj", "model", "model.layers.1.mlp.up_proj",
                                   "*up_proj", "*.1.*", "re:model\\.layers\\.[12]"}) {
        CHECK(name_filter({text}).takes(name));
    }
    for (char const* const text : {"layers.10", "layers", "up", "up_*", "re:layers"}) {
        bool const part = std::string(text) == "layers";
        CHECK(name_filter({text}).takes(name) == part);
    }
    CHECK(name_filter({"nothing", "mlp"}).takes(name));
    CHECK_FALSE(name_filter({"layers.1"}).takes("model.layers.10.mlp.up_proj"));
    CHECK_THROWS_AS(name_filter({"re:("}), fpq::error);
}

TEST_CASE("an inspection begins with its summary and shows what was asked for", "[tools]") {
    if (!have_tools()) {
        return;
    }
    programs all;
    std::string const whole = all.inspect("--reference " + all.model().string());
    CHECK(whole.starts_with("checkpoint "));
    CHECK_THAT(whole, Catch::Contains("14 linears, compressed-tensors") &&
                          Catch::Contains("nvfp4          14 linears") &&
                          Catch::Contains("lowest SQNR") && Catch::Contains("other tensors") &&
                          Catch::Contains("model.norm.weight"));
    std::string const some = all.inspect("--only layers.1 --only '*.norm.weight'");
    CHECK_THAT(some, Catch::Contains("shown            7 of them") &&
                         Catch::Contains("model.layers.1.mlp.up_proj") &&
                         Catch::Contains("model.norm.weight") && !Catch::Contains("layers.0") &&
                         !Catch::Contains("embed_tokens"));
    CHECK_THAT(all.inspect("--summary"), !Catch::Contains("up_proj"));
    CHECK(all.inspect("--only nothing", 2).empty());
}

TEST_CASE("an inspection in JSON is one object, with the findings where it verifies", "[tools]") {
    if (!have_tools()) {
        return;
    }
    programs all;
    auto const read = [&](std::string const& arguments, int code) {
        return nlohmann::json::parse(all.inspect("--json " + arguments, code));
    };
    nlohmann::json const found =
        read("--verify --reference " + all.model().string() + " --only down_proj", 0);
    CHECK(found.at("layout") == "compressed-tensors");
    CHECK(found.at("summary").at("quantized_linears") == 14);
    CHECK(found.at("summary").at("lowest_sqnr").size() == 2);
    CHECK(found.at("verify").at("faulty") == false);
    REQUIRE(found.at("linears").size() == 2);
    nlohmann::json const& linear = found.at("linears")[0];
    CHECK(linear.at("module") == "model.layers.0.mlp.down_proj");
    CHECK(linear.at("format") == "nvfp4");
    CHECK(linear.at("inputs").is_null());
    CHECK(linear.at("sqnr_db") > 15.0);
    CHECK(linear.at("tensors").size() == 3);

    std::filesystem::remove(all.out() / "config.json");
    fpq_test::write_text(all.out() / "config.json", "{}");
    CHECK_FALSE(read("--summary", 0).contains("linears"));
    nlohmann::json config = nlohmann::json::parse(fpq_test::read_text(all.model() / "config.json"));
    config["quantization_config"] = {{"quant_method", "another"}};
    fpq_test::write_text(all.out() / "config.json", config.dump());
    CHECK_THAT(all.inspect("--summary --verify", 3), Catch::Contains("not read"));
    nlohmann::json const faulty = read("--verify", 3);
    CHECK(faulty.at("verify").at("faulty") == true);
    CHECK(faulty.at("verify").at("findings").dump().find("quant_method") != std::string::npos);
}

TEST_CASE("a config of a known family that no client can load is a fault", "[tools]") {
    if (!have_tools()) {
        return;
    }
    programs all;
    nlohmann::json const config =
        nlohmann::json::parse(fpq_test::read_text(all.out() / "config.json"));
    for (auto const& [key, value] :
         std::vector<std::pair<std::string, nlohmann::json>>{{"hidden_size", -256},
                                                             {"hidden_size", "256"},
                                                             {"num_hidden_layers", 0},
                                                             {"num_key_value_heads", 0},
                                                             {"num_key_value_heads", 3},
                                                             {"rms_norm_eps", -1},
                                                             {"hidden_act", "gelu"}}) {
        nlohmann::json spoiled = config;
        spoiled[key] = value;
        fpq_test::write_text(all.out() / "config.json", spoiled.dump());
        INFO(key << " " << value.dump());
        std::string const said = all.inspect("--summary --verify", 3);
        CHECK_THAT(said, Catch::Contains("\nno shapes are checked: ") && Catch::Contains(key));
    }
    nlohmann::json other = config;
    other["model_type"] = nullptr;
    fpq_test::write_text(all.out() / "config.json", other.dump());
    CHECK_THAT(all.inspect("--summary --verify", 3),
               Catch::Contains("\nconfig.json: model_type: expected the name of a family"));
    other["model_type"] = "another";
    fpq_test::write_text(all.out() / "config.json", other.dump());
    CHECK_THAT(all.inspect("--summary --verify", 0),
               Catch::Contains("warning: no shapes are checked"));
}

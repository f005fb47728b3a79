// SPDX-License-Identifier: Apache-2.0
// Models and data sets by their ids, from a cache that the test lays out.
#include "fpq/io/file/hub_cache.hpp"

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/io/text/text.hpp"
#include "support/load_documents.hpp"
#include "tokenizer_fixture.hpp"

namespace {

using fpq_test::input_error;
using fpq_test::temporary_directory;

/// HF_HUB_CACHE for the life of the object.
class cache_variable {
public:
    explicit cache_variable(std::filesystem::path const& path) {
        char const* const old = std::getenv("HF_HUB_CACHE");
        old_ = old == nullptr ? "" : old;
        ::setenv("HF_HUB_CACHE", path.c_str(), 1);
    }
    cache_variable(cache_variable const&) = delete;
    cache_variable& operator=(cache_variable const&) = delete;
    ~cache_variable() {
        if (old_.empty()) {
            ::unsetenv("HF_HUB_CACHE");
        } else {
            ::setenv("HF_HUB_CACHE", old_.c_str(), 1);
        }
    }

private:
    std::string old_;
};

}  // namespace

TEST_CASE("models and data sets are found in the hub's cache by their ids", "[io]") {
    temporary_directory const dir;
    cache_variable const variable(dir.path());
    auto const put = [&](std::string const& name, std::string const& text) {
        std::filesystem::create_directories((dir.path() / name).parent_path());
        return dir.write(name, text);
    };
    put("models--owner--tiny/refs/main", "abc");
    put("models--owner--tiny/snapshots/abc/config.json", "{}");
    put("models--owner--tiny/snapshots/old/config.json", "{}");
    CHECK(fpq::model_directory("owner/tiny") == dir.path() / "models--owner--tiny/snapshots/abc");
    CHECK(fpq::model_directory(dir.path()) == dir.path());
    CHECK(fpq::model_directory("/none/here") == "/none/here");
    CHECK(fpq::model_directory("none") == "none");
    CHECK(input_error([] {
              (void)fpq::model_directory("owner/other");
          }).find("hf download owner/other") != std::string::npos);

    put("datasets--allenai--c4/snapshots/x/en/c4-train.00000.json", "{\"text\": \"A\"}");
    put("datasets--allenai--c4/snapshots/x/en/c4-validation.00000.json", "{\"text\": \"B\"}");
    CHECK(fpq_test::load_documents("c4") == std::vector<std::string>{"A"});
    CHECK(fpq_test::load_documents("allenai/c4") == std::vector<std::string>{"A"});
    put("datasets--o--d/snapshots/x/data.jsonl", "{\"text\": \"C\"}");
    put("datasets--o--d/snapshots/x/dataset_infos.json", "{}");
    put("datasets--o--d/snapshots/x/README.md", "");
    CHECK(fpq_test::load_documents("o/d") == std::vector<std::string>{"C"});
    put("datasets--Salesforce--wikitext/snapshots/x/wikitext-2-raw-v1/train-0.parquet", "PAR1");
    CHECK(input_error([] { (void)fpq::load_text("wikitext2"); }).find("to_json('text.jsonl'") !=
          std::string::npos);
    CHECK(input_error([] { (void)fpq::load_text("fineweb-edu"); }).find("hf download") !=
          std::string::npos);
}

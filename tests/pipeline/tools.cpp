// SPDX-License-Identifier: Apache-2.0
// The programs from outside: exit codes, one-line errors, both spellings, nothing half-written.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "catch.hpp"
#include "support/files.hpp"
#include "support/shared_data.hpp"

namespace {

struct outcome {
    int code = -1;
    std::string text;  // stdout and stderr
};

/// FPQ_BIN_DIR is set by ctest; without it these cases skip loudly.
bool have_tools() {
    if (std::getenv("FPQ_BIN_DIR") != nullptr) {
        return true;
    }
    std::puts("SKIPPED: FPQ_BIN_DIR is not set: the programs are not tested");
    return false;
}

outcome call(std::string const& arguments) {
    std::string const command = std::string(std::getenv("FPQ_BIN_DIR")) + "/" + arguments + " 2>&1";
    outcome result;
    FILE* const pipe = ::popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::array<char, 4096> buffer{};
    for (std::size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
        result.text.append(buffer.data(), n);
    }
    int const status = ::pclose(pipe);
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    return result;
}

std::string model() {
    return (fpq_test::repo_dir() / "examples" / "models" / "tiny-llama").string();
}

std::string text() { return (fpq_test::repo_dir() / "examples" / "text" / "calib.txt").string(); }

bool is_one_line(std::string const& s) { return !s.empty() && s.find('\n') == s.size() - 1; }

}  // namespace

TEST_CASE("usage errors are one line and exit code 2", "[tools]") {
    if (!have_tools()) {
        return;
    }
    outcome const unknown = call("fpq-quantize --model_name_or_path x --w_bits 4 --num_sequence 3");
    REQUIRE(unknown.code == 2);
    REQUIRE(is_one_line(unknown.text));
    REQUIRE(unknown.text.find("did you mean --num_sequences?") != std::string::npos);
    REQUIRE(call("fpq-quantize").code == 2);
    REQUIRE(call("fpq-quantize --model_name_or_path x --w_bits 4 --format fp5").code == 2);
    outcome const bits = call("fpq-quantize --model-name-or-path x --w-bits 3 --format mxfp");
    REQUIRE(bits.code == 2);
    REQUIRE(call("fpq-evaluate --model x").code == 2);
    outcome const plain = call("fpq-quantize --model_name_or_path " + model() +
                               " --w_bits 16 --save_path nowhere-plain");
    REQUIRE(plain.code == 2);
    REQUIRE(plain.text.find("expected quantized weights, found none") != std::string::npos);
    fpq_test::temporary_directory const dir;
    fpq_test::write_text(dir.path() / "r.json", "{\"rules\": []}");
    outcome const unnamed = call("fpq-quantize --recipe " + (dir.path() / "r.json").string());
    REQUIRE(unnamed.code == 2);
    REQUIRE(unnamed.text.find("names no \"model\"") != std::string::npos);
    REQUIRE(call("fpq-inspect").code == 2);
    REQUIRE(call("fpq-quantize --help").code == 0);
}

TEST_CASE("input errors are exit code 3 and name what is missing", "[tools]") {
    if (!have_tools()) {
        return;
    }
    outcome const none = call("fpq-inspect /nonexistent-checkpoint");
    REQUIRE(none.code == 3);
    REQUIRE(is_one_line(none.text));
    REQUIRE(none.text.find("/nonexistent-checkpoint") != std::string::npos);
    outcome const missing = call("fpq-evaluate --model " + model() + " --text /nonexistent.txt");
    REQUIRE(missing.code == 3);
    REQUIRE(is_one_line(missing.text));
}

TEST_CASE("fpq-evaluate says that conversations had no template", "[tools]") {
    if (!have_tools()) {
        return;
    }
    fpq_test::temporary_directory const dir;
    std::filesystem::path const plain = dir.path() / "plain";
    std::filesystem::copy(model(), plain);
    std::filesystem::remove(plain / "chat_template.jinja");
    fpq_test::write_text(dir.path() / "chat.jsonl",
                         R"({"messages": [{"role": "user", "content": "What is a group?"}]})");
    std::string const text_of_chats =
        " --sequence_length 8 --text " + (dir.path() / "chat.jsonl").string();
    std::string const note = "note: 1 conversations are joined without a chat template";
    outcome const without = call("fpq-evaluate --model " + plain.string() + text_of_chats);
    INFO(without.text);
    CHECK(without.code == 0);
    CHECK(without.text.find(note) != std::string::npos);
    outcome const with = call("fpq-evaluate --model " + model() + text_of_chats);
    CHECK(with.code == 0);
    CHECK(with.text.find("without a chat template") == std::string::npos);
}

TEST_CASE("a dry run prints the plan and writes nothing", "[tools]") {
    if (!have_tools()) {
        return;
    }
    std::filesystem::path const out =
        std::filesystem::temp_directory_path() / ("fpq-dry-" + std::to_string(::getpid()));
    outcome const dry =
        call("fpq-quantize --model_name_or_path " + model() + " --dataset_name_or_path " + text() +
             " --format nvfp --w_bits 4 --export_quantized_model realquant --save_path " +
             out.string() + " --dry_run");
    REQUIRE(dry.code == 0);
    REQUIRE(dry.text.find("peak memory") != std::string::npos);
    REQUIRE(dry.text.find("model.layers.0.self_attn.q_proj.weight") != std::string::npos);
    REQUIRE_FALSE(std::filesystem::exists(out));
}

TEST_CASE("a device that is not there ends in one line and code 5", "[pipeline]") {
    for (std::string const program : {"fpq-quantize --format mxfp4 --model_name_or_path ",
                                      "fpq-evaluate --text x.txt --model "}) {
        std::string const run = program + "/nowhere/at/all";
        outcome const absent = call(run + " --device cuda:63");
        INFO(absent.text);
        CHECK(absent.code == 5);
        CHECK(absent.text.find("--device cuda:63: expected ") != std::string::npos);
        CHECK(call(run + " --device cuda:64").code == 2);
        CHECK(call(run + " --device gpu").code == 2);
        CHECK(call(run + " --device cpu").code == 3);  // the model
    }
}

TEST_CASE("a run names its products, takes those of --products, and ends under a memory limit",
          "[tools]") {
    if (!have_tools()) {
        return;
    }
    std::string const run =
        "fpq-quantize --model_name_or_path " + model() +
        " --w_bits 4 --format nvfp --gptq --num_sequences 1 --sequence_length 32"
        " --threads 2 --dataset_name_or_path " +
        text();
    outcome const own = call(run + " --products own");
    INFO(own.text);
    REQUIRE(own.code == 0);
    REQUIRE(own.text.find("products         own (") != std::string::npos);
    REQUIRE(call(run + " --products mkl").code == 2);
    ::setenv("FPQ_PRODUCTS", "own", 1);
    REQUIRE(call(run).text.find("products         own (") != std::string::npos);
    ::unsetenv("FPQ_PRODUCTS");
    // Under `ulimit -v` a pool of OpenBLAS's once hung a finished run. A sanitized program cannot
    // even start there.
    auto const limited = [](std::string const& arguments) {
        return std::system(("bash -c 'ulimit -v 2000000; exec " +
                            std::string(std::getenv("FPQ_BIN_DIR")) + "/" + arguments +
                            "' > /dev/null 2>&1")
                               .c_str()) == 0;
    };
    if (!limited("fpq-quantize --help")) {
        std::puts("SKIPPED: this build does not start in 2 GB of address space");
        return;
    }
    REQUIRE(limited(run));
}

TEST_CASE("the flags of the Python harness run, then evaluate and inspect agree", "[tools]") {
    if (!have_tools()) {
        return;
    }
    std::filesystem::path const out =
        std::filesystem::temp_directory_path() / ("fpq-tools-" + std::to_string(::getpid()));
    outcome const run = call(
        "fpq-quantize --model_name_or_path=" + model() + " --format=nvfp --w_bits=4 --a_bits=4" +
        " --gptq --transform_class=hadamard --w_observer=mse --quantization_order=activation" +
        " --hadamard_group_size=16 --dataset_name_or_path=" + text() +
        " --sequence_length=64 --num_sequences=4 --dtype=auto --amp --cpu_offload_activations" +
        " --fuse_global_scale --export_quantized_model=realquant --save_path=" + out.string());
    INFO(run.text);
    REQUIRE(run.code == 0);
    std::string const eval = (fpq_test::repo_dir() / "examples" / "text" / "eval.txt").string();
    outcome const kl =
        call("fpq-evaluate --model " + out.string() + " --reference " + model() + " --text " +
             eval + " --sequence-length 64 --max_windows 4 --json " + (out / "eval.json").string());
    INFO(kl.text);
    REQUIRE(kl.code == 0);
    REQUIRE(std::filesystem::file_size(out / "eval.json") > 0);
    outcome const seen =
        call("fpq-inspect " + out.string() + " --reference " + model() + " --verify");
    INFO(seen.text);
    REQUIRE(seen.code == 0);
    REQUIRE(seen.text.find("4.50") != std::string::npos);
    // A scale byte that is NaN must be found.
    {
        std::fstream file(out / "model.safetensors",
                          std::ios::in | std::ios::out | std::ios::binary);
        std::string header(8, '\0');
        file.read(header.data(), 8);
        std::uint64_t size = 0;
        std::memcpy(&size, header.data(), 8);
        std::string json(size, '\0');
        file.read(json.data(), static_cast<std::streamsize>(size));
        std::string const key = "\"model.layers.0.mlp.down_proj.scales\":";
        std::size_t const entry = json.find(key);
        REQUIRE(entry != std::string::npos);
        std::size_t const offsets = json.find("\"data_offsets\":[", entry) + 16;
        std::uint64_t const begin = std::stoull(json.substr(offsets));
        file.seekp(static_cast<std::streamoff>(8 + size + begin));
        file.put('\x7f');
    }
    outcome const broken = call("fpq-inspect " + out.string() + " --verify");
    REQUIRE(broken.code == 3);
    std::filesystem::remove_all(out);
}

TEST_CASE("a saved recipe and a report run as their flags did, and flags override them",
          "[tools]") {
    if (!have_tools()) {
        return;
    }
    std::filesystem::path const dir =
        std::filesystem::temp_directory_path() / ("fpq-recipe-" + std::to_string(::getpid()));
    std::filesystem::create_directories(dir);
    std::string const at = dir.string();
    auto const bytes = [&](char const* name) {
        std::ifstream in(dir / name / "model.safetensors", std::ios::binary);
        return std::string(std::istreambuf_iterator<char>(in), {});
    };
    outcome const first =
        call("fpq-quantize --model_name_or_path " + model() +
             " --format nvfp --w_bits 4 --w_observer sweep --rule 're:.*down_proj$=mxfp8a16'" +
             " --export_quantized_model realquant --save_path " + at + "/a --save_recipe " + at +
             "/recipe.json --report " + at + "/report.json");
    INFO(first.text);
    REQUIRE(first.code == 0);
    for (char const* const file : {"recipe.json", "report.json"}) {
        outcome const again =
            call("fpq-quantize --recipe " + at + "/" + file + " --save_path " + at + "/b");
        INFO(again.text);
        REQUIRE(again.code == 0);
        REQUIRE(bytes("a") == bytes("b"));
        std::filesystem::remove_all(dir / "b");
    }
    REQUIRE(call("fpq-quantize --recipe=" + at + "/recipe.json --w_observer minmax --save_path " +
                 at + "/c")
                .code == 0);
    REQUIRE(bytes("a") != bytes("c"));
    outcome const missing = call("fpq-quantize --recipe " + at + "/none.json");
    REQUIRE(missing.code == 3);
    REQUIRE(is_one_line(missing.text));
    outcome const mixed =
        call("fpq-quantize --recipe " + at + "/recipe.json --export_format modelopt");
    REQUIRE(mixed.code == 2);
    REQUIRE(mixed.text.find("modelopt cannot hold this") != std::string::npos);
    std::filesystem::remove_all(dir);
}

TEST_CASE("no report, recipe or result takes the place of a file that is read or written",
          "[tools]") {
    if (!have_tools()) {
        return;
    }
    fpq_test::temporary_directory const dir;
    std::filesystem::path const at = dir.path();
    std::filesystem::copy(model(), at / "model");
    std::filesystem::copy_file(text(), at / "text.txt");
    std::filesystem::create_directory(at / "out");
    std::filesystem::create_symlink("model/config.json", at / "link.json");
    std::filesystem::create_directory_symlink("model", at / "same");
    std::string const before = fpq_test::read_text(at / "model" / "config.json");
    std::string const a = at.string();
    std::string const quantize = "fpq-quantize --model_name_or_path " + a +
                                 "/model --format nvfp --w_bits 4 --gptq --dataset_name_or_path " +
                                 a +
                                 "/text.txt --sequence_length 96 --num_sequences 4"
                                 " --export_quantized_model realquant --save_path " +
                                 a + "/out --dry_run ";
    for (std::string const file :
         {"model/config.json", "model/new.json", "link.json", "same/config.json", "text.txt",
          "out/config.json", "out/model.safetensors", "out/../out/tokenizer.json",
          "out/README.md"}) {
        for (std::string const flag : {"report", "save_recipe"}) {
            outcome const o = call(quantize + "--" + flag + " " + a + "/" + file);
            INFO(file << ": " << o.text);
            CHECK(o.code == 2);
            CHECK(o.text.find("fpq-quantize: " + flag) != std::string::npos);
        }
    }
    CHECK(call(quantize + "--report " + a + "/r --save_recipe " + a + "/r").code == 2);
    std::string const evaluate =
        "fpq-evaluate --model " + a + "/model --sequence_length 96 --max_windows 1 --text " + a;
    for (std::string const file : {"model/config.json", "link.json", "same/config.json", "text.txt",
                                   "model/model.safetensors"}) {
        outcome const o = call(evaluate + "/text.txt --json " + a + "/" + file);
        INFO(file << ": " << o.text);
        CHECK(o.code == 2);
        CHECK(is_one_line(o.text));
    }
    outcome const late = call(evaluate + "/none.txt --json " + a + "/none/result.json");
    CHECK(late.code == 3);  // before any text is read
    CHECK(late.text.find("none/result.json") != std::string::npos);
    for (int again = 0; again < 2; ++again) {  // beside the weights, and over an earlier result
        CHECK(call(evaluate + "/text.txt --json " + a + "/model/result.json").code == 0);
    }
    CHECK(fpq_test::read_text(at / "model" / "config.json") == before);
    CHECK(fpq_test::read_text(at / "text.txt") == fpq_test::read_text(text()));
    CHECK(std::filesystem::is_empty(at / "out"));
}

TEST_CASE("a refused run saves no recipe", "[tools]") {
    if (!have_tools()) {
        return;
    }
    fpq_test::temporary_directory const dir;
    std::filesystem::path const file = dir.path() / "r.json";
    std::string const begin = "fpq-quantize --model_name_or_path " + model() +
                              " --format nvfp4 --save_recipe " + file.string();
    for (std::string const flags :
         {" --rule re:.*nothing=nvfp4", " --gptq", " --gptq --dataset_name_or_path /none.txt",
          " --gptq --dataset_name_or_path /none.txt --dry_run"}) {
        outcome const refused = call(begin + flags);
        INFO(refused.text);
        CHECK((refused.code == 2 || refused.code == 3));
        CHECK_FALSE(std::filesystem::exists(file));
    }
    CHECK(call(begin + " --dry_run").code == 0);
    CHECK(fpq_test::read_text(file).find("\"methods\"") != std::string::npos);
    std::filesystem::remove(file);
    CHECK(call(begin).code == 0);
    CHECK(std::filesystem::exists(file));
    CHECK(call("fpq-quantize --model_name_or_path " + model() +
               " --format nvfp4 --save_recipe /none/r.json")
              .code == 3);
}
